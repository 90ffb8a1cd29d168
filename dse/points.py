"""`Points`: a batch of design points, or one, as a model reads them."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from workloads.errors import SpaceError, nearest
from workloads.knobs import PerLayer

__all__ = ["Points", "UnknownKnobError"]


class UnknownKnobError(SpaceError, AttributeError):
    """A design point was asked for a knob that it does not have; `getattr` with a default works as usual."""


class Points:
    """A batch of design points, or one: attributes are the knobs.

    Plain numeric knobs are arrays of shape (n_points,), per-layer ones `PerLayer`, structural ones a name (all points
    of a batch that a model sees share it). One point has numbers and `PerLayer` rows instead.

    Example:
        >>> points = Points({"weight_bits": np.array([8.0, 4.0]), "device": "t4"}, 2)
        >>> points.weight_bits, points.row(1).weight_bits
        (array([8., 4.]), 4.0)
    """

    __slots__ = ("_columns", "_count")

    def __init__(self, columns: dict[str, Any], count: int) -> None:
        self._columns = columns
        self._count = count

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        if name not in self._columns:
            raise UnknownKnobError(f"the design point has no knob {name!r}; {nearest(name, self._columns)}")
        return self._columns[name]

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
