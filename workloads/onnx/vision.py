"""Handlers of sampling between pixels and of regions of interest."""

from __future__ import annotations

import math

from workloads.onnx.builder import Builder, Node, index_names, plain
from workloads.operator import axis

__all__ = ["affine_grid", "crop_and_resize", "grid_sample", "max_roi_pool", "roi_align"]

_TAPS = {"nearest": 1, "linear": 2, "bilinear": 2, "cubic": 4, "bicubic": 4}
"""Pixels per axis that one sample reads."""

_ADAPTIVE = 2
"""RoiAlign with sampling_ratio 0 takes as many samples as the region's size asks for; counted as 2 per axis, what
detection models set (He et al., Mask R-CNN, 2017: four samples per bin)."""


def grid_sample(node: Node, builder: Builder) -> None:
    """GridSample: each value a weighted sum of its neighbours: 2, or 4, per axis; nearest copies."""
    x, grid = builder.value(node, 0), builder.value(node, 1)
    rank = x.rank - 2
    taps = _TAPS[node.text("mode", "linear")] ** rank
    output = builder.put(node, (*x.shape[:2], *grid.shape[1:-1]), x.code)
    names = index_names(output.rank)
    places = math.prod(output.shape[2:])
    touched = min(1.0, taps * places / max(1, math.prod(x.shape[2:])))
    read = [*map(plain, names[:2]), *(axis(extent=extent) for extent in x.shape[2:])]
    where = [plain(names[0]), *map(plain, names[2:]), axis(extent=rank)]
    inputs = [builder.tensor(x, read, touched), builder.tensor(grid, where)]
    written = [builder.tensor(output, [plain(name) for name in names])]
    flops = 0 if taps == 1 else 2 * taps
    builder.emit(node, "gather", dict(zip(names, output.shape, strict=True)), inputs, written, flops, code=x.code)


def affine_grid(node: Node, builder: Builder) -> None:
    """AffineGrid: a small matrix times the coordinates of every pixel."""
    theta = builder.value(node, 0)
    size = [int(extent) for extent in builder.known(node, 1, "size").ravel()]
    rank = len(size) - 2
    output = builder.put(node, (size[0], *size[2:], rank), theta.code)
    places = {f"m{i}": extent for i, extent in enumerate(size[2:])}
    dims = {"b0": size[0]} | places | {"n": rank, "k": rank + 1}
    inputs = [builder.tensor(theta, (plain("b0"), plain("n"), plain("k")))]
    written = [builder.tensor(output, (plain("b0"), *map(plain, places), plain("n")))]
    builder.emit(node, "matmul", dims, inputs, written, 2, code=theta.code)


def roi_align(node: Node, builder: Builder) -> None:
    """RoiAlign: bilinear samples in every bin of every region, averaged or compared.

    Source: He et al., Mask R-CNN, 2017.
    """
    x, rois, batch = (builder.value(node, index) for index in range(3))
    size = (node.int("output_height", 1), node.int("output_width", 1))
    samples = (node.int("sampling_ratio") or _ADAPTIVE) ** 2
    output = builder.put(node, (rois.shape[0], x.shape[1], *size), x.code)
    dims = {"i0": rois.shape[0], "i1": x.shape[1], "i2": size[0], "i3": size[1]}
    touched = min(1.0, rois.shape[0] * math.prod(size) * samples * 4 / max(1, x.shape[0] * math.prod(x.shape[2:])))
    read = (axis(extent=x.shape[0]), plain("i1"), axis(extent=x.shape[2]), axis(extent=x.shape[3]))
    inputs = [builder.tensor(x, read, touched), builder.tensor(rois, (plain("i0"), axis(extent=rois.shape[1])))]
    inputs.append(builder.tensor(batch, (plain("i0"),)))
    written = [builder.tensor(output, tuple(map(plain, dims)))]
    builder.emit(node, "pool", dims, inputs, written, samples * (2 * 4 + 1), code=x.code)


def max_roi_pool(node: Node, builder: Builder) -> None:
    """MaxRoiPool: how large regions are stands in data; each counts as the whole image: an upper bound."""
    x, rois = builder.value(node, 0), builder.value(node, 1)
    size = node.ints("pooled_shape")
    output = builder.put(node, (rois.shape[0], x.shape[1], *size), x.code)
    dims = {"i0": rois.shape[0], "i1": x.shape[1], "i2": size[0], "i3": size[1]}
    read = (axis(extent=x.shape[0]), plain("i1"), axis(extent=x.shape[2]), axis(extent=x.shape[3]))
    inputs = [builder.tensor(x, read), builder.tensor(rois, (plain("i0"), axis(extent=rois.shape[1])))]
    written = [builder.tensor(output, tuple(map(plain, dims)))]
    flops = math.prod(x.shape[2:]) / max(1, math.prod(size))
    builder.emit(node, "pool", dims, inputs, written, flops, code=x.code)


def crop_and_resize(node: Node, builder: Builder) -> None:
    """CropAndResize: regions sampled to one size that is known before run time."""
    x, rois, batch = (builder.value(node, index) for index in range(3))
    size = [int(extent) for extent in builder.known(node, 3, "crop size").ravel()]
    taps = _TAPS[node.text("mode", "bilinear")] ** 2
    output = builder.put(node, (rois.shape[0], x.shape[1], *size), x.code)
    dims = {"i0": rois.shape[0], "i1": x.shape[1], "i2": size[0], "i3": size[1]}
    touched = min(1.0, rois.shape[0] * math.prod(size) * taps / max(1, x.shape[0] * math.prod(x.shape[2:])))
    read = (axis(extent=x.shape[0]), plain("i1"), axis(extent=x.shape[2]), axis(extent=x.shape[3]))
    inputs = [builder.tensor(x, read, touched), builder.tensor(rois, (plain("i0"), axis(extent=rois.shape[1])))]
    inputs.append(builder.tensor(batch, (plain("i0"),)))
    written = [builder.tensor(output, tuple(map(plain, dims)))]
    builder.emit(node, "gather", dims, inputs, written, 0 if taps == 1 else 2 * taps, code=x.code)
