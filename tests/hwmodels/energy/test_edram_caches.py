"""Caches, embedded DRAM, DRAM dies: rows of CACTI unchanged, splines between them inside of their bands."""

from __future__ import annotations

import csv
import math
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hwmodels.cited import cited_rows
from hwmodels.energy.caches import cache
from hwmodels.energy.dram_dies import dram_die, stacked_dram_die
from hwmodels.energy.embedded_dram import edram
from hwmodels.energy.estimate import Estimate, explain
from hwmodels.energy.log_tables import build_table, look_up
from tests.close import close
from workloads.errors import SpecError

GOLDEN = Path(__file__).resolve().parents[2] / "golden" / "reference" / "energy"
PICO, NANO, MILLI = 1e-12, 1e-9, 1e-3


def golden(name: str, feasible: str = "1") -> list[dict[str, str]]:
    with (GOLDEN / name).open(newline="", encoding="utf-8") as file:
        return [row for row in csv.DictReader(file) if row["feasible"] == feasible]


def numbers(row: Mapping[str, str], *columns: str) -> list[float]:
    return [float(row[column]) for column in columns]


def ask_cache(row: Mapping[str, str]) -> Mapping[str, Estimate]:
    size, line, ways, node = numbers(row, "size_bytes", "width_bytes", "associativity", "tech_nm")
    return cache(size, int(line), associativity=int(ways), node_nm=node).estimates()


def ask_edram(row: Mapping[str, str]) -> Mapping[str, Estimate]:
    size, width, node = numbers(row, "size_bytes", "width_bytes", "tech_nm")
    return edram(size, width, node_nm=node).estimates()


def ask_die(row: Mapping[str, str]) -> Mapping[str, Estimate]:
    size, pins, page, node = numbers(row, "size_bytes", "output_bits", "page_bits", "tech_nm")
    return dram_die(size, output_bits=pins, page_bits=page, node_nm=node).estimates()


def ask_stack(row: Mapping[str, str]) -> Mapping[str, Estimate]:
    gbit, pins, node, dies = numbers(row, "die_gbit", "io_width", "tech_nm", "stacked_dies")
    return stacked_dram_die(gbit, io_bits=pins, node_nm=node, stacked_dies=int(dies)).estimates()


# Table, how to ask for a row of it, and where each of its columns comes out with what unit.
TABLES: dict[str, tuple[Callable[[Mapping[str, str]], Mapping[str, Estimate]], dict[str, tuple[str, float]]]] = {
    "cacti_cache.csv": (
        ask_cache,
        {"read_pj": ("read_j", PICO), "write_pj": ("write_j", PICO), "leak_mw_total": ("leakage_w", MILLI),
         "area_mm2": ("area_mm2", 1), "access_ns": ("access_s", NANO), "cycle_ns": ("cycle_s", NANO)},
    ),
    "cacti_edram.csv": (
        ask_edram,
        {"read_pj": ("read_j", PICO), "leak_mw_total": ("leakage_w", MILLI), "area_mm2": ("area_mm2", 1),
         "access_ns": ("access_s", NANO), "cycle_ns": ("cycle_s", NANO)},
    ),
    "cacti_main_memory_dram.csv": (
        ask_die,
        {"activate_nj": ("activate_j", NANO), "precharge_nj": ("precharge_j", NANO),
         "read_burst_nj": ("read_burst_j", NANO), "write_burst_nj": ("write_burst_j", NANO),
         "refresh_mw": ("refresh_w", MILLI), "leak_closed_page_mw": ("leakage_w", MILLI), "area_mm2": ("area_mm2", 1),
         "access_ns": ("access_s", NANO), "cycle_ns": ("cycle_s", NANO)},
    ),
    "cacti_3d_dram.csv": (
        ask_stack,
        {"activate_nj": ("activate_j", NANO), "precharge_nj": ("precharge_j", NANO), "read_nj": ("read_burst_j", NANO),
         "write_nj": ("write_burst_j", NANO), "area_per_die_mm2": ("area_mm2", 1), "tsv_area_mm2": ("tsv_area_mm2", 1),
         "trcd_ns": ("activate_to_read_s", NANO), "tras_ns": ("activate_to_precharge_s", NANO),
         "trc_ns": ("row_cycle_s", NANO), "tcas_ns": ("read_to_data_s", NANO)},
    ),
}  # fmt: skip


@pytest.mark.parametrize(
    ("name", "row"),
    [(name, row) for name in TABLES for row in golden(name)],
    ids=lambda value: "-".join(list(value.values())[:4]) if isinstance(value, dict) else value,
)
def test_rows_of_the_tool_come_back_unchanged(name: str, row: dict[str, str]) -> None:
    ask, columns = TABLES[name]
    estimates = ask(row)
    assert set(estimates) == {ours for ours, _ in columns.values()}
    for theirs, (ours, scale) in columns.items():
        assert estimates[ours].value == float(row[theirs]) * scale
        assert estimates[ours].low == estimates[ours].value == estimates[ours].high
        assert estimates[ours].origin == "table"
        assert "CACTI" in estimates[ours].source


@pytest.mark.parametrize(
    ("name", "row"),
    [(name, row) for name in TABLES for row in golden(name, "0")],
    ids=lambda value: "-".join(list(value.values())[:4]) if isinstance(value, dict) else value,
)
def test_what_the_tool_cannot_do_is_refused(name: str, row: dict[str, str]) -> None:
    with pytest.raises(SpecError, match=r"(cache|edram|dram_die|stacked_dram_die): "):
        TABLES[name][0](row)


# Bands. Each inner level of an axis is left out, the table is built from what remains, bands included, and then asked
# for what was left out: the band of the reduced table knows nothing of these rows.

SPLITS = {
    "edram": (("node_nm", "size_bytes", "width_bytes"), ("size_bytes", "node_nm"), ()),
    "dram_dies": (("node_nm", "size_bytes", "output_bits", "page_bits"), ("size_bytes", "node_nm"),
                  ("output_bits", "page_bits")),
    "dram_stacks": (("node_nm", "die_gbit", "io_bits"), ("die_gbit", "node_nm"), ("io_bits",)),
}  # fmt: skip
COLUMNS = {
    "edram": ("read_pj", "leak_mw_total", "area_mm2", "access_ns", "cycle_ns"),
    "dram_dies": (
        "activate_nj",
        "precharge_nj",
        "read_burst_nj",
        "write_burst_nj",
        "refresh_mw",
        "area_mm2",
        "access_ns",
    ),
    "dram_stacks": ("activate_nj", "precharge_nj", "read_nj", "write_nj", "area_per_die_mm2", "trc_ns", "tcas_ns"),
}


def left_out(name: str, axis: str) -> tuple[np.ndarray, np.ndarray]:
    """Return whether each left-out figure lies inside of its band, and its relative error."""
    axes, _, fixed = SPLITS[name]
    rows = [row for row in cited_rows(name) if row["feasible"] == "1"]
    levels = sorted({float(row[axis]) for row in rows})[1:-1]
    inside, errors = [], []
    for level in levels:
        rest = [row for row in rows if float(row[axis]) != level]
        gone = [row for row in rows if float(row[axis]) == level]
        table = build_table(name, rest, axes=axes, columns=COLUMNS[name], fixed=frozenset(fixed))
        at = {a: np.array([float(row[a]) for row in gone]) for a in axes}
        reading = look_up(table, at, where="test", fixes={})
        assert not reading.exact
        for column in COLUMNS[name]:
            true = np.array([float(row[column]) for row in gone])
            ratio = reading.values[column] / true
            factor = np.asarray(reading.factors[column]) * (1 + 1e-9)
            inside.append((ratio <= factor) & (ratio >= 1 / factor))
            errors.append(np.abs(ratio - 1))
    return np.concatenate(inside), np.concatenate(errors)


@pytest.mark.parametrize("name", SPLITS)
def test_left_out_sizes_lie_inside_of_bands_that_never_saw_them(name: str) -> None:
    inside, errors = left_out(name, SPLITS[name][1][0])
    assert inside.mean() >= 0.85
    assert np.median(errors) < 0.12


# Not the stacked dies: of their four nodes one is left out, and one inner node is too little to measure a band on.
@pytest.mark.parametrize("name", ["edram", "dram_dies"])
def test_left_out_nodes_lie_inside_of_bands_that_never_saw_them(name: str) -> None:
    inside, errors = left_out(name, "node_nm")
    assert inside.mean() >= 0.85
    assert np.median(errors) < 0.12


def test_the_spline_beats_a_square_root_law_on_left_out_sizes() -> None:
    rows = [row for row in cited_rows("edram") if row["feasible"] == "1"]
    law = []
    for row in rows:
        peers = [r for r in rows if r["node_nm"] == row["node_nm"] and r["size_bytes"] != row["size_bytes"]]

        def scale(r: Mapping[str, str]) -> float:
            return float(r["width_bytes"]) * math.sqrt(float(r["size_bytes"]))

        logs = [np.log(float(r["read_pj"]) / scale(r)) for r in peers]
        law.append(abs(np.exp(np.mean(logs)) * scale(row) / float(row["read_pj"]) - 1))
    axes, _, _ = SPLITS["edram"]
    errors = []
    for size in sorted({float(row["size_bytes"]) for row in rows})[1:-1]:
        rest = [row for row in rows if float(row["size_bytes"]) != size]
        gone = [row for row in rows if float(row["size_bytes"]) == size]
        table = build_table("edram", rest, axes=axes, columns=("read_pj",))
        at = {a: np.array([float(row[a]) for row in gone]) for a in axes}
        ours = np.asarray(look_up(table, at, where="test", fixes={}).values["read_pj"])
        errors += list(np.abs(ours / np.array([float(row["read_pj"]) for row in gone]) - 1))
    assert 3 * np.median(errors) < np.median(law)


@pytest.mark.parametrize(("line", "ways", "node"), [(64, 4, 22), (64, 8, 22), (128, 16, 22), (64, 8, 45)])
def test_left_out_caches_lie_near(line: int, ways: int, node: int) -> None:
    key = {"line_bytes": line, "associativity": ways, "node_nm": node, "feasible": 1}
    rows = [row for row in cited_rows("caches") if all(float(row[name]) == value for name, value in key.items())]
    errors = []
    for gone in rows[1:-1]:
        table = build_table("caches", [r for r in rows if r is not gone], axes=("size_bytes",), columns=("read_pj",))
        read = look_up(table, {"size_bytes": float(gone["size_bytes"])}, where="test", fixes={}).values["read_pj"]
        errors.append(abs(float(read) / float(gone["read_pj"]) - 1))
    assert np.median(errors) < 0.15
    assert max(errors) < 0.3


# Physics


def test_bigger_costs_more() -> None:
    sizes = 2.0 ** np.arange(16, 24.01, 0.5)
    for ways, line in ((4, 64), (8, 64), (16, 128)):
        macro = cache(sizes, line, associativity=ways)
        for estimate in (macro.read_j, macro.leakage_w, macro.access_s):
            falls = np.asarray(estimate.value)[:-1] / np.asarray(estimate.value)[1:]
            assert falls.max() < 1.05  # CACTI's own steps are larger
    assert np.all(np.diff(edram(sizes, 64, node_nm=45).read_j.value) > 0)
    assert np.all(np.diff(edram(2**20, 64, node_nm=np.array([32, 45, 65, 90])).read_j.value) > 0)
    dies = dram_die(2.0 ** np.arange(24, 29.01, 0.25))
    assert np.all(np.diff(dies.read_burst_j.value) > 0)
    stacks = stacked_dram_die(np.array([1, 1.5, 2, 3, 4, 6, 8, 12, 16]))
    assert np.all(np.diff(stacks.area_mm2.value) > 0)


def test_a_whole_page_costs_little_a_bit_and_half_a_page_half_as_much() -> None:
    small, large = (dram_die(2**29, page_bits=page, node_nm=65) for page in (8192, 16384))
    assert float(large.precharge_j.value) == close(2 * float(small.precharge_j.value), rel=0.01)
    assert float(large.activate_j.value) < 2 * float(small.activate_j.value)


@settings(max_examples=25, deadline=None)
@given(points=st.lists(st.tuples(st.floats(2**16, 2**26), st.sampled_from([8, 32, 40, 64]),
                                 st.sampled_from([32, 40, 45, 90])), min_size=1, max_size=6))  # fmt: skip
def test_a_batch_equals_its_rows(points: list[tuple[float, int, int]]) -> None:
    sizes, widths, nodes = (np.array(column) for column in zip(*points, strict=True))
    batch = edram(sizes, widths, node_nm=nodes).estimates()
    for row, (size, width, node) in enumerate(points):
        one = edram(size, width, node_nm=node).estimates()
        for name, estimate in batch.items():
            for end in ("value", "low", "high"):
                assert np.asarray(getattr(estimate, end))[row] == close(getattr(one[name], end), rel=1e-12)


# Refusals


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: cache(2**20, associativity=2), r"2 ways.*known: 4-way.*scaling\('sram energy'"),
        (lambda: cache(2**20, node_nm=7), "7 nm; known"),
        (lambda: cache(2**30), "size_bytes = .*65536 to 6.71089e[+]07.*split it into banks"),
        (lambda: cache(-4), "size_bytes = -4; it must be finite and above zero"),
        (lambda: cache(2**20, associativity=np.array([4, 8])), "associativity is constant within a batch"),  # type: ignore[arg-type]
        (lambda: edram(2**20, node_nm=22), "22 nm"),
        (lambda: edram(2**20, node_nm=22), r"scaling\('dram energy', 32"),
        (lambda: edram(2**20, 128), "width_bytes = 128; the table has 8 to 64; take several macros"),
        (lambda: edram(2**20).write_j, "write_j: CACTI prints 5 to 1300 times.*take read_j"),
        (lambda: dram_die(2**30), "dies of 2.30 B and more: take two dies"),
        (lambda: dram_die(2**29, output_bits=4), "output_bits = 4; the table has 8, 16"),
        (lambda: dram_die(2**29, page_bits=10000), "page_bits = 10000; the table has 8192, 16384"),
        (lambda: dram_die(2**29).write_j, "write_j: CACTI prints.*add activate_j, write_burst_j and precharge_j"),
        (lambda: stacked_dram_die(8, stacked_dies=4), "stacked_dies = 4: CACTI-3DD overflows"),
        (lambda: stacked_dram_die(32), "die_gbit = 32; the table has 1 to 16"),
        (lambda: stacked_dram_die(8, node_nm=90), "node_nm = 90; the table has 22 to 65"),
    ],
)
def test_bad_input_says_what_and_what_to_do(call: Callable[[], object], message: str) -> None:
    with pytest.raises(SpecError, match=message):
        call()


def test_explain_says_that_a_row_is_a_row_and_between_rows_how_far_it_may_be_off() -> None:
    assert "a row of the table" in explain(edram(2**20))
    between = explain(edram(3 * 2**20))
    assert "interpolated" in between
    assert "greatest miss of left-out levels" in between
