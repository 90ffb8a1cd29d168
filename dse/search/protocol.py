"""What a search is."""

from __future__ import annotations

import hashlib
from collections.abc import Generator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dse.knobs import Genes
from dse.space import Space

__all__ = ["Proposals", "Search", "seed_of"]

Proposals = Generator[Genes, tuple[NDArray[Any], NDArray[Any]], None]
"""Yields genes, shape (n, genes); receives (objectives of shape (n, n_objectives), violations of shape (n,))."""


@dataclass(frozen=True, slots=True, eq=False)
class Search:
    """A search over a space.

    Attributes:
        name: For reports.
        space: Where.
        proposals: The generator.
        seed: Identity of the random generator's state at the start, from `seed_of`; a stored run resumes only with it.
        settings: Other parameters that determine what is proposed: numbers and strings.
    """

    name: str
    space: Space
    proposals: Proposals
    seed: str = ""
    settings: Mapping[str, Any] = field(default_factory=dict)


def seed_of(rng: np.random.Generator) -> str:
    """Give the identity of a random generator's state (hex, 16 characters).

    Example:
        >>> seed_of(np.random.default_rng(1)) == seed_of(np.random.default_rng(1))
        True
    """
    return hashlib.sha256(repr(rng.bit_generator.state).encode()).hexdigest()[:16]
