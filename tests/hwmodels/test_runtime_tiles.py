"""Mappings as Gemmini's runtime picks them: tiles fit and cannot grow, and move what the loops of the runtime move."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

import hwmodels
from hwmodels import resized
from hwmodels.mapping import evaluate, problem_on, search
from hwmodels.mapping.cases import conv_operator, gemm_operator
from hwmodels.mapping.runtime_tiles import runtime_mapping, runtime_tiles
from hwmodels.mapping.traffic import Traffic
from hwmodels.spatial import ROLES, Accelerator
from workloads.errors import MappingError
from workloads.operator import Operator, Tensor, axis

SIDE = 16
sizes = st.integers(1, 900)
kilobytes = st.sampled_from([64, 128, 256])


def gemmini(accumulator_kb: int = 64, scratchpad_kb: int = 256) -> Accelerator:
    base = hwmodels.load("gemmini")
    assert isinstance(base, Accelerator)
    return resized(base, capacity={"Scratchpad": f"{scratchpad_kb} KiB", "Accumulator": f"{accumulator_kb} KiB"})


def gemm(m: int, n: int, k: int) -> Operator:
    return gemm_operator("g", {"M": m, "N": n, "K": k})


def costed(operator: Operator, device: Accelerator) -> Traffic:
    found = evaluate(
        problem_on(operator, device, device.conventions),
        device,
        runtime_mapping(operator, device),
        device.conventions,
    )
    found.require_fit()
    return found


@given(sizes, sizes, sizes, kilobytes, kilobytes)
def test_a_tile_fits_half_of_each_buffer_and_cannot_grow(m: int, n: int, k: int, acc: int, pad: int) -> None:
    tile = runtime_tiles(m, n, k, gemmini(acc, pad))
    blocks = [math.ceil(size / SIDE) for size in tile]
    most = [math.ceil(size / SIDE) for size in (m, n, k)]

    def fits(rows: int, columns: int, depth: int) -> bool:
        sums, operands = rows * columns * SIDE**2 * 4, (rows + columns) * depth * SIDE**2
        return sums <= acc * 512 and operands <= pad * 512

    assert fits(*blocks)
    for place in range(3):
        larger = [size + (at == place) for at, size in enumerate(blocks)]
        assert larger[place] > most[place] or not fits(*larger)


def test_tiles_of_the_default_buffers_are_those_of_the_published_rule() -> None:
    """64 KiB of sums: 32 blocks in half of it, so 5 x 5; 256 KiB: 512 blocks in half, so 512 / 10 = 51 deep."""
    assert runtime_tiles(4096, 4096, 4096, gemmini()) == (5 * 16, 5 * 16, 51 * 16)
    assert runtime_tiles(4096, 4096, 4096, gemmini(256, 64)) == (11 * 16, 11 * 16, 5 * 16)
    assert runtime_tiles(3, 5, 7, gemmini()) == (3, 5, 7)


@pytest.mark.parametrize(("m", "n", "k"), [(512, 768, 768), (512, 3072, 768), (512, 512, 64), (100, 200, 3000)])
def test_both_operands_are_read_again_for_every_output_tile(m: int, n: int, k: int) -> None:
    device = gemmini()
    rows, columns, _ = runtime_tiles(m, n, k, device)
    cost = costed(gemm(m, n, k), device)
    read = {role: float(cost.reads[0, 0, at]) for at, role in enumerate(ROLES)}
    assert read["W"] == k * n * math.ceil(m / rows)
    assert read["I"] == m * k * math.ceil(n / columns)
    assert float(cost.updates[0, 0, ROLES.index("O")]) == m * n


def test_an_operand_of_two_tiles_is_kept() -> None:
    """32 rows are one tile: the runtime holds it while the columns pass."""
    cost = costed(gemm(32, 4096, 64), gemmini())
    assert float(cost.reads[0, 0, ROLES.index("I")]) == 32 * 64


def test_the_proven_optimum_is_no_worse() -> None:
    for bandwidth in (4e9, 16e9):
        device = resized(gemmini(), bandwidth={"DRAM": bandwidth})
        # Both divide into these tiles, so the search has the runtime's mapping in its space.
        operator = gemm(640, 640, 768)
        assert float(search(operator, device, "latency").cost.cycles[0]) <= float(costed(operator, device).cycles[0])


def test_batches_run_one_by_one() -> None:
    def tensor(name: str, dims: str) -> Tensor:
        return Tensor(name=name, axes=tuple(map(axis, dims)), bits=8, role="activation")

    heads = Operator(
        name="scores", op_type="MatMul", kind="matmul", dims={"h": 12, "m": 128, "n": 128, "k": 64},
        inputs=(tensor("q", "hmk"), tensor("k", "hnk")), outputs=(tensor("s", "hmn"),),
    )  # fmt: skip
    device = gemmini()
    one, all_of_them = costed(gemm(128, 128, 64), device), costed(heads, device)
    assert float(all_of_them.reads[0, 0].sum()) == 12 * float(one.reads[0, 0].sum())
    assert all_of_them.macs == 12 * one.macs


def test_other_makes_and_products_are_refused() -> None:
    with pytest.raises(MappingError, match="survey-machine: Gemmini's runtime maps a square weight-stationary"):
        runtime_mapping(gemm(64, 64, 64), hwmodels.load("survey-machine"))
    with pytest.raises(MappingError, match="one of each"):
        runtime_mapping(conv_operator("c", {"R": 3, "S": 3, "P": 8, "Q": 8, "C": 16, "K": 16, "N": 1}, 1), gemmini())
    levels = list(gemmini().levels)
    levels[2] = replace(levels[2], capacity_words=256)
    with pytest.raises(MappingError, match="finds no tile: half of Accumulator holds 0 x 0 blocks"):
        runtime_tiles(64, 64, 64, replace(gemmini(), levels=tuple(levels)))
    with pytest.raises(MappingError, match="half of Scratchpad has to hold 22 blocks of operands, and holds 16"):
        runtime_tiles(64, 64, 64, gemmini(256, 8))
