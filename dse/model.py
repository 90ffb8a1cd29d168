"""The standard model of a design point: compress the workload, turn the device's knobs, cost it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, ClassVar

import numpy as np

import hwmodels
from dse.digests import digest_of
from dse.space import Space
from workloads import compress
from workloads.errors import SpaceError
from workloads.workload import Workload

__all__ = ["KNOBS", "StandardModel", "device_of", "standard_model"]

KNOBS: dict[str, str] = {
    "activation_bits": "8: dynamic W8A8; 16 and more: weight-only (structural)",
    "bandwidth_scale": "DRAM bandwidth relative to the device's",
    "batch": "batch size (structural: one workload per size)",
    "clock_scale": "clock relative to the device's",
    "device": "device name or TOML path (structural)",
    "gpus": "with timing: tensor parallelism over so many GPUs (structural)",
    "granularity": "tensor, channel or group (structural)",
    "group_size": "rows per scale with granularity group (structural)",
    "head_density": "fraction of the attention heads that stays, for all layers or per layer",
    "neuron_density": "fraction of the feed-forward neurons that stays, for all layers or per layer",
    "timing": "kernel, graph or eager: times of calibrated kernels instead of the roofline's (structural)",
    "weight_bits": "2 to 8, or 16 and more for untouched; for all layers or per layer",
    "year": "year whose hardware the device is projected to by the trends of the memory wall (structural)",
}
"""What the standard model reads from a design point."""

EIGHTY = 1.2816
"""Standard deviations on both sides that hold 80 % of a normal distribution."""

LEAST_FACTOR, MOST_FACTOR = 1e-6, 1e6
"""Of clock and bandwidth: beyond any device, and far from where times overflow."""

NAMED = ("device", "granularity", "timing")
"""Knobs whose values are names; the others take numbers."""


@lru_cache(maxsize=64)
def device_of(name: str) -> hwmodels.RooflineDevice:
    """Load a device by name or TOML path; `local` is this machine, as it was measured."""
    if name == "local":
        from dse.measure.local import load_local

        return load_local()
    return hwmodels.load(name, kind=hwmodels.RooflineDevice)


@lru_cache(maxsize=256)
def _projected(name: str, year: float, errors: float) -> hwmodels.RooflineDevice:
    return hwmodels.project(device_of(name), year, errors=errors)


@dataclass(frozen=True, slots=True, eq=False)
class StandardModel:
    """A function from design points to columns; it can be pickled.

    Attributes:
        workloads: Batch size to workload; one entry where batch is no knob.
        device: Device for spaces without a device knob.
        estimates: Further columns: name to a function of the design point.
        structural: Knobs of which a batch must share one value, numbers though they are.
    """

    structural: ClassVar[tuple[str, ...]] = ("activation_bits", "batch", "gpus", "group_size", "year")

    workloads: Mapping[int, Workload]
    device: str = "h100-sxm"
    estimates: Mapping[str, Callable[[Any], Any]] = field(default_factory=dict)

    def techniques(self, point: Any) -> list[compress.Technique]:
        """Give the techniques of a design point, in the order of application."""
        found: list[compress.Technique] = []
        head, neuron = _knob(point, "head_density", None), _knob(point, "neuron_density", None)
        bits = _knob(point, "weight_bits", None)
        activation = _whole(point, "activation_bits", 32)
        if head is not None:
            found.append(compress.PruneHeads(density=head))
        if neuron is not None:
            found.append(compress.PruneNeurons(density=neuron))
        if bits is None and activation == 8:
            bits = 8
        quantize = compress.Quantize(  # made in any case: it checks its parameters
            weight_bits=compress.KEEP_BITS if bits is None else bits,
            granularity=_knob(point, "granularity", "channel"),
            group_size=_whole(point, "group_size", 32),
            activation_bits=activation,
        )
        return found if bits is None else [*found, quantize]

    def __call__(self, point: Any) -> dict[str, Any]:
        """Cost a design point or a batch of them.

        Returns:
            Columns latency_s, energy_j, flops, dram_bytes, peak_bytes, size_bytes (packed weights) and the further
            estimates. What does not fit the device's memory has infinite latency and energy. With the knob `year` also
            latency_low_s and latency_high_s: with every trend one standard error of its fit faster, and slower; with
            the knob `timing` the ends of the 80 % band of calibrated kernels.
        """
        work = self._workload(point)
        small = compress.cost(work, *self.techniques(point))
        cost = hwmodels.evaluate(small, self._device(point), enforce_capacity=True)
        columns = {
            "latency_s": cost.latency_s,
            "energy_j": cost.energy_j,
            "flops": cost.flops,
            "dram_bytes": cost.dram_bytes,
            "peak_bytes": cost.peak_bytes,
            "size_bytes": cost.weight_bytes,
        }
        if "timing" in point:
            columns |= _band(cost)
        if "year" in point:
            for name, errors in (("latency_low_s", 1.0), ("latency_high_s", -1.0)):
                moved = self._device(point, errors)
                columns[name] = hwmodels.evaluate(small, moved, enforce_capacity=True).latency_s
        return columns | {name: estimate(point) for name, estimate in self.estimates.items()}

    def _device(self, point: Any, errors: float = 0.0) -> hwmodels.RooflineDevice | hwmodels.KernelDevice:
        """Give the device of a point, with its rates of growth moved by standard errors where it is projected."""
        name = _knob(point, "device", self.device)
        year, timing = _one(_knob(point, "year", None)), _knob(point, "timing", "")
        if timing and year is not None:
            raise SpaceError("knobs 'year' and 'timing': no kernels of another year were measured; leave one out")
        if not timing and "gpus" in point:
            raise SpaceError("knob 'gpus': collectives have times with calibrated kernels only; add timing = ['graph']")
        device: hwmodels.RooflineDevice | hwmodels.KernelDevice
        device = device_of(name) if year is None else _projected(name, float(year), errors)
        if timing:
            device = hwmodels.calibrated(device_of(name), timing=timing, gpus=_whole(point, "gpus", 1))
        scales = {name: _factor(point, name) for name in ("clock_scale", "bandwidth_scale")}
        if any(np.any(np.asarray(scale) != 1.0) for scale in scales.values()):
            device = device.at(**scales)
        return device

    def describe(self, space: Space) -> dict[str, Any]:
        """Give what the columns follow from and where it comes from, for `run.toml`: digests and citations."""
        named = space.knobs["device"].values if "device" in space.knobs else (self.device,)
        devices = {name: device_of(name) for name in named}
        trends = {"trends": {"digest": digest_of(hwmodels.refit())}} if "year" in space.knobs else {}
        return trends | {
            "workloads": {str(batch): work.digest() for batch, work in self.workloads.items()},
            "devices": {name: digest_of(device) for name, device in devices.items()},
            "estimates": {name: digest_of(estimate) for name, estimate in self.estimates.items()},
            "sources": {
                name: {group: citation.source for group, citation in device.sources.items()}
                for name, device in devices.items()
            },
        }

    def _workload(self, point: Any) -> Workload:
        if "batch" not in point and len(self.workloads) == 1:
            return next(iter(self.workloads.values()))
        batch = _whole(point, "batch", None)
        if batch not in self.workloads:
            known = ", ".join(map(str, self.workloads))
            raise SpaceError(
                f"no workload for batch {batch}; loaded: {known}. Give standard_model a mapping "
                "of batch size to workload"
            )
        return self.workloads[batch]


def _band(cost: hwmodels.Cost) -> dict[str, Any]:
    """Give the ends of the 80 % band of a latency."""
    spread = np.sqrt(np.square(cost.sd_independent) + np.square(cost.sd_shared))
    factor = np.exp(EIGHTY * spread / np.where(np.isfinite(cost.latency_s), cost.latency_s, np.inf))
    return {"latency_low_s": cost.latency_s / factor, "latency_high_s": cost.latency_s * factor}


def standard_model(workload: Workload | Mapping[int, Workload], device: str = "h100-sxm") -> StandardModel:
    """Make the standard model of a workload (or of one workload per batch size).

    Example:
        >>> from workloads.onnx import load_onnx
        >>> from workloads.zoo import embedded_model
        >>> model = standard_model(load_onnx(embedded_model("vit-mnist"), batch=1))
        >>> sorted(model.workloads)
        [1]
    """
    if isinstance(workload, Workload):
        return StandardModel({1: workload}, device)
    return StandardModel(dict(workload), device)


def _knob(point: Any, name: str, default: Any) -> Any:
    """Read a knob that a point may not have.

    Raises:
        SpaceError: It is a name where the standard model takes numbers, or the other way round.
    """
    if name not in point:
        return default
    value = getattr(point, name)
    if isinstance(value, str) != (name in NAMED):
        kind = "names" if name in NAMED else "numbers"
        raise SpaceError(f"knob {name!r}: found {np.ravel(value)[0]!r}; it takes {kind}: {KNOBS[name]}")
    return value


def _factor(point: Any, name: str) -> Any:
    """Read a factor on a device's clock or bandwidth; 1 where the point has none.

    Raises:
        SpaceError: It is not above zero, or beyond any device, for some point.
    """
    factor = _knob(point, name, 1.0)
    inside = (np.asarray(factor) >= LEAST_FACTOR) & (np.asarray(factor) <= MOST_FACTOR)
    wrong = np.extract(~inside, factor)
    if wrong.size:
        raise SpaceError(
            f"knob {name!r}: {wrong[0]:g} is no factor ({KNOBS[name]}); factors are above zero, from {LEAST_FACTOR:g} "
            f"to {MOST_FACTOR:g}, and 1 leaves the device as it is"
        )
    return factor


def _one(value: Any) -> Any:
    """Give the one value of a structural knob, which the whole batch shares."""
    if not isinstance(value, np.ndarray):
        return value
    distinct = np.unique(value)
    if distinct.size != 1:
        raise SpaceError(f"a structural knob has several values in one batch: {distinct.tolist()}")
    return distinct[0]


def _whole(point: Any, name: str, default: int | None) -> Any:
    """Read a structural whole number (one value for the whole batch) as an int.

    Raises:
        SpaceError: It is no whole number.
    """
    value = _one(_knob(point, name, default))
    if value is None or float(value).is_integer():
        return None if value is None else int(value)
    raise SpaceError(f"knob {name!r}: {value:g} is not a whole number; {KNOBS[name]}")
