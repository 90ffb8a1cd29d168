"""What a search is."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dse.space import Space

__all__ = ["Proposals", "Search"]

Proposals = Generator[NDArray[np.float64], tuple[NDArray[Any], NDArray[Any]], None]
"""Yields genes, shape (n, genes); receives (objectives of shape (n, n_objectives), violations of shape (n,))."""


@dataclass(frozen=True, slots=True, eq=False)
class Search:
    """A search over a space.

    Attributes:
        name: For reports.
        space: Where.
        proposals: The generator.
    """

    name: str
    space: Space
    proposals: Proposals
