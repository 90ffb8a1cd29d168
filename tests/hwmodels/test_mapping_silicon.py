"""What the silicon conventions add to the reference's, each option alone, against numbers worked out by hand."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from hwmodels.mapping import (
    REFERENCE,
    ROLES,
    Accelerator,
    BufferLevel,
    LevelMapping,
    Loop,
    Mapping,
    MeshAxis,
    Traffic,
    evaluate,
    from_factors,
    narrowed,
)
from hwmodels.mapping.cases import conv_operator, gemm_operator
from workloads.errors import MappingError
from workloads.operator import Operator, Tensor, axis

W, I, O = range(3)  # noqa: E741
GEMM = gemm_operator("gemm", {"M": 16, "N": 8, "K": 4})
Nest = list[tuple[str, tuple[str, ...], list[tuple[str, int]], dict[str, list[tuple[str, int]]]]]
WHOLE: Nest = [("DRAM", ROLES, [], {}), ("Buffer", ROLES, [("M", 16), ("N", 8), ("K", 4)], {})]


def machine(**level: Any) -> Accelerator:
    """DRAM with 4 words/cycle and energy 10, 20; a buffer with energy 1, 2; words of 8 bit; one MAC."""
    dram = BufferLevel(name="DRAM", keeps=ROLES, capacity_words=None, word_bits=8, read_words_per_cycle=4,
                       write_words_per_cycle=4, read_j=10.0, write_j=20.0)  # fmt: skip
    buffer = BufferLevel(name="Buffer", keeps=ROLES, capacity_words=1000, word_bits=8, read_j=1.0, write_j=2.0)
    levels = (replace(dram, **level.pop("dram", {})), replace(buffer, **level.pop("buffer", {})))
    return Accelerator(name="machine", levels=levels, mac_j=0.0, **level)


def cost(mapping: Any, accelerator: Accelerator, operator: Operator = GEMM, **options: bool) -> Traffic:
    found = mapping if isinstance(mapping, Mapping) else from_factors(mapping, operator.dims)
    return evaluate(operator, accelerator, found, replace(REFERENCE, name="one option", **options))


def test_elements_take_their_bits_and_partial_sums_the_accumulators() -> None:
    """4-bit weights, 8-bit inputs and outputs, 32-bit sums; K outermost in two parts, so O is spilled once."""
    spill: Nest = [("DRAM", ROLES, [("K", 2), ("M", 4)], {}), ("Buffer", ROLES, [("M", 4), ("N", 8), ("K", 2)], {})]
    narrow = replace(GEMM, inputs=(GEMM.inputs[0], replace(GEMM.inputs[1], bits=4)))
    words, bits = cost(spill, machine(), narrow), cost(spill, machine(), narrow, bit_true=True)
    assert words.reads[0, 0].tolist() == [32, 64, 128]
    assert words.updates[0, 0, O] == 256
    # 32 weights of half a word, 64 inputs, 128 spilled sums of 4 words come back
    assert bits.level_j[0, 0].tolist() == [32 * 0.5 * 10, 64 * 10, 128 * 4 * 10 + (128 * 4 + 128 * 1) * 20]
    assert words.level_j[0, 0].tolist() == [32 * 10, 64 * 10, 128 * 10 + 256 * 20]
    # on chip, sums are always wide: 16 x 2 weights, 4 x 2 inputs, 4 x 8 sums
    assert bits.tile_words[0, 1].tolist() == [16 * 0.5, 8, 32 * 4]
    assert words.tile_words[0, 1].tolist() == [16, 8, 32]


def test_an_accelerator_s_accumulator_width_wins_over_the_operator_s() -> None:
    assert cost(WHOLE, machine(acc_bits=16), bit_true=True).tile_words[0, 1, O] == 16 * 8 * 2


def test_double_buffering_halves_the_capacity_and_only_there() -> None:
    need = 4 * 8 + 16 * 4 + 16 * 8
    double = [("double", 2 * need, True), ("double", 2 * need - 2, False)]
    whole = [("serial", need, True), ("shadow", need, True), ("shadow", need - 1, False)]
    for buffering, capacity, fits in double + whole:
        accelerator = machine(buffer={"capacity_words": capacity, "buffering": buffering})
        found = cost(WHOLE, accelerator, device_buffering=True)
        assert found.fits[0] == fits, (buffering, capacity)
        assert cost(WHOLE, accelerator).fits[0] == (capacity >= need)


def test_what_does_not_fit_is_infinite_and_names_tensors_and_words() -> None:
    found = cost(WHOLE, machine(buffer={"capacity_words": 200}))
    assert (found.cycles[0], found.energy_j[0], found.utilization[0]) == (float("inf"), float("inf"), 0.0)
    with pytest.raises(
        MappingError, match="level Buffer has room for 200 words, the tiles need 224: W 32 elements = 32 words, I 64"
    ):
        found.require_fit()


def test_a_partition_bounds_one_tensor() -> None:
    assert cost(WHOLE, machine(buffer={"partitions": {"O": 128}})).fits[0]
    assert not cost(WHOLE, machine(buffer={"partitions": {"O": 127}})).fits[0]


def test_a_serial_level_stops_the_work_below_while_it_loads() -> None:
    """512 steps; 96 words in take 24 cycles, 128 words out 32: together with the work or hidden behind it."""
    hidden = cost(WHOLE, machine(), device_buffering=True)
    assert hidden.cycles[0] == 512
    serial = cost(WHOLE, machine(buffer={"buffering": "serial"}), device_buffering=True)
    assert serial.cycles[0] == 512 + 32  # reads and writes of DRAM go at once here
    bus = machine(buffer={"buffering": "serial"}, dram={"shared_port": True})
    assert cost(WHOLE, bus, device_buffering=True, shared_ports=True).cycles[0] == 512 + 24 + 32


def test_one_bus_carries_reads_and_writes_one_after_the_other() -> None:
    slow = {"read_words_per_cycle": 0.1, "write_words_per_cycle": 0.1, "shared_port": True}
    found = cost(WHOLE, machine(dram=slow), shared_ports=True)
    assert found.cycles[0] == (96 + 128) / 0.1
    assert found.bounds[found.bound[0]] == "DRAM port"
    assert cost(WHOLE, machine(dram=slow)).cycles[0] == 1280


def test_first_tiles_are_loaded_before_and_the_last_stored_after_the_work() -> None:
    """Everything in one tile: nothing overlaps. In four tiles: a quarter of it does not."""
    assert cost(WHOLE, machine(), fill_drain=True).cycles[0] == 24 + 512 + 32
    parts: Nest = [("DRAM", ROLES, [("M", 4)], {}), ("Buffer", ROLES, [("M", 4), ("N", 8), ("K", 4)], {})]
    # first tiles: 32 weights + 16 inputs; one tile of 32 outputs
    assert cost(parts, machine(), fill_drain=True).cycles[0] == 48 / 4 + 512 + 32 / 4
    slow = machine(dram={"read_words_per_cycle": 0.01})
    assert cost(WHOLE, slow, fill_drain=True).cycles[0] == 9600 + 512 + 32  # not twice the load
    assert cost(parts, slow, fill_drain=True).cycles[0] == 4800 + 4800 + 8


def test_the_array_fills_and_drains_once() -> None:
    mesh = (MeshAxis(name="X", size=8), MeshAxis(name="Y", size=4))
    spread: Nest = [("DRAM", ROLES, [], {}), ("Buffer", ROLES, [("M", 16)], {"X": [("N", 8)], "Y": [("K", 4)]})]
    wide = machine(buffer={"mesh": mesh}, dram={"read_words_per_cycle": None, "write_words_per_cycle": None})
    assert cost(spread, wide).cycles[0] == 16
    assert cost(spread, wide, fill_drain=True).cycles[0] == 16 + 7 + 3


def test_a_transfer_is_whole_bursts() -> None:
    """N in halves: rows of W and O come in runs of 4 elements, so every 32 bit cost 64; rows of I are whole."""
    halves: Nest = [("DRAM", ROLES, [("N", 2)], {}), ("Buffer", ROLES, [("M", 16), ("N", 4), ("K", 4)], {})]
    accelerator = machine(dram={"burst_bits": 64})
    plain, burst = cost(halves, accelerator), cost(halves, accelerator, bursts=True)
    assert plain.reads[0, 0].tolist() == [32, 64, 0]
    assert burst.level_j[0, 0].tolist() == [2 * 32 * 10, 64 * 10, 2 * 128 * 20]
    # the counts are what was asked for, not what the bus carries
    assert burst.reads[0, 0].tolist() == plain.reads[0, 0].tolist()


def test_strided_windows_hold_only_what_is_used() -> None:
    """A 1x1 convolution with stride 2 uses every fourth element of the box."""
    sizes = {"R": 1, "S": 1, "P": 4, "Q": 4, "C": 2, "K": 1, "N": 1}
    operator = conv_operator("down", sizes, stride=2)
    nest: Nest = [("DRAM", ROLES, [], {}), ("Buffer", ROLES, list(sizes.items()), {})]
    assert cost(nest, machine(), operator).tile[0, 1, I] == 7 * 7 * 2
    assert cost(nest, machine(), operator, exact_windows=True).tile[0, 1, I] == 4 * 4 * 2


def test_neighbours_pass_on_the_rows_that_they_hold() -> None:
    """Four children with three rows each, sliding by one row a step: only the last needs a new row."""
    sizes = {"R": 3, "S": 1, "P": 8, "Q": 1, "C": 1, "K": 1, "N": 1}
    operator = conv_operator("rows", sizes)
    levels = (
        LevelMapping("DRAM", ROLES),
        LevelMapping("Buffer", ROLES, (), (Loop("P", 2, "X"),)),
        LevelMapping("Spad", ("I",), (Loop("P", 1), Loop("R", 1))),
    )
    shifting = Mapping(
        (
            levels[0],
            LevelMapping("Buffer", ROLES, (Loop("P", 4), Loop("R", 1)), (Loop("P", 1, "X"),)),
            LevelMapping("Spad", ("I",)),
        )
    )
    axes = {name: MeshAxis(name="X", size=4, forwards=roles) for name, roles in (("alone", ()), ("passing", ("I",)))}
    spad = BufferLevel(name="Spad", keeps=("I",), capacity_words=None, word_bits=8)
    reads = {}
    for name, mesh in axes.items():
        base = machine(buffer={"mesh": (mesh,)})
        accelerator = replace(base, levels=(*base.levels, spad))
        reads[name] = cost(shifting, accelerator, operator, exact_windows=True, forwarding=True).reads[0, 1, I]
        whole = cost(Mapping(levels), accelerator, operator, exact_windows=True, forwarding=True)
        assert whole.reads[0, 1, I] == 10  # held once, nothing moves: all rows once either way
    # two P tiles of 4 rows, R slides by 1 three times: 4 + 4 + 4 rows a tile, or 4 + 1 + 1
    assert reads == {"alone": 24, "passing": 4 + 1 + 1 + 2 + 1 + 1}


def test_a_bias_is_read_once_and_static_power_flows_all_the_time() -> None:
    biased = replace(GEMM, inputs=(*GEMM.inputs, Tensor(name="bias", axes=(axis("N"),), bits=32, role="weight")))
    without, with_bias = cost(WHOLE, machine()), cost(WHOLE, machine(), biased)
    assert with_bias.energy_j[0] - without.energy_j[0] == 8 * 10
    assert cost(WHOLE, machine(), biased, bit_true=True).other_j[0] == 8 * 4 * 10
    warm = cost(WHOLE, machine(static_w=3.0, clock_hz=2.0))
    assert warm.latency_s[0] == 256
    assert warm.energy_j[0] - without.energy_j[0] == 3 * 256


def test_operands_wider_than_the_array_takes_are_refused_unless_narrowed() -> None:
    floats = replace(GEMM, inputs=tuple(replace(tensor, bits=32) for tensor in GEMM.inputs))
    accelerator = machine(operand_bits=8)
    with pytest.raises(MappingError, match=r"gemm: 'I' has 32-bit elements, machine takes at most 8; quantize"):
        cost(WHOLE, accelerator, floats, bit_true=True)
    same = cost(WHOLE, accelerator, narrowed(floats, 8), bit_true=True)
    assert same.energy_j[0] == cost(WHOLE, accelerator, bit_true=True).energy_j[0]
