"""A GPU that no fit saw, and what a number of measured kernels brings, for `reports.kernels`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from hwmodels.kernels.calibration import calibrations
from hwmodels.kernels.families import FAMILIES
from hwmodels.kernels.machine import machine
from hwmodels.kernels.predict import WELL_KNOWN
from hwmodels.kernels.records import Places
from hwmodels.kernels.tables import Group, Key
from hwmodels.kernels.transfer import Belief, Member, Outlook, choose_kernels, outlook, transferred

NUMBERS = (0, 3, 5, 10, 20, 50)
CANDIDATES = 700
DRAWS = 5
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
    """Leave each device out: predict it from the others' shipped calibrations, and after a number of its kernels.

    Args:
        found: Groups of one family and of 16-bit formats; those timed in a loop or by a profiler are targets.
    """
    keys = {item.key for item in found if len(item.measured) >= WELL_KNOWN}
    shipped = [item for item in calibrations(found[0].key.family) if item.key in keys]
    targets = [item for item in found if item.key in keys and item.key.timing in TARGETS]
    return [
        curve(group, [(item.coefficients, item.surface) for item in shipped if item.key.device != group.key.device])
        for group in targets
    ]


def curve(group: Group, members: list[Member]) -> Curve:
    """Judge one device by the calibrations of others and 0 to 50 of its own kernels, over draws of candidates."""
    family, device, kernel = FAMILIES[group.key.family], machine(group.key.device), group.key.kernel
    thought = outlook(family, members, group.record, device, kernel)
    found = np.zeros((len(NUMBERS), 3))
    for seed in range(DRAWS):
        some = np.random.default_rng(seed).permutation(len(group.measured))[:CANDIDATES]
        order = some[choose_kernels(thought.part(some), Belief(), max(NUMBERS))]
        found += [_errors(group, thought, order[:number]) for number in NUMBERS]
    mean, median, inside = (tuple(column.tolist()) for column in found.T / DRAWS)
    return Curve(group.key, mean, median, inside)


def _errors(group: Group, thought: Outlook, chosen: Places) -> tuple[float, float, float]:
    rest = np.setdiff1d(np.arange(len(group.measured)), chosen)
    time, half = transferred(thought.part(rest), thought.part(chosen), group.measured[chosen])
    off = 100 * np.abs(time / group.measured[rest] - 1)
    inside = np.abs(np.log(group.measured[rest] / time)) <= half
    return float(off.mean()), float(np.median(off)), float(100 * inside.mean())


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
