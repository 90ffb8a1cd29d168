"""Exhaustive enumeration and random search."""

from __future__ import annotations

import numpy as np

from dse.search.protocol import Proposals, Search, seed_of
from dse.space import Space

__all__ = ["exhaustive", "random_search"]


def exhaustive(space: Space, chunk: int = 131_072) -> Search:
    """Look at every point, in a fixed order.

    Args:
        space: Without continuous knobs.
        chunk: Points per proposal; `run` cuts it into batches of the model.

    Raises:
        SpaceError: A knob is continuous; raised when the search is run.

    Example:
        >>> [genes.ravel().tolist() for genes in exhaustive(Space(x=[4, 8, 16]), chunk=2).proposals]
        [[0.0, 1.0], [2.0]]
    """

    def proposals() -> Proposals:
        for genes in space.enumerate(chunk):  # noqa: UP028  # a generator that is sent to cannot be an iterator's
            yield genes

    return Search("exhaustive", space, proposals(), settings={"chunk": chunk})


def random_search(space: Space, *, rng: np.random.Generator, chunk: int = 8192) -> Search:
    """Look at points drawn evenly from the space, for ever.

    Args:
        space: Any.
        rng: Everything random comes from it.
        chunk: Points per proposal.

    Example:
        >>> next(random_search(Space(x=[4, 8]), rng=np.random.default_rng(0), chunk=3).proposals).ravel().tolist()
        [0.0, 1.0, 1.0]
    """

    def proposals() -> Proposals:
        while True:
            yield space.sample(rng, chunk)

    return Search("random", space, proposals(), seed_of(rng), {"chunk": chunk})
