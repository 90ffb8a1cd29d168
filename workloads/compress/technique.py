"""What a technique is: parameters, a cost view on workloads, a real view on ONNX models."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import numpy as np

from workloads.errors import TechniqueError, nearest
from workloads.knobs import PerLayer
from workloads.operator import Num
from workloads.workload import Workload

if TYPE_CHECKING:
    import onnx

__all__ = ["Fitted", "LayerNum", "Technique", "check_names", "plain", "resolve"]

LayerNum = Num | Mapping[str, float] | PerLayer
"""One value for all layers, a value per block name, or a batch with a column per block name."""


@runtime_checkable
class Fitted(Protocol):
    """A technique with everything decided: frozen, writable as JSON."""

    def cost(self, workload: Workload, base: Workload) -> Workload:
        """Transform a workload; `base` is the untransformed one, on which structure is found once."""

    def apply(self, model: onnx.ModelProto) -> onnx.ModelProto:
        """Transform a model's real weights; the argument is left as it is."""

    def to_dict(self) -> dict[str, Any]:
        """Give the parameters and decisions as plain data."""


class Technique(Protocol):
    """Parameters of a technique; a technique without data is its own fit."""

    def fit(self, model: onnx.ModelProto) -> Fitted:
        """Decide what depends on the weights."""

    def cost(self, workload: Workload, base: Workload) -> Workload:
        """Transform a workload: cost needs counts, not the decision which head goes."""

    def to_dict(self) -> dict[str, Any]:
        """Give the parameters as plain data."""


def resolve(value: LayerNum, block: str, what: str) -> Num:
    """Give the value of a knob for one block: the most specific name wins.

    Args:
        value: A number, an array of shape (n_points,), a mapping by block name, or `PerLayer`.
        block: Full block name, "layer.3.ffn.up".
        what: Name of the knob, for messages.

    Raises:
        TechniqueError: No name in the mapping covers the block.

    Example:
        >>> resolve({"layer.0": 8, "layer.0.ffn": 4}, "layer.0.ffn.up", "weight_bits")
        4
    """
    if isinstance(value, PerLayer):
        return value.at(block)
    if not isinstance(value, Mapping):
        return value
    name = block
    while name:
        if name in value:
            return value[name]
        name = name.rpartition(".")[0]
    raise TechniqueError(f"{what}: nothing given for block {block!r}; given: {', '.join(value) or '(none)'}")


def check_names(value: LayerNum, blocks: tuple[str, ...], what: str) -> None:
    """Refuse a mapping that names a block which the model does not have.

    Args:
        value: The knob.
        blocks: Full names of the blocks that it can act on.
        what: Name of the knob, for messages.

    Raises:
        TechniqueError: A name covers none of the blocks.

    Example:
        >>> check_names({"layer.0": 8}, ("layer.0.ffn.up", "layer.0.ffn.down"), "weight_bits")
    """
    names = value.blocks if isinstance(value, PerLayer) else tuple(value) if isinstance(value, Mapping) else ()
    unknown = _unknown_names(names, blocks)
    if unknown:
        raise TechniqueError(f"{what}: the model has no block {unknown[0]!r} here; {nearest(unknown[0], blocks)}")


@lru_cache(maxsize=256)
def _unknown_names(names: tuple[str, ...], blocks: tuple[str, ...]) -> tuple[str, ...]:
    covered = {
        ".".join(parts[:stop]) for parts in (block.split(".") for block in blocks) for stop in range(1, len(parts) + 1)
    }
    return tuple(name for name in names if name not in covered)


def plain(value: LayerNum) -> Any:
    """Give a knob as plain data: what JSON can hold.

    Example:
        >>> plain({"layer.0": 0.5})
        {'layer.0': 0.5}
    """
    if isinstance(value, PerLayer):
        if value.values.ndim > 1:
            return {"blocks": list(value.blocks), "values": value.values.tolist()}
        return dict(zip(value.blocks, value.values.tolist(), strict=True))
    if isinstance(value, Mapping):
        return {name: getattr(number, "item", lambda number=number: number)() for name, number in value.items()}
    if isinstance(value, np.ndarray | np.generic):
        return value.tolist()
    return value
