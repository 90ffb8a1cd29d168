"""Power that a GPU or CPU draws whatever runs: read where its board was, else from its die and its memory.

A reading counts if the board is `ready`: clocks up, nothing to do, as a running kernel finds it; so does the constant
of a regression. A board at `rest` keeps its memory clocked and its cores not; one in `sleep` neither. The rule for
boards without a reading: logic by area, DRAM by capacity. TDP plays no part.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache as remember
from statistics import fmean

from hwmodels.cited import cited_rows
from hwmodels.energy.checking import checked, positive
from hwmodels.energy.dram import dram_background_w
from hwmodels.energy.estimate import Estimate
from workloads.errors import SpecError, nearest
from workloads.operator import Num

__all__ = ["board_static_power", "static_power"]

COUNTS = ("ready", "constant")
"""States of tables/static_power.csv in which a reading is the constant power of a running board."""

LOGIC = {"gpu": ("A100 SXM4 40GB", "A100 SXM4 40GB"), "cpu": ("Xeon E5-2699 v3 (Haswell)", "xeon-e5-2699-v3")}
"""Chip of tables/static_power.csv and board of tables/boards.csv that logic is taken from, by kind of device."""


@checked
def static_power(kind: str, *, logic_mm2: Num, dram: str, capacity_bytes: Num) -> Estimate:
    """Estimate the constant power of a board that nobody measured [W].

    Logic draws what that of an A100 (GPUs) or an idle Haswell (CPUs) draws per area, at any node; DRAM what
    `dram_background_w` says of its capacity.

    Args:
        kind: "gpu" or "cpu".
        logic_mm2: Area of its dies [mm2].
        dram: Technology, as `dram_background_w` takes it.
        capacity_bytes: Of its memory.

    Returns:
        Parts "logic" and "memory". The band of logic is what readings of boards with HBM say of this rule.

    Raises:
        SpecError: Another kind, a memory whose idle power nobody published (GDDR), a size that is not above zero.

    Source: tables/static_power.csv, tables/boards.csv.

    Example:
        >>> power = static_power("gpu", logic_mm2=814, dram="HBM3", capacity_bytes=80e9)
        >>> print(f"{power.value:.1f} W, {power.parts['logic'].value:.1f} of it logic")
        88.3 W, 13.8 of it logic
    """
    return _sum(_logic(kind, logic_mm2), dram_background_w(dram, capacity_bytes), "logic by area and DRAM by capacity")


@checked
def board_static_power(device: str) -> Estimate:
    """Give the constant power of a device that ships with this package [W]: read on its board, or `static_power`.

    Of several readings the mean. Logic draws what the rule says, or what the source of the reading attributes to it;
    the memory, with its interfaces and whatever else is on the board, the rest.

    Args:
        device: Its name, of tables/boards.csv.

    Raises:
        SpecError: Its dies are in no table.

    Example:
        >>> power = board_static_power("h200-sxm")
        >>> print(f"{power.value:.0f} W, {power.parts['memory'].value / power.value:.2f} of it memory")
        118 W, 0.88 of it memory
    """
    anchors = {board for _, board in LOGIC.values()}
    boards = {row["device"]: row for row in cited_rows("boards") if row["device"] not in anchors}
    if device not in boards:
        raise SpecError(f"board_static_power: no die area of {device!r}; {nearest(device, boards)}")
    board, readings = boards[device], _readings(device)
    if not readings:
        return _by_rule(board)
    area = float(board["logic_mm2"])
    value = fmean(float(row["static_w"]) for row in readings)
    shares = [float(row["memory_share"]) for row in readings if row["memory_share"]]
    logic = value * (1 - fmean(shares)) if shares else float(_logic(board["kind"], area).value)
    source = "; ".join(row["source"] for row in readings)
    low, high = reading_band()
    parts = {
        name: Estimate(
            value=watts,
            unit="W",
            low=watts * low,
            high=watts * high,
            origin="derived",
            formula=how,
            source=source,
        )
        for name, watts, how in (
            ("logic", logic, "attributed by the source" if shares else f"{area:g} mm2 by the rule"),
            ("memory", value - logic, "the rest of the reading"),
        )
    }
    what = f"mean of {len(readings)} readings of the board ({readings[0]['state']})"
    return Estimate(
        value=value,
        unit="W",
        low=value * low,
        high=value * high,
        origin="anchor",
        formula=f"{what}; band: boards at rest, and readings over the rule",
        source=source,
        parts=parts,
    )


@remember
def reading_band() -> tuple[float, float]:
    """Give the band of a constant power as factors.

    Low: the least that a board at rest, its memory clocked, draws of what it draws when ready. High: the most that a
    reading of a board is above what the rest of the table says of it, other readings or the rule.
    """
    resting = {row["device"] for row in cited_rows("static_power") if row["state"] == "rest"}
    names = {name for name in resting if _readings(name)}
    low = min(_mean(name, ("rest",)) / _mean(name, COUNTS) for name in names)
    busy = {row["device"] for row in cited_rows("static_power") if row["state"] == "busy"}
    return low, max(*(_mean(name, ("busy",)) / _mean(name, COUNTS) for name in busy), *rule_ratios().values())


@remember
def rule_ratios() -> Mapping[str, float]:
    """Give reading over rule of every board with HBM but the one that the rule is from."""
    found = {}
    for row in cited_rows("boards"):
        readings = _readings(row["device"])
        if row["dram"].startswith("HBM") and readings and readings[0]["state"] == "ready":
            rule = _logic_w(row["kind"], float(row["logic_mm2"])) + _memory(row).value
            found[row["device"]] = _mean(row["device"], COUNTS) / float(rule)
    return found


def _by_rule(board: Mapping[str, str]) -> Estimate:
    return static_power(
        board["kind"],
        logic_mm2=float(board["logic_mm2"]),
        dram=board["dram"],
        capacity_bytes=float(board["memory_gb"]) * 1e9,
    )


def _memory(board: Mapping[str, str]) -> Estimate:
    return dram_background_w(board["dram"], float(board["memory_gb"]) * 1e9)


def _readings(device: str, states: tuple[str, ...] = COUNTS) -> list[Mapping[str, str]]:
    return [row for row in cited_rows("static_power") if row["device"] == device and row["state"] in states]


def _mean(device: str, states: tuple[str, ...]) -> float:
    return fmean(float(row["static_w"]) for row in _readings(device, states))


def _logic_row(kind: str) -> tuple[Mapping[str, str], Mapping[str, str]]:
    if kind not in LOGIC:
        raise SpecError(f"static_power: kind is {kind!r}; {nearest(kind, LOGIC)}")
    chip, board = LOGIC[kind]
    power = next(row for row in cited_rows("static_power") if row["chip"] == chip)
    return power, next(row for row in cited_rows("boards") if row["device"] == board)


def _logic_w(kind: str, area_mm2: Num) -> Num:
    power, board = _logic_row(kind)
    watts = float(power["static_w"]) * (1 - float(power["memory_share"] or 0))
    return watts / float(board["logic_mm2"]) * area_mm2


def _logic(kind: str, area_mm2: Num) -> Estimate:
    area = positive(area_mm2, "logic_mm2", "static_power")
    power, board = _logic_row(kind)
    value, ratios = _logic_w(kind, area), rule_ratios().values()
    return Estimate(
        value=value,
        unit="W",
        low=value * min(ratios),
        high=value * max(ratios),
        origin="derived",
        formula=f"logic of {power['chip']}, {board['logic_mm2']} mm2, by area; band: readings over the rule",
        source=f"{power['source']}; area: {board['source']}",
    )


def _sum(logic: Estimate, memory: Estimate, formula: str) -> Estimate:
    return Estimate(
        value=logic.value + memory.value,
        unit="W",
        low=logic.low + memory.low,
        high=logic.high + memory.high,
        origin="derived",
        formula=formula,
        source=f"{logic.source}; {memory.source}",
        parts={"logic": logic, "memory": memory},
    )
