"""Exhaustive enumeration and random search."""

from __future__ import annotations

import numpy as np

from dse.search.protocol import Proposals, Search
from dse.space import Space

__all__ = ["exhaustive", "random_search"]


def exhaustive(space: Space, chunk: int = 8192) -> Search:
    """Look at every point, in a fixed order."""

    def proposals() -> Proposals:
        for genes in space.enumerate(chunk):
            yield genes

    return Search("exhaustive", space, proposals())


def random_search(space: Space, *, rng: np.random.Generator, chunk: int = 8192) -> Search:
    """Look at points drawn evenly from the space, for ever."""

    def proposals() -> Proposals:
        while True:
            yield space.sample(rng, chunk)

    return Search("random", space, proposals())
