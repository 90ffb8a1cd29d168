"""Errors of the SRAM model and of two simple laws: holes in the table, and points that it never saw."""

from __future__ import annotations

import csv
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hwmodels.energy.sram import Quality, sram
from hwmodels.energy.sram.leave_out import COMPARED, folds, missed, square_root_law
from hwmodels.energy.sram.stored import NODES, block

Floats = NDArray[np.float64]
Pair = tuple[int, int]
Law = Callable[[Mapping[Pair, Floats], Floats, Floats], Floats]
Row = Mapping[str, str]

GOLDEN = Path(__file__).resolve().parent.parent / "tests" / "golden" / "reference" / "energy"
DEVICES = ("itrs-hp", "itrs-lstp")
PRINTED = {"read_j": ("read_pj", 1e-12), "write_j": ("write_pj", 1e-12), "leakage_w": ("leak_mw_per_bank", 1e-3),
           "access_s": ("access_ns", 1e-9), "cycle_s": ("cycle_ns", 1e-9), "area_mm2": ("area_mm2", 1.0)}  # fmt: skip
MODELS = ("ours", "square-root law", "power law")


@dataclass(frozen=True, slots=True)
class Split:
    """Errors of the models on what they did not see.

    Attributes:
        name: What was left out.
        errors: By model: relative, without sign, shape (n_points, COMPARED).
    """

    name: str
    errors: Mapping[str, Floats]


@cache
def rows(name: str) -> tuple[Row, ...]:
    """Read CACTI's output: a table of the reference set."""
    with (GOLDEN / f"{name}.csv").open(encoding="utf-8", newline="") as file:
        return tuple(csv.DictReader(file))


@cache
def truth(device: str, node_nm: float) -> Mapping[Pair, Floats]:
    """Give what CACTI chose at every pair of width and depth: the values of COMPARED."""
    known = [square_root_law(device, node_nm, pairs) for pairs in folds(10)]
    return {pair: value for found in known for pair, value in zip(found.pairs, found.true, strict=True)}


def square_root(kept: Mapping[Pair, Floats], width: Floats, depth: Floats) -> Floats:
    """Predict by constant x sqrt(capacity), as `leave_out.square_root_law`.

    A constant is the median over what is kept of a width; a width of which nothing is kept gets one between those
    beside it, in logs.
    """
    widths = sorted({pair[0] for pair in kept})
    each = {w: [value / math.sqrt(w * d) for (other, d), value in kept.items() if other == w] for w in widths}
    constants = np.log([np.median(each[w], axis=0) for w in widths])
    logs = np.stack([np.interp(np.log(width), np.log(widths), column) for column in constants.T], axis=1)
    return np.asarray(np.exp(logs) * np.sqrt(width * depth)[:, None])


def power(kept: Mapping[Pair, Floats], width: Floats, depth: Floats) -> Floats:
    """Predict by constant x capacity^a x width^b, least squares in logs over what is kept of the node."""

    def columns(w: Floats, d: Floats) -> Floats:
        return np.stack([np.ones_like(w), np.log(w * d), np.log(w)], axis=1)

    w, d = np.array(list(kept), dtype=np.float64).T
    found, *_ = np.linalg.lstsq(columns(w, d), np.log(list(kept.values())), rcond=None)
    return np.asarray(np.exp(columns(width, depth) @ found))


def leave_out(name: str, parts: Sequence[frozenset[Pair]]) -> Split:
    """Leave parts of the table out, one at a time, and predict them: all nodes, itrs-hp and itrs-lstp."""
    errors: dict[str, list[Floats]] = {model: [] for model in MODELS}
    for device in DEVICES:
        for node in NODES:
            known = truth(device, node)
            for pairs in parts:
                found = missed(device, node, pairs)
                errors["ours"].append(found.errors)
                kept = {pair: value for pair, value in known.items() if pair not in pairs}
                width, depth = np.array(found.pairs, dtype=np.float64).T
                for model, law in (("square-root law", square_root), ("power law", power)):
                    errors[model].append(np.abs(law(kept, width, depth) / found.true - 1))
    return Split(name, {model: np.concatenate(found) for model, found in errors.items()})


@cache
def leave_out_splits() -> tuple[Split, ...]:
    """Leave pairs, capacities, sizes between powers of two, and widths out."""
    pairs = frozenset(block("itrs-hp", 45.0, (1, 0, 0)).points)
    sizes = sorted({width * depth for width, depth in pairs})
    odd = frozenset(pair for pair in pairs if (pair[0] * pair[1]) & (pair[0] * pair[1] - 1))
    widths = sorted({width for width, _ in pairs})[1:-1]
    every = [frozenset(pair for pair in pairs if pair[0] * pair[1] in sizes[at::8]) for at in range(8)]
    return (
        leave_out("random pairs of capacity and word, ten parts", folds(10)),
        leave_out("whole capacities, every eighth at a time", every),
        leave_out("all capacities that are no power of two", [odd]),
        leave_out("whole word widths (2 to 64 B), one at a time",
                  [frozenset(pair for pair in pairs if pair[0] == width) for width in widths]),
    )  # fmt: skip


def _ports(row: Row) -> tuple[int, int, int]:
    return int(row["rw_ports"]), int(row["rd_ports"]), int(row["wr_ports"])


def kind_of(row: Row) -> str:
    """Name what makes a random point differ from the table."""
    if row["objective"] != "ed2":
        return f"objective {row['objective']}"
    if row["banks"] != "1":
        return "2 to 16 banks"
    if _ports(row) != (1, 0, 0):
        two = row["cell_type"] == "itrs-hp" and _ports(row) in {(0, 1, 1), (2, 0, 0)}
        return "two ports of itrs-hp" if two else "other ports"
    if float(row["tech_nm"]) not in NODES:
        return "nodes between"
    return "widths of the table" if math.frexp(float(row["width_bytes"]))[0] == 0.5 else "other widths"


KINDS = ("widths of the table", "other widths", "nodes between", "2 to 16 banks", "two ports of itrs-hp",
         "other ports", "objective ed", "objective energy", "objective area")  # fmt: skip


def predicted(row: Row) -> tuple[Floats, Quality]:
    """Give our values of COMPARED, leakage of one bank, and their quality, for a row of CACTI's."""
    macro = sram(
        float(row["size_bytes"]), float(row["width_bytes"]), node_nm=float(row["tech_nm"]), device=row["cell_type"],
        ports=_ports(row), banks=int(row["banks"]), temperature_k=float(row["temp_k"]),
        objective=row.get("objective", "ed2"),
    )  # fmt: skip
    values = np.array([float(getattr(macro, name)) for name in COMPARED])
    values[COMPARED.index("leakage_w")] /= macro.banks
    return values, Quality(int(macro.quality))


def printed(row: Row) -> Floats:
    """Give what CACTI printed, in the order of COMPARED; no leakage where it takes it from a bad entry."""
    values = _as_printed(row)
    if row["cell_type"] == "itrs-lop" and float(row["tech_nm"]) > 65 and row["temp_k"] in ("350", "360", "370"):
        values[COMPARED.index("leakage_w")] = np.nan
    return values


def _as_printed(row: Row) -> Floats:
    return np.array([float(row[PRINTED[name][0]]) * PRINTED[name][1] for name in COMPARED])


@cache
def random_points() -> tuple[tuple[Row, Floats, Quality, Floats], ...]:
    """Give the random points: the row, our values and quality, CACTI's values."""
    return tuple((row, *predicted(row), printed(row)) for row in rows("cacti_random"))


@cache
def random_splits() -> tuple[Split, ...]:
    """Take the random points by kind; the laws where one port, one bank and a node of the table leave them a word."""
    found = []
    for kind in KINDS:
        mine = [point for point in random_points() if kind_of(point[0]) == kind]
        true = np.array([point[3] for point in mine])
        errors = {"ours": np.abs(np.array([point[1] for point in mine]) / true - 1)}
        if kind in KINDS[:2]:
            for model, law in (("square-root law", square_root), ("power law", power)):
                errors[model] = np.abs(np.array([_by_law(law, point[0]) for point in mine]) / true - 1)
        found.append(Split(kind, errors))
    return tuple(found)


def _by_law(law: Law, row: Row) -> Floats:
    width = np.array([float(row["width_bytes"])])
    kept = truth(row["cell_type"], float(row["tech_nm"]))
    return np.asarray(law(kept, width, np.array([float(row["size_bytes"])]) / width)[0])


def exact_counts() -> tuple[int, int, int, int]:
    """Count CACTI's rows that come back digit for digit, and those that it refused and we give as registers."""
    feasible = [row for row in rows("cacti_sram") if row["feasible"] == "1"]
    refused = [row for row in rows("cacti_sram") if row["feasible"] == "0"]
    same = sum(
        [f"{ours:.6g}" for ours in predicted(row)[0]] == [f"{theirs:.6g}" for theirs in _as_printed(row)]
        for row in feasible
    )
    registers = sum(predicted(row)[1] is Quality.REGISTERS for row in refused)
    return same, len(feasible), registers, len(refused)
