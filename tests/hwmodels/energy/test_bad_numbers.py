"""Every public function of the room, with numbers and names that are wrong: a clear refusal, or a sane result."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import hwmodels
from hwmodels import energy
from hwmodels.energy import Estimate, Explained
from hwmodels.energy.combining import exact
from workloads.errors import DseError

ONE_MM2 = exact(1.0, "mm2", "given", "the caller")

CALLS: Mapping[str, Mapping[str, Any]] = {
    "add_area": {"format_": "int8", "node_nm": 45.0},
    "add_energy": {"format_": "fp16", "node_nm": 16.0, "law": "foundry", "circuits": "any"},
    "arithmetic_deviations": {"measure": "energy"},
    "arithmetic_tables": {"measure": "area"},
    "board_static_power": {"device": "h100-sxm"},
    "broadcast_energy": {"bits": 8, "rows": 4, "columns": 4, "pitch_mm": 0.1, "network": "mesh", "node_nm": 45.0},
    "cache": {"size_bytes": 65536.0, "line_bytes": 64, "associativity": 8, "node_nm": 22.0},
    "circuit_spread": {"measure": "energy"},
    "clock_at_voltage": {"node_nm": 45.0, "vdd_v": 0.9},
    "clock_range": {"node_nm": 45.0},
    "clocking": {"node_nm": 45.0, "clock_scale": 0.9},
    "dequantize_area": {"stored": "int4", "to": "fp16", "entries": 8, "node_nm": 45.0},
    "dequantize_energy": {"stored": "int4", "to": "fp16", "entries": 8, "node_nm": 7.0, "law": "foundry"},
    "dram_background_w": {
        "technology": "DDR4", "capacity_bytes": 1e9, "state": "standby", "interface_peak_b_per_s": 1e10,
    },
    "dram_deviations": {},
    "dram_die": {"size_bytes": 134217728.0, "output_bits": 8, "page_bits": 8192, "node_nm": 32.0},
    "dram_energy": {
        "technology": "DDR4", "scope": "device+io", "row_hit_rate": 0.5, "page_bits": 8192, "burst_bits": 512,
        "capacity_bytes": 8e9, "bandwidth_b_per_s": 1e10,
    },
    "dram_interface_energy": {"interface": "DDR4", "bus_hz": 1.2e9, "ranks": 1, "direction": "read"},
    "dram_phy": {"technology": "HBM2E", "bytes_per_s": 4e11, "node_nm": 16.0},
    "dram_phys": {},
    "edram": {"size_bytes": 1048576.0, "width_bytes": 64, "node_nm": 45.0},
    "exact_accumulator": {"a": "int8", "b": "int8", "length": 64},
    "explain": {"what": ONE_MM2},
    "floating": {"exponent_bits": 5, "mantissa_bits": 10},
    "hops": {"network": "mesh", "rows": 4, "columns": 4, "destinations": 2, "pitch_mm": 0.1, "among": "any"},
    "integer": {"bits": 8},
    "known_links": {"scope": None},
    "leave_one_out": {"measure": "energy"},
    "level_energies": {"device": hwmodels.load("a100")},
    "link_energy": {"name": "ucie-standard", "hops": 2},
    "logic_leakage": {"area_mm2": ONE_MM2, "node_nm": 16.0},
    "low_swing": {"node_nm": 45.0, "device": "itrs-hp", "projection": "conservative", "activity": 0.5},
    "mac_area": {"a": "int8", "b": "int4", "accumulator": "int32", "node_nm": 45.0, "law": "foundry"},
    "mac_energy": {"a": "int8", "b": "int4", "accumulator": "int32", "node_nm": 5.0, "circuits": "published"},
    "multicast_energy": {
        "bits": 8, "rows": 4, "columns": 4, "pitch_mm": 0.1, "destinations": 3, "network": "tree", "among": "any",
        "node_nm": 45.0,
    },
    "multiply_area": {"a": "fp16", "b": "int4", "node_nm": 5.0},
    "multiply_energy": {"a": "fp16", "b": "int4", "node_nm": 5.0, "law": "foundry"},
    "neighbour_energy": {"bits": 8, "pitch_mm": 0.1, "node_nm": 45.0},
    "node_range": {"quantity": "logic energy", "law": "foundry"},
    "nominal_supply": {"node_nm": 45.0},
    "operand_delivery": {"device": hwmodels.load("a100"), "format": "fp16", "tile": (128, 128), "warp": (64, 64)},
    "pe_pitch": {"pe_area_mm2": 0.01},
    "peak_power": {"device": hwmodels.load("a100"), "format": "fp16"},
    "peer_distance": {"rows": 4, "columns": 4, "pitch_mm": 0.1},
    "predict_table": {"rows": {"size_bytes": [65536], "width_bytes": [8]}},
    "price": {
        "accelerator": hwmodels.load("gemmini"), "node_nm": 45.0, "device": "itrs-hp", "temperature_k": 350.0,
        "clock_scale": 0.9, "dram": "HBM2", "law": "bitcell-wire",
    },
    "priced": {"accelerator": hwmodels.load("gemmini"), "law": "bitcell-wire"},
    "published_checks": {"chip": "k80"},
    "published_wires": {},
    "reduction_energy": {
        "bits": 8, "rows": 4, "columns": 4, "pitch_mm": 0.1, "sources": 3, "network": "bus", "among": "any",
        "node_nm": 45.0,
    },
    "relative_delay": {"node_nm": 45.0, "vdd_v": 0.9},
    "relative_energy": {"node_nm": 45.0, "vdd_v": 0.9},
    "requantize_area": {"accumulator": "int32", "to": "int8", "multiplier": "int16", "node_nm": 45.0},
    "requantize_energy": {"accumulator": "int32", "to": "int8", "multiplier": "fp16", "node_nm": 16.0},
    "router_energy": {"node_nm": 16.0, "law": "foundry"},
    "scaling": {"quantity": "logic energy", "from_nm": 45.0, "to_nm": 7.0, "law": "foundry"},
    "static_power": {"kind": "cpu", "logic_mm2": 700.0, "dram": "DDR5", "capacity_bytes": 1e11},
    "stacked_dram_die": {"die_gbit": 4, "io_bits": 16, "node_nm": 32.0, "stacked_dies": 4},
    "supply_range": {"node_nm": 45.0},
    "voltage_at_clock": {"node_nm": 45.0, "clock_ratio": 0.9},
    "wire_area": {"bits": 8, "length_mm": 1.0, "node_nm": 45.0},
    "wire_delay": {"node_nm": 45.0, "kind": "delay_plus_30pct", "device": "itrs-hp", "projection": "conservative"},
    "wire_energy": {"node_nm": 45.0, "kind": "delay_plus_30pct", "activity": 0.5, "law": "supply"},
    "wire_leakage": {"node_nm": 45.0, "kind": "delay_plus_30pct", "law": "supply"},
}  # fmt: skip
"""A call of every public function that works; records of the room are tried through what takes them."""

ELSEWHERE = {"published_srams", "sram_calibration"}
"""Tested with what they compare."""


def numbers(good: float) -> Iterator[Any]:
    """Give what may come in place of a number that is good: bad ones, odd ones, and good ones of another type."""
    nan, inf = float("nan"), float("inf")
    yield from (nan, inf, -inf, 0, 0.0, -0.0, -1, -good, 1e300, -1e300, 1e-300, 5e-324, 2**70, 10**400, good * 1.37)
    yield from ("", "7", "x", b"7", None, [good], (good,), {}, object(), 1j, True, slice(3))
    yield from (np.float32(good), np.float64(good), np.float64(nan), np.int64(max(1, round(good))))
    yield from (np.array(good), np.array([]), np.array([[good]]), np.array([good, good]), np.array([nan, good]))
    yield from (np.array([good, -1.0, inf]), np.array(["7", "x"]), np.array([good, None]), np.array([True]))


NAMES: tuple[Any, ...] = ("", "x", "INT8", 3, -1.5, None, [], {}, (), b"int8", object(), np.array(["x", "y"]), True)
"""What may come in place of a name."""


def finite(what: Any) -> None:
    """Check that every number of a result is finite and lies in its band."""
    if isinstance(what, Estimate):
        value, low, high = (np.asarray(end, dtype=float) for end in (what.value, what.low, what.high))
        assert np.isfinite([value.sum(), low.sum(), high.sum()]).all(), what
        assert np.all(low <= value * (1 + 1e-12)), what
        assert np.all(value <= high * (1 + 1e-12)), what
        for part in what.parts.values():
            finite(part)
    elif isinstance(what, Explained):
        for estimate in what.estimates().values():
            finite(estimate)
    elif isinstance(what, float | np.floating | np.ndarray):
        assert np.isfinite(np.asarray(what, dtype=float)).all(), what
    elif isinstance(what, tuple | list):
        for each in what:
            finite(each)


def attack(call: Callable[..., Any], arguments: Mapping[str, Any]) -> None:
    """Call; either it gives sane numbers, or it says what is wrong. Nothing else, and no warning."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        try:
            found = call(**arguments)
        except DseError as error:
            refusal = str(error)
        else:
            finite(found)
            return
    assert len(refusal) > 15, refusal


def test_every_public_function_is_attacked() -> None:
    public = {name for name in energy.__all__ if callable(call := getattr(energy, name)) and not isinstance(call, type)}
    assert public - ELSEWHERE == set(CALLS)


@pytest.mark.parametrize("name", CALLS)
def test_a_wrong_argument_is_refused_or_harmless(name: str) -> None:
    call, good = getattr(energy, name), CALLS[name]
    attack(call, good)
    for argument, value in good.items():
        if isinstance(value, int | float):
            wrong: Any = numbers(value)
        elif isinstance(value, str) or value is None:
            wrong = NAMES
        else:
            wrong = (None, 3, "x", [], {})
        for each in wrong:
            attack(call, {**good, argument: each})


NUMERIC = [name for name, good in CALLS.items() if name not in ("price", "cache") and any(
    isinstance(value, int | float) for value in good.values())]  # fmt: skip


@settings(max_examples=400)
@given(data=st.data())
def test_random_numbers_in_all_arguments_at_once_are_refused_or_harmless(data: st.DataObject) -> None:
    name = data.draw(st.sampled_from(NUMERIC))
    factor = st.one_of(st.just(1.0), st.floats(0.1, 10), st.floats(), st.integers(-3, 10**9))
    several = st.lists(factor, min_size=2, max_size=3).map(lambda many: np.array(many, dtype=float))
    arguments: dict[str, Any] = {}
    for argument, value in CALLS[name].items():
        if isinstance(value, int | float):
            share = data.draw(st.one_of(factor, several))
            with np.errstate(all="ignore"):
                arguments[argument] = np.multiply(value, share) if isinstance(share, np.ndarray) else share * value
        else:
            arguments[argument] = value
    attack(getattr(energy, name), arguments)


def test_arrays_of_different_lengths_are_refused_by_name() -> None:
    two, three = np.array([45.0, 22.0]), np.array([1.0, 2.0, 3.0])
    for call in (
        lambda: energy.wire_area(three, 1.0, two),
        lambda: energy.scaling("logic energy", two, three * 10),
        lambda: energy.clocking(two, three / 3),
        lambda: energy.mac_energy(energy.integer(three), node_nm=two),
        lambda: energy.multiply_energy(energy.integer(two), energy.floating(5, three), node_nm=7),
        lambda: energy.dequantize_energy("int4", entries=three + 1, node_nm=two),
        lambda: energy.requantize_energy(energy.integer(three + 8), energy.integer(two / 22), node_nm=7),
        lambda: energy.multicast_energy(8, 4, 4, three, wire=energy.wire_energy(two)),
    ):
        with pytest.raises(DseError, match="points"):
            call()


CELLS = (float("nan"), float("inf"), -1, 0, 1e300, 5e-324, 10**400, "", "x", "1e999", None, True, [1], 1j, object())


@pytest.mark.parametrize("column", ["size_bytes", "width_bytes", "tech_nm", "banks", "temp_k", "rd_ports", "objective"])
def test_a_bad_cell_of_a_table_spoils_its_row_and_no_other(column: str) -> None:
    good = {"size_bytes": 65536, "width_bytes": 8, "tech_nm": 45, "banks": 1, "temp_k": 350, "rd_ports": 0,
            "objective": "ed2"}  # fmt: skip
    for cell in CELLS:
        table = energy.predict_table({name: [value, cell if name == column else value] for name, value in good.items()})
        assert table["feasible"][0] == 1
        assert table["feasible"][1] == 1 or len(table["reason"][1]) > 10
        for name in ("read_pj", "leak_mw_per_bank", "area_mm2"):
            assert np.isfinite(table[name][table["feasible"] == 1]).all()


def test_columns_that_are_none_are_refused() -> None:
    for cells in (5, None, "abc", np.array([[1]])):
        with pytest.raises(DseError, match="give a list or an array of its cells"):
            energy.predict_table({"size_bytes": cells, "width_bytes": cells})


def test_knobs_and_records_of_a_price_are_refused_or_harmless() -> None:
    gemmini = hwmodels.load("gemmini")
    for each in numbers(2.0):
        attack(energy.price, {"accelerator": gemmini, "capacity": {"Scratchpad": each}})
        attack(lambda lanes: energy.VectorUnit(lanes=lanes), {"lanes": each})
    for each in NAMES:
        attack(energy.price, {"accelerator": gemmini, "organisations": each})
        attack(energy.price(gemmini).access_j, {"level": "Scratchpad", "event": each})
    with pytest.raises(DseError, match="2 and 3 points"):
        energy.price(gemmini, capacity={"Scratchpad": np.array([1.0, 2.0])}, clock_scale=np.array([0.8, 0.9, 1.0]))
