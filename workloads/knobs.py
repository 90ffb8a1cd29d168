"""`PerLayer`: a knob with one column per block, for one design point or a batch of them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from workloads.errors import TechniqueError
from workloads.operator import Num

__all__ = ["PerLayer"]


@dataclass(frozen=True, slots=True, eq=False)
class PerLayer:
    """A value per block.

    Attributes:
        blocks: Block names, one per column; a name covers every block below it ("layer.0" covers "layer.0.ffn.up").
        values: Shape (n_layers,) for one design point, (n_points, n_layers) for a batch.

    Example:
        >>> PerLayer(("layer.0", "layer.0.ffn"), np.array([8, 4])).at("layer.0.ffn.up")
        4.0
    """

    blocks: tuple[str, ...]
    values: NDArray[Any]
    _columns: dict[str, Num] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        values = np.asarray(self.values)
        if values.ndim not in (1, 2) or values.shape[-1] != len(self.blocks):
            raise TechniqueError(f"per-layer values of shape {values.shape} do not fit {len(self.blocks)} blocks")
        # columns in Fortran order: at() then hands out contiguous views, several times faster in the cost model
        values = np.asfortranarray(values)
        object.__setattr__(self, "values", values)
        # one object per column: the cost model recognises equal operators by the identity of their arrays
        columns = {name: values[:, j] if values.ndim == 2 else float(values[j]) for j, name in enumerate(self.blocks)}
        if len(columns) != len(self.blocks):
            raise TechniqueError(f"per-layer values name a block twice: {', '.join(self.blocks)}")
        object.__setattr__(self, "_columns", columns)

    def at(self, block: str) -> Num:
        """Give the value for a block: the most specific column whose name is the block or above it.

        Returns:
            A float for one point; a contiguous view of shape (n_points,) for a batch, the same object every time.

        Raises:
            TechniqueError: No column covers the block.
        """
        name = block
        while name:
            if name in self._columns:
                return self._columns[name]
            name = name.rpartition(".")[0]
        raise TechniqueError(f"no column covers block {block!r}; columns: {', '.join(self.blocks)}")

    def row(self, index: int) -> PerLayer:
        """Give one design point of a batch."""
        return PerLayer(self.blocks, self.values[index])
