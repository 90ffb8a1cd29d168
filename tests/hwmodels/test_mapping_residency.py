"""Tensors that lie whole in a buffer: what they no longer move, what room they take, and that the mapper knows it."""

from __future__ import annotations

import random
from dataclasses import replace

import numpy as np
import pytest

import hwmodels
from hwmodels.mapping import evaluate, search
from hwmodels.mapping.cases import gemm_operator
from hwmodels.mapping.mapper.memo import Memo
from hwmodels.spatial import REFERENCE, ROLES, SILICON, Accelerator, Conventions
from tests.hwmodels import brute_force
from workloads.errors import MappingError
from workloads.operator import Operator

GEMM = gemm_operator("product", {"M": 64, "N": 96, "K": 32})


def with_outlet() -> Accelerator:
    """Give Gemmini with a scratchpad that finished outputs can be written into."""
    gemmini = hwmodels.load("gemmini")
    levels = [replace(level, takes_outputs=level.name == "Scratchpad") for level in gemmini.levels]
    return replace(gemmini, levels=tuple(levels))


@pytest.mark.parametrize("rules", [REFERENCE, SILICON], ids=lambda rules: rules.name)
@pytest.mark.parametrize("role", ["W", "I"])
def test_an_input_on_chip_spares_its_reads_outside_and_its_fills(role: str, rules: Conventions) -> None:
    device = replace(with_outlet(), static_w=0.0)
    mapping = search(GEMM, device, "energy", conventions=rules).mapping
    before = evaluate(GEMM, device, mapping, rules)
    after = evaluate(GEMM, device, mapping, rules, resident={role: "Scratchpad"})
    column, dram, pad = ROLES.index(role), device.levels[0], device.levels[1]
    spared = before.reads[0, 0, column] * dram.read_j + before.fills[0, 1, column] * pad.write_j
    assert before.energy_j[0] - after.energy_j[0] == pytest.approx(float(spared), rel=1e-9)
    assert after.cycles[0] <= before.cycles[0]
    assert after.tile_words[0, 1, column] == 0.0
    assert after.usable_words[1] < before.usable_words[1]


def test_finished_outputs_go_where_they_are_to_lie() -> None:
    device = replace(with_outlet(), static_w=0.0)
    mapping = search(GEMM, device, "energy").mapping
    before, after = (evaluate(GEMM, device, mapping, resident=home) for home in ({}, {"O": "Scratchpad"}))
    outputs = 64 * 96  # of 8 bit
    dram, pad = device.levels[0], device.levels[1]
    assert before.energy_j[0] - after.energy_j[0] == pytest.approx(outputs * (dram.write_j - pad.write_j), rel=1e-9)
    kept = evaluate(GEMM, device, mapping, resident={"O": "Accumulator"})
    assert before.energy_j[0] - kept.energy_j[0] == pytest.approx(outputs * dram.write_j, rel=1e-9)


@pytest.mark.slow
@pytest.mark.parametrize("rules", [REFERENCE, SILICON], ids=lambda rules: rules.name)
def test_the_mapper_finds_the_best_of_all_mappings_with_homes(rules: Conventions) -> None:
    checked = proven = 0
    for seed in range(400):
        operator, accelerator, resident = _tiny(seed, rules)
        if not resident or brute_force.structures(operator, accelerator, rules) > 120:
            continue
        costs = _every_cost(operator, accelerator, rules, resident)
        for objective, values in (("edp", costs.prod(axis=1)), ("energy", costs[:, 0]), ("latency", costs[:, 1])):
            if not np.isfinite(values).any():
                continue
            best = values[np.isfinite(values)].min()
            found = search(operator, accelerator, objective, conventions=rules, resident=resident)  # type: ignore[arg-type]
            assert found.value >= best * (1 - 1e-9), (seed, objective)
            assert found.lower_bound <= best * (1 + 1e-9), (seed, objective)
            assert found.gap > 0.0 or found.value == pytest.approx(best, rel=1e-9), (seed, objective)
            proven += found.gap == 0.0
            checked += 1
        if checked >= 36:
            break
    assert checked >= 36
    assert proven >= 0.8 * checked


def _tiny(seed: int, rules: Conventions) -> tuple[Operator, Accelerator, dict[str, str]]:
    """Draw an operator, an accelerator with room, and homes that this has for its tensors."""
    operator, accelerator = brute_force.tiny(seed, rules)
    draw = random.Random(seed)
    levels = [accelerator.levels[0]]
    for level in accelerator.levels[1:]:
        capacity = None if level.capacity_words is None else level.capacity_words + 200
        levels.append(replace(level, capacity_words=capacity, takes_outputs="O" not in level.keeps))
    accelerator = replace(accelerator, levels=tuple(levels))
    resident: dict[str, str] = {}
    for role in ROLES:
        homes = [
            level.name
            for place, level in enumerate(levels)
            if place
            and accelerator.instances(place) == 1
            and (role in level.keeps or _outlet(accelerator, role, place))
        ]
        if homes and draw.random() < 0.5:
            resident[role] = draw.choice(homes)
    return operator, accelerator, resident


def _outlet(accelerator: Accelerator, role: str, place: int) -> bool:
    inner = [at for at, level in enumerate(accelerator.levels) if at and "O" in level.keeps]
    return role == "O" and all(at > place for at in inner)


def _every_cost(
    operator: Operator, accelerator: Accelerator, rules: Conventions, resident: dict[str, str]
) -> np.ndarray:
    homes = [(role, accelerator.level_index(name)) for role, name in resident.items()]
    costs = []
    for batch in brute_force.every_batch(operator, accelerator, rules):
        keeps = batch.structure.keeps
        if any(role in accelerator.levels[at].keeps and role not in keeps[at] for role, at in homes):
            continue
        cost = evaluate(operator, accelerator, batch, rules, resident=resident)
        costs.append(np.stack([cost.energy_j, cost.cycles], axis=1))
    return np.concatenate(costs)


@pytest.mark.parametrize(
    ("resident", "says"),
    [
        ({"W": "DRAM"}, "outermost"),
        ({"W": "WReg"}, "single one"),
        ({"I": "Accumulator"}, "it keeps O"),
        ({"X": "Scratchpad"}, "W, I or O"),
        ({"I": "Scratchpat"}, "nearest: Scratchpad"),
    ],
)
def test_what_is_no_home_is_refused(resident: dict[str, str], says: str) -> None:
    with pytest.raises(MappingError, match=says):
        search(GEMM, hwmodels.load("gemmini"), resident=resident)


def test_a_tensor_without_room_is_refused_with_its_size() -> None:
    large = gemm_operator("large", {"M": 1024, "N": 64, "K": 1024})
    with pytest.raises(MappingError, match="1,048,576 words"):
        search(large, hwmodels.load("gemmini"), resident={"I": "Scratchpad"})


def test_a_memo_tells_homes_apart(tmp_path: object) -> None:
    from pathlib import Path

    memo = Memo(Path(str(tmp_path)))
    device = with_outlet()
    plain = memo.search(GEMM, device)
    at_home = memo.search(GEMM, device, resident={"I": "Scratchpad"})
    assert at_home.value < plain.value
    again = Memo(Path(str(tmp_path)))
    assert again.search(GEMM, device, resident={"I": "Scratchpad"}).value == at_home.value
    assert again.hits == 1
