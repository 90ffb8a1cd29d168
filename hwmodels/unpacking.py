"""Products whose kernel takes a stored narrow weight: how fast they run on devices where that was measured."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from hwmodels.fusion import PRODUCTS, is_weight_conversion
from hwmodels.step import Step
from workloads.formats import FORMATS, Code
from workloads.operator import Num, Operator

__all__ = ["OWN_KERNEL", "is_part_of_product", "quantizes_inside", "slowdown"]

OWN_KERNEL = "MatMulNBits"
"""The op type that unpacks its weight on every device; `efficiency` holds its speed, beyond its conversion."""


def slowdown(op: Operator, unpacking: Mapping[int, float]) -> Num:
    """Give how many times longer a product takes for unpacking its stored weight; 1 where it unpacks none.

    Args:
        op: Any operator.
        unpacking: Weights of up to so many bits, and the speed of a product with such a weight relative to the same
            product with a weight of full width. Wider weights are not packed.

    Returns:
        One factor, or shape (n_points,) where the widths are a batch.

    Example:
        >>> from workloads import Tensor, axis, format_code
        >>> w = Tensor(name="w", axes=(axis("k"), axis("n")), role="weight", bits=4, format=format_code("int4"))
        >>> x = Tensor(name="x", axes=(axis("m"), axis("k")))
        >>> op = Operator(name="p", op_type="MatMul", kind="matmul", dims={"m": 8, "k": 8, "n": 8}, inputs=(x, w),
        ...               outputs=(Tensor(name="y", axes=(axis("m"), axis("n"))),))
        >>> slowdown(op, {4: 0.5, 8: 0.25})
        2.0
    """
    if not unpacking or op.kind not in PRODUCTS:
        return 1.0
    if not (quantizes_inside(op) if op.op_type == OWN_KERNEL else _is_float(op.format)):
        return 1.0
    bits = next((tensor.bits for tensor in op.inputs if tensor.role == "weight"), None)
    if bits is None:
        return 1.0
    widths = sorted(unpacking)
    table = np.array([*[1.0 / unpacking[width] for width in widths], 1.0])
    found = table[np.searchsorted(widths, bits)]
    return found if isinstance(bits, np.ndarray) else float(found)


def is_part_of_product(op: Operator, step: Step, unpacking: Mapping[int, float]) -> bool:
    """Say whether the time of a weight's conversion is part of its product's, by what `slowdown` says."""
    if not unpacking or not is_weight_conversion(op):
        return False
    return bool(step.resident) and all(other.op_type != OWN_KERNEL for other in step.operators)


def quantizes_inside(op: Operator) -> bool:
    """Say whether a product takes floats and a packed weight and multiplies integers (in some points, if a batch).

    It is the kernel that dequantized weights become, so its speed is that of `unpacking`, relative to floats.
    """
    return op.op_type == OWN_KERNEL and _is_float(op.inputs[0].format) and not _is_float(op.format)


def _is_float(code: Code) -> bool:
    return not isinstance(code, np.ndarray) and FORMATS[code].kind == "float"
