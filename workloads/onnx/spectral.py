"""Handlers of Fourier transforms, counted as fast ones: 5 n log2 n FLOPs for n complex points, half for real ones.

Source: Cooley and Tukey 1965; the count is the convention of Frigo and Johnson, The Design and Implementation of FFTW3,
2005.
"""

from __future__ import annotations

import math

from workloads.onnx.builder import Builder, Node, Value, index_names, plain
from workloads.operator import Axis, axis

__all__ = ["dft", "irfft", "rfft", "stft"]


def _flops(points: int, real: bool) -> float:
    """Give the FLOPs per point of a transform."""
    return (2.5 if real else 5.0) * math.log2(max(2, points))


def dft(node: Node, builder: Builder) -> None:
    """DFT 17 (axis as attribute) and 20 (as input): of real [.., 1] or complex [.., 2] values, perhaps one-sided."""
    x = builder.value(node, 0)
    given = node.int("axis", 1 if builder.opset < 20 else -2)
    if builder.optional(node, 2) is not None:
        given = int(builder.known(node, 2, "axis").ravel()[0])
    position = builder.position(node, given, x.rank)
    length = x.shape[position]
    onesided, inverse = bool(node.int("onesided")), bool(node.int("inverse"))
    if builder.optional(node, 1) is not None:
        length = int(builder.known(node, 1, "length").ravel()[0])
    elif onesided and inverse:
        length = 2 * (x.shape[position] - 1)
    bins = length // 2 + 1 if onesided and not inverse else length
    real = onesided and inverse
    shape = [bins if i == position else extent for i, extent in enumerate(x.shape[:-1])]
    output = builder.put(node, (*shape, 1 if real else 2), x.code)
    _emit(node, builder, x, output, position, length, real or x.shape[-1] == 1)


def rfft(node: Node, builder: Builder) -> None:
    """Rfft of com.microsoft: of the last axis, one-sided, real and imaginary part in a new axis."""
    x = builder.value(node, 0)
    output = builder.put(node, (*x.shape[:-1], x.shape[-1] // 2 + 1, 2), x.code)
    _emit(node, builder, x, output, x.rank - 1, x.shape[-1], real=True)


def irfft(node: Node, builder: Builder) -> None:
    """Irfft of com.microsoft: back to real values."""
    x = builder.value(node, 0)
    length = 2 * (x.shape[-2] - 1)
    output = builder.put(node, (*x.shape[:-2], length), x.code)
    _emit(node, builder, x, output, x.rank - 2, length, real=True)


def _emit(node: Node, builder: Builder, x: Value, output: Value, position: int, length: int, real: bool) -> None:
    """Emit a transform along one axis; shorter inputs are padded, longer ones cut; the parts of numbers come last."""
    names = index_names(max(x.rank, output.rank))
    shared = [i for i in range(max(x.rank, output.rank) - 1) if i != position]
    dims = {names[i]: x.shape[i] for i in shared} | {"n": length}

    def axes(value: Value) -> list[Axis]:
        result = [plain(names[i]) if i in shared else axis(extent=extent) for i, extent in enumerate(value.shape)]
        result[position] = axis("n", extent=value.shape[position])
        return result

    inputs, outputs = [builder.tensor(x, axes(x))], [builder.tensor(output, axes(output))]
    builder.emit(node, "reduce", dims, inputs, outputs, _flops(length, real), code=x.code)


def stft(node: Node, builder: Builder) -> None:
    """STFT: a transform of every frame, after the product with the window.

    Source: ONNX operator specification, STFT 17 (number of frames and bins).
    """
    x, window = builder.value(node, 0), builder.optional(node, 2)
    step = int(builder.known(node, 1, "frame step").ravel()[0])
    if builder.optional(node, 3) is not None:
        length = int(builder.known(node, 3, "frame length").ravel()[0])
    else:
        length = window.shape[0] if window is not None else x.shape[1]
    frames = (x.shape[1] - length) // step + 1
    bins = length // 2 + 1 if node.int("onesided", 1) else length
    output = builder.put(node, (x.shape[0], frames, bins, 2), x.code)
    complex_values = x.rank == 3 and x.shape[2] == 2
    read = [plain("b0"), axis((step, "t"), "n", extent=x.shape[1]), *(axis(extent=e) for e in x.shape[2:])]
    inputs = [builder.tensor(x, read)]
    inputs += [] if window is None else [builder.tensor(window, (plain("n"),))]
    written = (plain("b0"), plain("t"), axis("n", extent=bins), axis(extent=2))
    flops = _flops(length, not complex_values) + (window is not None)
    dims = {"b0": x.shape[0], "t": frames, "n": length}
    builder.emit(node, "reduce", dims, inputs, [builder.tensor(output, written)], flops, code=x.code)
