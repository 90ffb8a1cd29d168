"""Single-node cases with hand-counted work, and arrays to feed them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["MICROSOFT", "Case", "case", "f", "i", "i32", "u8"]

Array = NDArray[Any]
MICROSOFT = "com.microsoft"
_RNG = np.random.default_rng(0)


@dataclass(frozen=True)
class Case:
    """One node.

    Attributes:
        op_type: Its op type.
        arrays: Its inputs; None where an optional one is left out.
        constant: Positions of the inputs that are initializers.
        macs: Multiply-adds by a hand formula.
        flops: FLOPs by a hand formula; None: not checked.
        runs: Whether ONNX Runtime's CPU provider executes it; else shapes are checked by `shapes`.
        shapes: Output shapes where nothing executes the node.
        options: Attributes, and opset, domain, outputs.
    """

    op_type: str
    arrays: Sequence[Any]
    constant: Sequence[int] = ()
    macs: float = 0
    flops: float | None = None
    runs: bool = True
    shapes: Sequence[tuple[int, ...]] = ()
    options: dict[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        shapes = "_".join("x".join(map(str, np.shape(a))) if a is not None else "none" for a in self.arrays)
        return "-".join([self.op_type, shapes, *(f"{key}={value}" for key, value in self.options.items())])


def case(op_type: str, arrays: Sequence[Any], constant: Sequence[int] = (), **options: Any) -> Case:
    """Write a case; `macs`, `flops`, `runs` and `shapes` are those of `Case`, the rest are options."""
    own = {key: options.pop(key) for key in ("macs", "flops", "runs", "shapes") if key in options}
    return Case(op_type, arrays, constant, options=options, **own)


def f(*shape: int) -> Array:
    """Give random floats."""
    return _RNG.standard_normal(shape).astype(np.float32)


def i(*values: int) -> Array:
    """Give 64-bit integers."""
    return np.array(values, np.int64)


def i32(*values: int) -> Array:
    """Give 32-bit integers."""
    return np.array(values, np.int32)


def u8(*shape: int) -> Array:
    """Give random bytes."""
    return _RNG.integers(0, 255, shape).astype(np.uint8)
