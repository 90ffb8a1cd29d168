"""What designs were predicted to take on this machine, beside what they took."""

from __future__ import annotations

from collections.abc import Mapping

from dse.choosing import LOCAL, measured_gain, warnings_of
from dse.measure.timing import Timing
from dse.numbers import gain, si
from dse.pipeline import Optimized
from dse.report.tables import markdown_table

__all__ = ["gain_text", "timing_section"]


def gain_text(found: Optimized, timings: Mapping[str, Timing], device: str) -> str:
    """Write the measured gain of a device's chosen design; "-" for devices that are not this machine."""
    name = found.chosen[device]
    return f"{measured_gain(found, timings, name):.2f}x" if device == LOCAL and name in timings else "-"


def timing_section(found: Optimized, timings: Mapping[str, Timing]) -> str:
    """Write the section on the speed of the timed designs.

    Args:
        found: The result.
        timings: Design name to its timing, the uncompressed model's among them; none: nothing was timed.
    """
    if not timings:
        return "## Speed on this machine\n\nNot timed."
    base = timings[found.designs[0].name]
    rows = [_row(found, timings, name) for name in timings]
    header = ["design", "CPU time (measured)", "latency (predicted)", "error", "gain (measured)", "gain (predicted)"]
    note = "" if LOCAL in found.fronts else " No prediction: add the device `local` for one."
    if LOCAL in found.chosen and found.objective != "size_bytes":
        note = " The design for `local` is one of these that was not measured slower than the original."
    warnings = "".join(f"\n\n{line}." for line in warnings_of(found, timings))
    return (
        "## Speed on this machine\n\nONNX Runtime, one thread, CPU time of one execution, runs interleaved; median of "
        f"{base.runs}; gains from neighbouring runs.{note}\n\n" + markdown_table(header, rows) + warnings
    )


def _row(found: Optimized, timings: Mapping[str, Timing], name: str) -> list[str]:
    timing = timings[name]
    shown = f"{name} **chosen**" if found.chosen.get(LOCAL) == name else name
    gained = f"{measured_gain(found, timings, name):.2f}x"
    if LOCAL not in found.fronts:
        return [shown, si(timing.cpu_s, "s"), "-", "-", gained, "-"]
    before, predicted = (found.design(item).columns[LOCAL]["latency_s"] for item in (found.designs[0].name, name))
    error = f"{predicted / timing.cpu_s - 1:+.0%}"
    return [shown, si(timing.cpu_s, "s"), si(predicted, "s"), error, gained, gain(before, predicted)]
