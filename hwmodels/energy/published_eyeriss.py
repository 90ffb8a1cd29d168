"""Eyeriss on the convolutions of AlexNet: where the energy of a MAC goes, for the checks of `published`.

The mappings are row-stationary: rows of the filter down the array, rows of the output across, a row of the filter and
of the input and the sums of several filters in a PE. Their factors are the best found by walking through those that
fit (with the energies of the device file), so they are not the chip's own.

Source: Chen, Emer, Sze, Eyeriss: A Spatial Architecture for Energy-Efficient Dataflow, ISCA 2016, sections V and VII.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from hwmodels.mapping import evaluate
from hwmodels.mapping.cases import conv_operator
from hwmodels.mapping.records import Mapping as LoopNest
from hwmodels.mapping.records import from_factors
from hwmodels.spatial import Accelerator
from workloads.operator import Operator

__all__ = ["LAYERS", "Layer", "energy_of_alexnet"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Layer:
    """A convolution of AlexNet, one group of it, and the factors of its mapping.

    Attributes:
        groups: Groups of the layer, all alike.
        filter: Rows and columns of the filter.
        output: Rows and columns of the output.
        channels: Input channels of a group.
        filters: Output channels of a group.
        stride: Of the window.
        pad: Of the input.
        columns: Rows of the output across the array.
        across: Groups of filters across the array.
        down: Groups of channels down the array.
        channels_in_pe: Channels that a PE adds up.
        batch_in_glb: Images whose sums the buffer holds.
        filters_in_glb: Groups of filters whose sums the buffer holds.
    """

    groups: int = 1
    filter: int
    output: int
    channels: int
    filters: int
    stride: int = 1
    pad: int = 0
    columns: int
    across: int = 1
    down: int = 1
    channels_in_pe: int = 1
    batch_in_glb: int = 1
    filters_in_glb: int = 1


BATCH = 4
FILTERS_IN_PE = 16

LAYERS: Mapping[str, Layer] = {
    "CONV1": Layer(filter=11, output=55, channels=3, filters=96, stride=4, columns=7, across=2),
    "CONV2": Layer(groups=2, filter=5, output=27, channels=48, filters=128, pad=2, columns=14, down=2,
                   channels_in_pe=2, filters_in_glb=2),
    "CONV3": Layer(filter=3, output=13, channels=256, filters=384, pad=1, columns=13, down=2, channels_in_pe=4,
                   batch_in_glb=4),
    "CONV4": Layer(groups=2, filter=3, output=13, channels=192, filters=192, pad=1, columns=13, down=2,
                   channels_in_pe=4, batch_in_glb=4),
    "CONV5": Layer(groups=2, filter=3, output=13, channels=192, filters=128, pad=1, columns=13, down=2,
                   channels_in_pe=4, batch_in_glb=4),
}  # fmt: skip


def energy_of_alexnet(eyeriss: Accelerator) -> dict[str, float]:
    """Give the mean energy of a MAC by component over the five layers [J]: every level, and "MAC".

    Args:
        eyeriss: The device, with whatever energies.

    Example:
        >>> import hwmodels
        >>> found = energy_of_alexnet(hwmodels.load("eyeriss"))
        >>> round(found["MAC"] * 1e12, 6), found["PsumSpad"] > found["GLB"]
        (1.0, True)
    """
    joules: dict[str, float] = {"MAC": 0.0, **{level.name: 0.0 for level in eyeriss.levels}}
    macs = 0.0
    for name, layer in LAYERS.items():
        operator = _operator(name, layer)
        cost = evaluate(operator, eyeriss, _row_stationary(layer))
        cost.require_fit()
        times = layer.groups
        macs += times * cost.mac_j / eyeriss.mac_j
        joules["MAC"] += times * cost.mac_j
        for place, level in enumerate(eyeriss.levels):
            joules[level.name] += times * float(cost.level_j[..., place, :].sum())
    return {name: energy / macs for name, energy in joules.items()}


def _operator(name: str, layer: Layer) -> Operator:
    found = conv_operator(name, _sizes(layer), layer.stride, layer.pad)
    inputs, outputs = (tuple(replace(tensor, bits=16) for tensor in side) for side in (found.inputs, found.outputs))
    return replace(found, inputs=inputs, outputs=outputs)


def _sizes(layer: Layer) -> dict[str, int]:
    return {"R": layer.filter, "S": layer.filter, "P": layer.output, "Q": layer.output, "C": layer.channels,
            "K": layer.filters, "N": BATCH}  # fmt: skip


def _row_stationary(layer: Layer) -> LoopNest:
    outside = {
        "N": BATCH // layer.batch_in_glb,
        "P": -(-layer.output // layer.columns),
        "K": -(-layer.filters // (FILTERS_IN_PE * layer.across * layer.filters_in_glb)),
        "C": -(-layer.channels // (layer.channels_in_pe * layer.down)),
    }
    in_glb = {"K": layer.filters_in_glb, "N": layer.batch_in_glb, "Q": layer.output}
    across = {"P": layer.columns, "K": layer.across}
    down = {"R": layer.filter, "C": layer.down}
    in_pe = {"C": layer.channels_in_pe, "K": FILTERS_IN_PE, "S": layer.filter}
    return from_factors(
        [
            ("DRAM", ("W", "I", "O"), _longer(outside), {}),
            ("GLB", ("I", "O"), _longer(in_glb), {"X": _longer(across), "Y": _longer(down)}),
            ("IfmapSpad", ("I",), [], {}),
            ("WeightSpad", ("W",), [], {}),
            ("PsumSpad", ("O",), _longer(in_pe), {}),
        ],
        _sizes(layer),
    )


def _longer(factors: Mapping[str, int]) -> list[tuple[str, int]]:
    return [(dim, factor) for dim, factor in factors.items() if factor > 1]
