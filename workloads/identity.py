"""Cost identity without looking into batches: scalars by value, arrays by object.

Keys are valid while the arrays that they name are alive, so they never outlive the call that makes them.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

import numpy as np

from workloads.operator import Axis, Tensor

__all__ = ["axes_identity", "dims_identity", "identity", "tensor_identity"]


def identity(value: Any) -> Hashable:
    """Give a key: equal for equal scalars, and for the same array.

    Example:
        >>> identity(8) == identity(8.0)
        True
        >>> import numpy as np
        >>> a = np.ones(3)
        >>> identity(a) == identity(a), identity(a) == identity(a.copy())
        (True, False)
    """
    if isinstance(value, np.ndarray):
        return ("array", id(value)) if value.ndim else value.item()
    return value  # type: ignore[no-any-return]


def dims_identity(dims: Mapping[str, Any]) -> Hashable:
    """Give the key of a loop nest."""
    # identity() only where it is needed: a third of the time of calling it for every scalar
    return tuple([(name, identity(size) if isinstance(size, np.ndarray) else size) for name, size in dims.items()])


def axes_identity(axes: tuple[Axis, ...]) -> Hashable:
    """Give the key of a tensor's axes."""
    return tuple([(axis.terms, axis.offset, identity(axis.extent)) for axis in axes])


def tensor_identity(tensor: Tensor) -> Hashable:
    """Give the key of what a tensor adds to traffic and memory, whatever the dims are; not its name or format."""
    numbers = (tensor.bits, tensor.density, tensor.overhead_bits, tensor.touched)
    return (axes_identity(tensor.axes), tensor.role, *[identity(number) for number in numbers])
