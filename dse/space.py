"""Design spaces: named knobs, and batches of design points drawn from them.

A space is a table of genes. A knob is one gene (a list of numbers or names, or a range), a per-layer knob one gene per
block. A design point is a row of gene values; a batch of them is a matrix, decoded into columns once.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dse.knobs import Genes, Knob, checked, choice, grid, log_uniform, per_layer, uniform
from dse.points import Points
from workloads.errors import SpaceError, nearest
from workloads.knobs import PerLayer

__all__ = ["Genes", "Knob", "Points", "Space", "choice", "grid", "log_uniform", "per_layer", "uniform"]

COUNTABLE = 2**62
"""Points of a space whose numbers still fit an int64."""


class Space:
    """Named knobs.

    Example:
        >>> space = Space(device=["t4", "l4"], weight_bits=[4, 8, 16])
        >>> space.size()
        6

    Args:
        **knobs: A list of numbers or of names, `grid(...)`, `choice(...)`, `per_layer(...)`, `uniform(...)` or
            `log_uniform(...)`.

    Raises:
        SpaceError: A knob is empty, mixes names and numbers, repeats a value, holds what is neither, has an empty
            range, or is named like an attribute of `Points`.
    """

    def __init__(self, **knobs: Any) -> None:
        if not knobs:
            raise SpaceError("a space needs at least one knob")
        for name in knobs:
            if name.startswith("_") or hasattr(Points, name):
                raise SpaceError(f"a knob cannot be called {name!r}: design points have an attribute of that name")
        self.knobs = {name: checked(name, value) for name, value in knobs.items()}
        self._slices: dict[str, slice] = {}
        position = 0
        for name, knob in self.knobs.items():
            self._slices[name] = slice(position, position + knob.genes)
            position += knob.genes
        self.genes = position

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the knobs."""
        return tuple(self.knobs)

    @property
    def cardinalities(self) -> NDArray[np.int64]:
        """Number of values of each gene, shape (genes,); 0 for a continuous one."""
        return np.concatenate([np.full(knob.genes, len(knob.values)) for knob in self.knobs.values()]).astype(np.int64)

    def position(self, name: str) -> slice:
        """Say which genes are a knob's."""
        return self._slices[name]

    def size(self) -> int | float:
        """Count the design points; infinite with a continuous knob."""
        total: int | float = 1
        for knob in self.knobs.values():
            total = float("inf") if knob.is_range else total * len(knob.values) ** knob.genes
        return total

    def decode(self, genes: Genes) -> Points:
        """Turn genes, shape (n_points, genes), into design points: indices into the values, or [0, 1] for a range."""
        columns = {name: knob.decode(genes[:, self._slices[name]]) for name, knob in self.knobs.items()}
        return Points(columns, len(genes))

    def encode(self, **values: Any) -> Genes:
        """Turn one design point into genes, shape (1, genes); a per-layer knob takes one value, or one per block.

        Raises:
            SpaceError: A knob is missing, unknown, or cannot have the value.

        Example:
            >>> Space(device=["t4", "l4"], weight_bits=[4, 8]).encode(device="l4", weight_bits=4)
            array([[1., 0.]])
        """
        for name in (*values, *self.knobs):
            if name not in self.knobs or name not in values:
                fault = f"there is no knob {name!r}" if name in values else f"the knob {name!r} is missing"
                raise SpaceError(f"{fault}; {nearest(name, self.knobs)}")
        genes = np.empty((1, self.genes))
        for name, knob in self.knobs.items():
            value = values[name]
            given = value.values if isinstance(value, PerLayer) else value
            try:
                single = isinstance(given, str) or np.ndim(given) == 0
                genes[0, self._slices[name]] = knob.encode(given) if single else [knob.encode(item) for item in given]
            except (SpaceError, ValueError) as error:
                raise SpaceError(f"knob {name!r}: {error}") from None
        return genes

    def contains(self, genes: Genes) -> NDArray[np.bool_]:
        """Say which rows of genes are points of the space, shape (n_points,)."""
        counts = self.cardinalities
        inside = (genes >= 0) & (genes <= np.where(counts > 0, counts - 1, 1))
        inside &= (counts == 0) | (genes == np.floor(genes))
        return np.asarray(inside.all(axis=1))

    def sample(self, rng: np.random.Generator, number: int) -> Genes:
        """Draw genes at random, shape (number, genes), each gene's column contiguous: decoding reads columns."""
        columns = np.empty((self.genes, number))
        for name, knob in self.knobs.items():
            drawn = columns[self._slices[name]]
            if knob.is_range:
                drawn[:] = rng.random(drawn.shape)
            else:  # a narrow type: several times faster to draw than floats to scale and round
                drawn[:] = rng.integers(len(knob.values), size=drawn.shape, dtype=_narrow(len(knob.values)))
        return columns.T

    def enumerate(self, chunk: int = 8192) -> Iterator[Genes]:
        """Give all genes in a fixed order (the last gene runs fastest), in chunks of shape (<= chunk, genes).

        Raises:
            SpaceError: A knob is continuous.
        """
        size = self.size()
        if size == float("inf"):
            ranges = [name for name, knob in self.knobs.items() if knob.is_range]
            raise SpaceError(
                f"a space with the continuous knob {ranges[0]!r} cannot be enumerated; use grid(...) for it"
            )
        for start in range(0, int(size), chunk):
            end = min(start + chunk, int(size))
            yield self.numbered(np.arange(start, end, dtype=np.int64 if size < COUNTABLE else object))

    def numbered(self, numbers: NDArray[Any]) -> Genes:
        """Give points by their place in the order of `enumerate`: numbers of shape (n,) to genes of shape (n, genes).

        Example:
            >>> Space(a=[1, 2], b=[4, 8, 16]).numbered(np.array([0, 5])).tolist()
            [[0.0, 0.0], [1.0, 2.0]]
        """
        counts = self.cardinalities
        weights = np.concatenate([np.cumprod(counts[::-1].astype(object))[::-1][1:], [1]])
        columns = np.empty((self.genes, len(numbers)))
        for column, weight, count in zip(columns, weights, counts, strict=True):
            column[:] = (numbers // weight) % count
        return columns.T

    def to_dict(self) -> dict[str, Any]:
        """Give the space as plain data."""
        plain: dict[str, Any] = {}
        for name, knob in self.knobs.items():
            if knob.is_range:
                plain[name] = {"low": knob.low, "high": knob.high, "log": knob.log}
            elif knob.structural:
                plain[name] = {"choice": list(knob.values)}
            elif knob.blocks:
                plain[name] = {"blocks": list(knob.blocks), "values": list(knob.values)}
            else:
                plain[name] = list(knob.values)
        return plain

    def digest(self) -> str:
        """Hash the space, the order of its knobs included: genes depend on it (hex, 16 characters)."""
        return hashlib.sha256(json.dumps(self.to_dict()).encode()).hexdigest()[:16]


def _narrow(count: int) -> type[np.unsignedinteger[Any]]:
    return np.uint8 if count <= 256 else np.uint16 if count <= 65536 else np.uint32
