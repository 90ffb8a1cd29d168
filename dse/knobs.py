"""Knobs: what a design space may turn. A list of numbers or names, a range, or a list for every block of a model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from workloads.errors import SpaceError
from workloads.knobs import PerLayer

__all__ = ["Genes", "Knob", "checked", "choice", "grid", "log_uniform", "per_layer", "uniform"]

Genes = NDArray[np.float64]
"""Shape (n_points, genes): indices into the values of a list; from 0 to 1 for a range."""


@dataclass(frozen=True, slots=True, eq=False)
class Knob:
    """One knob of a space.

    Attributes:
        values: What it may be; empty for a range.
        blocks: Block names of a per-layer knob, one gene each; empty for a plain knob.
        low: Lower end of a range.
        high: Upper end of a range.
        log: Whether the range is even in the logarithm.
        structural: Whether points of different values are evaluated apart, as those of different names always are.
    """

    values: tuple[Any, ...] = ()
    blocks: tuple[str, ...] = ()
    low: float = 0.0
    high: float = 0.0
    log: bool = False
    structural: bool = False

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
        """Whether points of different values are evaluated apart: each batch sees one of them, as it is in `values`."""
        return self.structural or (bool(self.values) and isinstance(self.values[0], str))

    def decode(self, genes: Genes) -> Any:
        """Turn gene columns, shape (n_points, genes), into values."""
        if self.is_range:
            column = genes[:, 0]
            if self.log:
                return np.exp(np.log(self.low) + column * (np.log(self.high) - np.log(self.low)))
            return self.low + column * (self.high - self.low)
        index = genes.T.astype(np.intp)  # transposed: a column per gene is contiguous, here and in the cost model
        if isinstance(self.values[0], str):
            return np.asarray(self.values, dtype=object)[index[0]]
        rows = np.asarray(self.values, dtype=np.float64).take(index)
        return PerLayer(self.blocks, rows.T) if self.blocks else rows[0]

    def encode(self, value: Any) -> float:
        """Turn one value into its gene.

        Raises:
            SpaceError: The knob cannot have this value.
        """
        if not self.is_range:
            if value in self.values:
                return float(self.values.index(value))
            raise SpaceError(f"{value!r} is none of {', '.join(map(str, self.values))}")
        if not self.low <= value <= self.high:
            raise SpaceError(f"{value!r} is not from {self.low:g} to {self.high:g}")
        if self.log:
            return float(np.log(value / self.low) / np.log(self.high / self.low))
        return float((value - self.low) / (self.high - self.low))


def choice(values: Sequence[float]) -> Knob:
    """Make a structural knob of numbers: a batch of points shares one of them, so a model may use `if` on it.

    Example:
        >>> choice([1, 8]).is_structural
        True
    """
    return Knob(values=_listed("choice", values), structural=True)


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

    Raises:
        SpaceError: There is no block.
    """
    if not len(blocks):
        raise SpaceError("a per-layer knob needs at least one block")
    return Knob(values=_listed("per_layer", values), blocks=tuple(blocks))


def uniform(low: float, high: float) -> Knob:
    """Make a continuous knob.

    Example:
        >>> uniform(0.5, 1.5).decode(np.array([[0.25]]))
        array([0.75])
    """
    return Knob(low=float(low), high=float(high))


def log_uniform(low: float, high: float) -> Knob:
    """Make a continuous knob that is even in the logarithm.

    Example:
        >>> log_uniform(0.25, 4).decode(np.array([[0.5]]))
        array([1.])
    """
    return Knob(low=float(low), high=float(high), log=True)


def checked(name: str, value: Any) -> Knob:
    """Make a knob of a list, or check one.

    Raises:
        SpaceError: It is empty, mixes names and numbers, repeats a value, holds what is neither, or has an empty range.
    """
    knob = value if isinstance(value, Knob) else Knob(values=_listed(name, value))
    if isinstance(value, Knob) and knob.is_range and not knob.blocks and not knob.structural:
        return _checked_range(name, knob)
    if not knob.values:
        raise SpaceError(f"knob {name!r} has no values; give at least one")
    wrong = [item for item in knob.values if not _is_value(item)]
    if wrong:
        raise SpaceError(f"knob {name!r}: {wrong[0]!r} is neither a number nor a name")
    kinds = {isinstance(item, str) for item in knob.values}
    if len(kinds) > 1:
        raise SpaceError(f"knob {name!r} mixes names and numbers: {list(knob.values)}; split it in two knobs")
    for what, items in (("value", knob.values), ("block", knob.blocks)):
        if len(set(items)) != len(items):
            raise SpaceError(f"knob {name!r} repeats a {what}: {list(items)}")
    if knob.blocks and (True in kinds or knob.structural):
        raise SpaceError(f"knob {name!r}: per-layer values must be numbers, not names")
    return knob


def _is_value(item: Any) -> bool:
    return isinstance(item, str) or (isinstance(item, int | float) and not isinstance(item, bool) and item == item)


def _checked_range(name: str, knob: Knob) -> Knob:
    if not (np.isfinite([knob.low, knob.high]).all() and knob.low < knob.high) or (knob.log and knob.low <= 0):
        raise SpaceError(
            f"knob {name!r}: the range {knob.low:g} to {knob.high:g} is empty, endless or not positive; "
            "give a low end below the high end"
        )
    return knob


def _listed(name: str, value: Any) -> tuple[Any, ...]:
    if isinstance(value, str | bytes | set | frozenset) or not hasattr(value, "__len__"):
        raise SpaceError(f"knob {name!r}: give a list of values, such as [{value!r}], not {value!r}")
    return tuple(item.item() if isinstance(item, np.generic) else item for item in value)
