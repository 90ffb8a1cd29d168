"""A GPU that no fit saw, and what a number of measured kernels brings, for `reports.kernels`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from hwmodels.kernels.families import FAMILIES
from hwmodels.kernels.fitting import Rows, fit_rows
from hwmodels.kernels.machine import machine
from hwmodels.kernels.tables import Group, Key
from hwmodels.kernels.transfer import Belief, Member, choose_kernels, outlook, transferred

NUMBERS = (0, 3, 5, 10, 20, 50)
CANDIDATES = 1500
TARGETS = ("cuda_graph_or_event_loop", "profiler_kernel_time")


@dataclass(frozen=True, slots=True)
class Curve:
    """Errors on one device against the number of kernels measured there, in percent.

    Attributes:
        key: Device and kernel.
        mean: Mean absolute error by number.
        median: Median of it.
        inside: Share of rows in the 80 % band.
    """

    key: Key
    mean: tuple[float, ...]
    median: tuple[float, ...]
    inside: tuple[float, ...]


def sixteen_bit(found: list[Group]) -> list[Group]:
    """Keep the groups whose formats are of 16 bit: what several devices were measured with."""
    return [item for item in found if {item.key.a_format, item.key.w_format} <= {"bf16", "fp16"}]


def curves(found: list[Group]) -> list[Curve]:
    """Leave each device out: predict it from the others' calibrations, and after a number of its kernels.

    Args:
        found: Groups of one family and of 16-bit formats; those timed in a loop or by a profiler are targets.
    """
    members: dict[Key, Member] = {}
    for group in (item for item in found if len(item.measured) >= 100):
        rows: Rows = [(group.record, machine(group.key.device), group.measured)]
        members[group.key] = fit_rows(FAMILIES[group.key.family], rows, group.key.kernel)
    targets = [item for item in found if item.key in members and item.key.timing in TARGETS]
    return [curve(item, [fit for key, fit in members.items() if key.device != item.key.device]) for item in targets]


def curve(group: Group, members: list[Member]) -> Curve:
    """Judge one device by the calibrations of others and 0 to 50 of its own kernels."""
    family, device, kernel = FAMILIES[group.key.family], machine(group.key.device), group.key.kernel
    some = np.random.default_rng(1).permutation(len(group.measured))[:CANDIDATES]
    thought = outlook(family, members, group.record, device, kernel)
    order = some[choose_kernels(thought.part(some), Belief(), max(NUMBERS))]
    found = []
    for number in NUMBERS:
        chosen = order[:number]
        rest = np.setdiff1d(np.arange(len(group.measured)), chosen)
        time, half = transferred(thought.part(rest), thought.part(chosen), group.measured[chosen])
        ratio = np.log(group.measured[rest] / time)
        off = 100 * np.abs(time / group.measured[rest] - 1)
        found.append((float(off.mean()), float(np.median(off)), float(100 * (np.abs(ratio) <= half).mean())))
    mean, median, inside = (tuple(column) for column in zip(*found, strict=True))
    return Curve(group.key, mean, median, inside)


def draw(found: dict[str, list[Curve]], path: Path) -> None:
    """Draw mean error against the number of measured kernels, one panel a family."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(1, len(found), figsize=(4.2 * len(found), 3.6), sharey=True, layout="constrained")
    places = np.arange(len(NUMBERS))
    for axis, (name, items) in zip(np.atleast_1d(axes), found.items(), strict=True):
        for item in items:
            kind = "" if item.key.timing == TARGETS[0] else " (profiler)"
            axis.plot(places, item.mean, marker="o", markersize=4, label=item.key.device + kind)
        axis.set(title=name.replace("_", " "), xlabel="kernels measured on the device", xticks=places)
        axis.set_xticklabels(map(str, NUMBERS))
        axis.set_yscale("log")
        axis.set_yticks([5, 10, 20, 50, 100], ["5", "10", "20", "50", "100"])
        axis.grid(alpha=0.3)
        axis.legend(fontsize=7)
    np.atleast_1d(axes)[0].set_ylabel("mean absolute error of the others [%]")
    figure.savefig(path, dpi=110)
    plt.close(figure)
