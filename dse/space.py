"""Design spaces: named knobs, and batches of design points drawn from them.

A space is a table of genes. A knob is one gene (a list of numbers or names, or a range), a per-layer knob one gene per
block. A design point is a row of gene values; a batch of them is a matrix, decoded into columns once.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from workloads.errors import SpaceError, nearest
from workloads.knobs import PerLayer

__all__ = ["Knob", "Points", "Space", "grid", "log_uniform", "per_layer", "uniform"]

Genes = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Knob:
    """One knob of a space.

    Attributes:
        values: What it may be; empty for a range.
        blocks: Block names of a per-layer knob, one gene each; empty for a plain knob.
        low: Lower end of a range.
        high: Upper end of a range.
        log: Whether the range is even in the logarithm.
    """

    values: tuple[Any, ...] = ()
    blocks: tuple[str, ...] = ()
    low: float = 0.0
    high: float = 0.0
    log: bool = False

    @property
    def genes(self) -> int:
        """Number of genes."""
        return len(self.blocks) or 1

    @property
    def is_range(self) -> bool:
        """Whether the knob is continuous."""
        return not self.values

    @property
    def is_structural(self) -> bool:
        """Whether its values are names: points of different names are evaluated apart."""
        return bool(self.values) and isinstance(self.values[0], str)

    def decode(self, genes: Genes) -> Any:
        """Turn gene columns, shape (n_points, genes), into values."""
        if self.is_range:
            column = genes[:, 0]
            if self.log:
                return np.exp(np.log(self.low) + column * (np.log(self.high) - np.log(self.low)))
            return self.low + column * (self.high - self.low)
        index = genes.astype(np.intp)
        if self.is_structural:
            return np.asarray(self.values, dtype=object)[index[:, 0]]
        table = np.asarray(self.values, dtype=np.float64)
        if not self.blocks:
            return table[index[:, 0]]
        return PerLayer(self.blocks, np.asfortranarray(table[np.asfortranarray(index)]))


def grid(low: float, high: float, number: int) -> tuple[float, ...]:
    """Give evenly spaced values.

    Example:
        >>> grid(0.25, 1, 4)
        (0.25, 0.5, 0.75, 1.0)
    """
    return tuple(float(value) for value in np.linspace(low, high, number))


def per_layer(blocks: Sequence[str], values: Sequence[float]) -> Knob:
    """Make a knob with one gene per block.

    Example:
        >>> per_layer(["layer.0", "layer.1"], [4, 8]).genes
        2
    """
    return Knob(values=tuple(values), blocks=tuple(blocks))


def uniform(low: float, high: float) -> Knob:
    """Make a continuous knob."""
    return Knob(low=float(low), high=float(high))


def log_uniform(low: float, high: float) -> Knob:
    """Make a continuous knob that is even in the logarithm."""
    return Knob(low=float(low), high=float(high), log=True)


class Points:
    """A batch of design points, or one: attributes are the knobs.

    Plain numeric knobs are arrays of shape (n_points,), per-layer ones `PerLayer`, structural ones a name (all points
    of a batch that a model sees share it). One point has numbers and `PerLayer` rows instead.
    """

    __slots__ = ("_columns", "_count")

    def __init__(self, columns: dict[str, Any], count: int) -> None:
        self._columns = columns
        self._count = count

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        try:
            return self._columns[name]
        except KeyError:
            raise SpaceError(f"the design point has no knob {name!r}; {nearest(name, self._columns)}") from None

    def __contains__(self, name: object) -> bool:
        return name in self._columns

    def __len__(self) -> int:
        return self._count

    def __reduce__(self) -> tuple[Any, ...]:
        return Points, (self._columns, self._count)

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the knobs."""
        return tuple(self._columns)

    def row(self, index: int) -> Points:
        """Give one design point with plain numbers."""
        return Points({name: _at(value, index) for name, value in self._columns.items()}, 1)

    def take(self, index: NDArray[Any]) -> Points:
        """Give some of the points."""
        return Points({name: _take(value, index) for name, value in self._columns.items()}, len(index))

    def replaced(self, **columns: Any) -> Points:
        """Give the same points with other values of some knobs."""
        return Points({**self._columns, **columns}, self._count)

    def columns(self) -> dict[str, Any]:
        """Give flat columns: a per-layer knob becomes one column per block, `knob[block]`."""
        flat: dict[str, Any] = {}
        for name, value in self._columns.items():
            if isinstance(value, PerLayer):
                flat |= {f"{name}[{block}]": value.values[..., i] for i, block in enumerate(value.blocks)}
            else:
                flat[name] = value
        return flat


def _at(value: Any, index: int) -> Any:
    if isinstance(value, PerLayer):
        return value.row(index)
    if isinstance(value, np.ndarray):
        item = value[index]
        return item if isinstance(item, str) else float(item)
    return value


def _take(value: Any, index: NDArray[Any]) -> Any:
    if isinstance(value, PerLayer):
        return PerLayer(value.blocks, value.values[index])
    return value[index] if isinstance(value, np.ndarray) else value


class Space:
    """Named knobs.

    Example:
        >>> space = Space(device=["t4", "l4"], weight_bits=[4, 8, 16])
        >>> space.size()
        6

    Args:
        **knobs: A list of numbers or of names, `grid(...)`, `per_layer(...)`, `uniform(...)` or `log_uniform(...)`.

    Raises:
        SpaceError: A knob is empty, mixes names and numbers, repeats a value, or has an empty range.
    """

    def __init__(self, **knobs: Any) -> None:
        if not knobs:
            raise SpaceError("a space needs at least one knob")
        self.knobs = {name: _checked(name, value) for name, value in knobs.items()}
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

    def sample(self, rng: np.random.Generator, number: int) -> Genes:
        """Draw genes at random, shape (number, genes)."""
        counts = self.cardinalities
        genes = rng.random((number, self.genes))
        discrete = counts > 0
        genes[:, discrete] = np.floor(genes[:, discrete] * counts[discrete])
        return genes

    def enumerate(self, chunk: int = 8192) -> Iterator[Genes]:
        """Give all genes in a fixed order (the last gene runs fastest), in chunks of shape (<= chunk, genes).

        Raises:
            SpaceError: A knob is continuous.
        """
        size = self.size()
        if size == float("inf"):
            ranges = [name for name, knob in self.knobs.items() if knob.is_range]
            raise SpaceError(f"a space with the continuous knob {ranges[0]!r} cannot be enumerated; use grid(...) for it")
        counts = self.cardinalities
        weights = np.concatenate([np.cumprod(counts[::-1].astype(object))[::-1][1:], [1]])
        for start in range(0, int(size), chunk):
            flat = np.arange(start, min(start + chunk, int(size)), dtype=np.int64 if size < 2**62 else object)
            columns = [(flat // weight) % count for weight, count in zip(weights, counts, strict=True)]
            yield np.stack(columns, axis=1).astype(np.float64)

    def to_dict(self) -> dict[str, Any]:
        """Give the space as plain data."""
        plain: dict[str, Any] = {}
        for name, knob in self.knobs.items():
            if knob.is_range:
                plain[name] = {"low": knob.low, "high": knob.high, "log": knob.log}
            elif knob.blocks:
                plain[name] = {"blocks": list(knob.blocks), "values": list(knob.values)}
            else:
                plain[name] = list(knob.values)
        return plain

    def digest(self) -> str:
        """Hash the space (hex, 16 characters)."""
        return hashlib.sha256(json.dumps(self.to_dict(), sort_keys=True).encode()).hexdigest()[:16]


def _checked(name: str, value: Any) -> Knob:
    knob = value if isinstance(value, Knob) else Knob(values=tuple(_listed(name, value)))
    if isinstance(value, Knob) and knob.is_range:
        if not knob.low < knob.high or (knob.log and knob.low <= 0):
            raise SpaceError(f"knob {name!r}: the range {knob.low:g} to {knob.high:g} is empty or not positive")
        return knob
    if not knob.values or (knob.blocks == () and isinstance(value, Knob) and not knob.is_range and knob.genes == 0):
        raise SpaceError(f"knob {name!r} has no values; give at least one")
    kinds = {isinstance(item, str) for item in knob.values}
    if len(kinds) > 1:
        raise SpaceError(f"knob {name!r} mixes names and numbers: {list(knob.values)}; split it in two knobs")
    if len(set(knob.values)) != len(knob.values):
        raise SpaceError(f"knob {name!r} repeats a value: {list(knob.values)}")
    if knob.blocks and True in kinds:
        raise SpaceError(f"knob {name!r}: per-layer values must be numbers, not names")
    return knob


def _listed(name: str, value: Any) -> Sequence[Any]:
    if isinstance(value, str | bytes) or not hasattr(value, "__len__"):
        raise SpaceError(f"knob {name!r}: give a list of values, such as [{value!r}], not {value!r}")
    return [item.item() if isinstance(item, np.generic) else item for item in value]
