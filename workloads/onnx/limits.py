"""What a file may ask for: bounds that no real model reaches, so that a damaged or hostile one ends in a message.

Sizes are plain integers here, and so cannot overflow; they must not grow past what any runtime can hold either. Time
is bounded by the nodes that are visited.
"""

from __future__ import annotations

from collections.abc import Sequence

from workloads.errors import WorkloadError

__all__ = [
    "MAX_ADDED",
    "MAX_ADDED_ASKED",
    "MAX_AXES",
    "MAX_DEPTH",
    "MAX_EXECUTIONS",
    "MAX_FILE_BYTES",
    "MAX_KEPT_BYTES",
    "MAX_POINTS",
    "MAX_VALUES",
    "check_shape",
]

MAX_AXES = 64
"""Axes of one tensor: NumPy's own limit (NPY_MAXDIMS of NumPy 2)."""

MAX_VALUES = 2**63 - 1
"""Values of one tensor: ONNX stores a dim as int64, and runtimes count values in int64."""

MAX_POINTS = 2**189
"""Points of one loop nest: three extents of int64, as in the largest matrix product."""

MAX_EXECUTIONS = 2**63 - 1
"""Expected executions of one operator: a trip count is an int64."""

MAX_DEPTH = 50
"""Bodies and functions inside each other. Protocol buffers stop parsing at 100 messages, which is 33 bodies."""

MAX_FILE_BYTES = 2**31 - 1
"""Size of one message of Protocol buffers; larger models keep their weights in external data [B]."""

MAX_ADDED = 12_000
"""Nodes that may be visited beside those of the file: 100 layers of 120 nodes, inlined. Functions add some, and loops
whose shapes change from trip to trip. Two seconds on a slow machine."""

MAX_ADDED_ASKED = 200_000
"""The same where the caller gives a number of trips, and so has asked for the work: half a minute and 300 MB."""

MAX_KEPT_BYTES = 1 << 27
"""Data of folded arrays that are larger than a shape; beyond it they are known by their shape alone [B]."""


def check_shape(shape: Sequence[int], where: str) -> None:
    """Refuse a shape that no tensor can have.

    Args:
        shape: Extents; none of them is trusted.
        where: Whose shape it is, to start the message with.

    Raises:
        WorkloadError: A negative extent, too many axes, too many values.

    Example:
        >>> check_shape((2, 3), "initializer 'w'")
    """
    if len(shape) > MAX_AXES:
        raise WorkloadError(f"{where}: a tensor of {len(shape)} axes; at most {MAX_AXES} can be described")
    size = 1
    for extent in shape:
        if extent < 0:
            raise WorkloadError(f"{where}: the impossible shape {tuple(shape)}; export the model again")
        size *= extent
    if size > MAX_VALUES and 0 not in shape:
        raise WorkloadError(
            f"{where}: shape {tuple(shape)} has more values than any runtime can count (2^63 - 1); "
            "the file is damaged, or a symbolic dim was given an impossible size"
        )
