"""Exhaustive enumeration and random search."""

from __future__ import annotations

import numpy as np

from dse.search.protocol import Proposals, Search, seed_of
from dse.space import COUNTABLE, Space

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
    """Look at points drawn evenly from the space, none of them twice, until none is left.

    Args:
        space: Any.
        rng: Everything random comes from it.
        chunk: Points per proposal, at most.

    Example:
        >>> search = random_search(Space(x=[4, 8, 16]), rng=np.random.default_rng(0), chunk=2)
        >>> sorted(gene for genes in search.proposals for gene in genes.ravel().tolist())
        [0.0, 1.0, 2.0]
    """
    proposals = _distinct(space, rng, chunk) if space.size() < COUNTABLE else _drawn(space, rng, chunk)
    return Search("random", space, proposals, seed_of(rng), {"chunk": chunk})


def _drawn(space: Space, rng: np.random.Generator, chunk: int) -> Proposals:
    """Draw for ever: of 2^62 points and more, or of continuous ones, a million are distinct but once in ten million."""
    while True:
        yield space.sample(rng, chunk)


def _distinct(space: Space, rng: np.random.Generator, chunk: int) -> Proposals:
    """Draw numbers of points and leave out what was drawn; from the half of a space on, shuffle what is left."""
    size = int(space.size())
    seen: set[int] = set()
    while 2 * len(seen) < size:
        drawn = rng.integers(size, size=min(chunk, size)).tolist()
        fresh = [number for number in dict.fromkeys(drawn) if number not in seen]
        seen.update(fresh)
        if fresh:
            yield space.numbered(np.array(fresh))
    rest = rng.permutation(np.setdiff1d(np.arange(size), np.fromiter(seen, dtype=np.int64)))
    for start in range(0, len(rest), chunk):
        yield space.numbered(rest[start : start + chunk])
