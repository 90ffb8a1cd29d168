"""Symmetric round-to-nearest quantization of one weight matrix, and its packing for ONNX Runtime."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from workloads.errors import TechniqueError

__all__ = ["Granularity", "QuantizedMatrix", "container_bits", "pack_blocks", "quantize_matrix"]

Granularity = Literal["tensor", "channel", "group"]

_SHRINK = np.linspace(1.0, 0.4, 25)
"""Candidate clipping thresholds of the least-squares clip, as fractions of the largest magnitude."""


@dataclass(frozen=True, slots=True, eq=False)
class QuantizedMatrix:
    """A quantized [k, n] matrix: value = integer x scale.

    Attributes:
        integers: int8 array, shape (k, n), within +-(2^(bits-1) - 1).
        scales: Shape (groups, n); (1, n) per channel; (1, 1) per tensor.
        group_size: Rows per scale; k where there is one.
    """

    integers: NDArray[np.int8]
    scales: NDArray[Any]
    group_size: int

    def dequantize(self) -> NDArray[Any]:
        """Give the values that the integers stand for, shape (k, n)."""
        rows = self.integers.shape[0]
        repeated = np.repeat(self.scales, self.group_size, axis=0)[:rows]
        return np.asarray(self.integers * repeated, dtype=self.scales.dtype)


def quantize_matrix(
    weight: NDArray[Any],
    bits: int,
    granularity: Granularity = "channel",
    group_size: int = 32,
    clip: Literal["max", "mse"] = "max",
) -> QuantizedMatrix:
    """Quantize a matrix by round-to-nearest with symmetric scales.

    Args:
        weight: Shape (k, n), inputs by outputs.
        bits: 2 to 8.
        granularity: One scale per tensor, per output channel, or per group of rows of a channel.
        group_size: Rows per group.
        clip: "max": the largest magnitude is representable; "mse": the threshold that loses least squares.

    Returns:
        Integers and scales; the error is at most half a scale per value (with clip="max").

    Raises:
        TechniqueError: Bits out of range, a type that is not float, or values that are NaN or infinite.

    Example:
        >>> q = quantize_matrix(np.array([[1.0], [-0.4]]), bits=2)
        >>> q.dequantize().ravel().tolist()
        [1.0, 0.0]

    Source: Gholami et al., A Survey of Quantization Methods, 2021, section III (symmetric, restricted range).
    """
    if not 2 <= bits <= 8:
        raise TechniqueError(
            f"weights are quantized to 2 to 8 bits, not {bits}; leave a layer out with bits of 16 or more"
        )
    _check_floats(weight)
    k, n = weight.shape
    size = group_size if granularity == "group" else k
    groups = -(-k // size)
    blocks = np.zeros((groups * size, n), dtype=np.result_type(weight.dtype, np.float32))
    blocks[:k] = weight
    blocks = blocks.reshape(groups, size, n)
    largest = 2 ** (bits - 1) - 1
    reduced = (1, 2) if granularity == "tensor" else (1,)
    peak = np.max(np.abs(blocks), axis=reduced, keepdims=True)
    scales = _representable(np.where(peak > 0, peak, 1) / largest, weight.dtype)
    if clip == "mse":
        scales = _least_squares(blocks, scales, largest, reduced, weight.dtype)
    integers = np.clip(np.rint(blocks / scales), -largest, largest).astype(np.int8).reshape(-1, n)[:k]
    return QuantizedMatrix(integers, scales[:, 0, :].astype(weight.dtype), size)


def _check_floats(weight: NDArray[Any]) -> None:
    if weight.dtype not in (np.float16, np.float32, np.float64):
        raise TechniqueError(f"weights of type {weight.dtype} are not quantized; convert the model to float32 first")
    wrong = np.argwhere(~np.isfinite(weight))
    if wrong.size:
        row, column = wrong[0]
        raise TechniqueError(
            f"{len(wrong)} weight(s) are NaN or infinite, the first at [{row}, {column}]; repair or retrain the model"
        )


def _representable(scales: NDArray[Any], dtype: np.dtype[Any]) -> NDArray[Any]:
    """Round scales to the type that they are stored in; none becomes zero."""
    smallest = np.finfo(dtype).smallest_subnormal
    return np.asarray(np.maximum(scales.astype(dtype), smallest), dtype=scales.dtype)


def _least_squares(
    blocks: NDArray[Any], scales: NDArray[Any], largest: int, reduced: tuple[int, ...], dtype: np.dtype[Any]
) -> NDArray[Any]:
    """Shrink each scale to the candidate with the least squared error; the first candidate is the scale itself."""
    best = scales
    lowest = np.full(scales.shape, np.inf)
    for shrink in _SHRINK:
        candidate = _representable(scales * shrink, dtype)
        error = blocks - np.clip(np.rint(blocks / candidate), -largest, largest) * candidate
        loss = np.sum(error * error, axis=reduced, keepdims=True)
        best = np.where(loss < lowest, candidate, best)
        lowest = np.minimum(loss, lowest)
    return best


def container_bits(bits: int, containers: tuple[int, ...] = (2, 4, 8)) -> int:
    """Give the narrowest container that holds a width.

    Example:
        >>> container_bits(3), container_bits(5)
        (4, 8)
    """
    return next(width for width in containers if width >= bits)


def pack_blocks(matrix: QuantizedMatrix, bits: int) -> tuple[NDArray[np.uint8], NDArray[Any]]:
    """Pack a group-quantized matrix the way MatMulNBits reads it.

    Args:
        matrix: Quantized per group of rows.
        bits: Container width: 2, 4 or 8.

    Returns:
        (blobs of shape (n, groups, group_size x bits / 8), scales of shape (n, groups)); values are stored with the
        default zero point 2^(bits-1), low bits first.

    Source: ONNX Runtime contributed operators, com.microsoft.MatMulNBits.
    """
    k, n = matrix.integers.shape
    groups, size = matrix.scales.shape[0], matrix.group_size
    zero = 1 << (bits - 1)
    stored = np.full((groups * size, n), zero, dtype=np.uint8)
    stored[:k] = (matrix.integers.astype(np.int16) + zero).astype(np.uint8)
    per_byte = 8 // bits
    columns = stored.T.reshape(n, groups, size // per_byte, per_byte)
    shifts = np.arange(per_byte, dtype=np.uint8) * bits
    packed = np.bitwise_or.reduce(columns << shifts, axis=-1).astype(np.uint8)
    return packed, np.ascontiguousarray(matrix.scales.T)
