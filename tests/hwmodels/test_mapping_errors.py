"""An invalid mapping is refused with what is wrong, where, and what would be right."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

import hwmodels
from hwmodels.mapping import ROLES, LevelMapping, Loop, Mapping, MappingBatch, Slot, Structure, evaluate, from_factors
from hwmodels.mapping.cases import conv_operator, gemm_operator
from workloads.errors import MappingError
from workloads.operator import Operator, Tensor, axis

GEMM = gemm_operator("gemm", {"M": 32, "N": 16, "K": 16})
GEMMINI = hwmodels.load("gemmini")


def nest(**changes: LevelMapping) -> Mapping:
    """A valid mapping on gemmini, with some levels changed."""
    levels = {
        "DRAM": LevelMapping("DRAM", ROLES),
        "Scratchpad": LevelMapping("Scratchpad", ("W", "I"), (Loop("M", 16),)),
        "Accumulator": LevelMapping("Accumulator", ("O",), (Loop("M", 1),), (Loop("N", 1, "X"), Loop("K", 1, "Y"))),
        "WReg": LevelMapping("WReg", ("W",)),
    }
    return Mapping(tuple((levels | changes).values()))


def refused(mapping: Mapping, operator: Operator = GEMM, **options: Any) -> str:
    with pytest.raises(MappingError) as caught:
        evaluate(operator, GEMMINI, mapping, **options)
    return str(caught.value)


def test_the_mapping_itself_is_valid() -> None:
    assert evaluate(GEMM, GEMMINI, nest()).fits[0]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"WReg": LevelMapping("WRegs", ("W",))}, "gemmini: unknown level 'WRegs'; nearest: WReg"),
        ({"WReg": LevelMapping("DRAM", ROLES)}, "give every level once, outermost first: DRAM, Scratchpad, Acc"),
        ({"DRAM": LevelMapping("DRAM", ("W", "I"))}, "the outermost level DRAM has to keep O"),
        ({"WReg": LevelMapping("WReg", ("W", "O"))}, "level WReg cannot keep O; it keeps W"),
        ({"DRAM": LevelMapping("DRAM", ROLES, (Loop("Z", 1),))}, "gemm has no dim 'Z'; known: K, M, N"),
        ({"DRAM": LevelMapping("DRAM", ROLES, (Loop("M", 0),))}, "over M at DRAM has step 0; a step is at least 1"),
        ({"DRAM": LevelMapping("DRAM", ROLES, (Loop("M", 8),))},
         "a loop over M at Scratchpad has step 16, more than the piece of 8 that it walks"),
        ({"Accumulator": LevelMapping("Accumulator", ("O",), (), (Loop("N", 1, "X"), Loop("K", 1, "Y")))},
         "gemm: the loops over M end in pieces of 16, but a MAC takes one; add a loop with step 1"),
        ({"Accumulator": LevelMapping("Accumulator", ("O",), (Loop("M", 1), Loop("K", 1)), (Loop("N", 1, "Z"),))},
         "level Accumulator: no mesh axis 'Z' below it; known: X, Y"),
        ({"Scratchpad": LevelMapping("Scratchpad", ("W", "I"), (Loop("M", 16),), (Loop("N", 8, "X"),))},
         "level Scratchpad: no mesh axis 'X' below it; known: (none)"),
        ({"Accumulator": LevelMapping("Accumulator", ("O",), (Loop("M", 1),), (Loop("K", 1, "X"), Loop("N", 1, "Y")))},
         "mesh axis X below Accumulator cannot unroll dim 'K' of gemm: it can multicast or reduce only I and "),
        ({"Accumulator": LevelMapping("Accumulator", ("O",), (Loop("M", 1),), (Loop("K", 1, "X"), Loop("N", 1, "Y")))},
         "only W, O; it unrolls N (relaxed=True counts it all the same)"),
    ],
)  # fmt: skip
def test_each_fault_is_named(changes: dict[str, LevelMapping], message: str) -> None:
    assert message in refused(nest(**changes))


def test_more_instances_than_an_axis_has_are_refused() -> None:
    wide = gemm_operator("wide", {"M": 32, "N": 20, "K": 16})
    assert refused(nest(), wide) == "mesh axis X below Accumulator has 16 instances; the spatial loops ask for 20"


def test_relaxed_counts_what_the_mesh_cannot_wire() -> None:
    swapped = LevelMapping("Accumulator", ("O",), (Loop("M", 1),), (Loop("K", 1, "X"), Loop("N", 1, "Y")))
    assert evaluate(GEMM, GEMMINI, nest(Accumulator=swapped), relaxed=True).cycles[0] > 0


@pytest.mark.parametrize(
    ("level", "changes"),
    [
        ("Scratchpad", {"Scratchpad": LevelMapping("Scratchpad", ("I",), (Loop("M", 16),))}),
        ("WReg", {"WReg": LevelMapping("WReg", ())}),
    ],
)
def test_a_tensor_that_goes_past_a_level_which_silicon_leads_it_through_is_refused(
    level: str, changes: dict[str, LevelMapping]
) -> None:
    kept = {"Scratchpad": "W, I", "WReg": "W"}[level]
    assert refused(nest(**changes)) == (
        f"W cannot bypass level {level} of gemmini: its data path leads through it, no tensor that it can keep may; "
        f"let {level} keep {kept} (relaxed=True counts it all the same)"
    )
    assert evaluate(GEMM, GEMMINI, nest(**changes), relaxed=True).fits[0]


def test_a_tensor_may_go_past_a_level_that_allows_it() -> None:
    levels = list(GEMMINI.levels)
    levels[1] = replace(levels[1], bypass=("I",))
    device = replace(GEMMINI, levels=tuple(levels))
    without = {role: nest(Scratchpad=LevelMapping("Scratchpad", (role,), (Loop("M", 16),))) for role in ("W", "I")}
    assert evaluate(GEMM, device, without["W"]).reads[0, 1].tolist() == [16 * 16, 0, 0]
    with pytest.raises(MappingError, match=r"W cannot bypass level Scratchpad of gemmini: .*, only I may; let"):
        evaluate(GEMM, device, without["I"])
    levels[1] = replace(levels[1], bypass=None)
    assert evaluate(GEMM, replace(GEMMINI, levels=tuple(levels)), without["I"]).fits[0]


def test_the_bad_row_of_a_batch_is_named() -> None:
    batch = nest().batch()
    steps = np.repeat(batch.steps, 3, axis=0)
    steps[1, 0] = 40
    with pytest.raises(MappingError, match=r"step 40, more than the piece of 32 that it walks \(mapping 1 of 3\)"):
        evaluate(GEMM, GEMMINI, MappingBatch(batch.structure, steps))
    with pytest.raises(MappingError, match=r"steps have shape \(3, 2\); give \(n_mappings, 4\)"):
        evaluate(GEMM, GEMMINI, MappingBatch(batch.structure, steps[:, :2]))


def test_no_mapping_at_all_is_refused() -> None:
    with pytest.raises(MappingError, match="gemm: no mapping to evaluate"):
        evaluate(GEMM, GEMMINI, [])


def test_a_row_that_does_not_fit_leaves_the_others_alone() -> None:
    big = gemm_operator("big", {"M": 1024, "N": 16, "K": 1024})
    structure = Structure(
        ("DRAM", "Scratchpad", "Accumulator", "WReg"),
        (ROLES, ("W", "I"), ("O",), ("W",)),
        (Slot(0, "M"), Slot(2, "K"), Slot(2, "M"), Slot(2, "N", "X"), Slot(2, "K", "Y")),
    )
    steps = np.array([[1024, 16, 1, 1, 1], [64, 16, 1, 1, 1]])
    found = evaluate(big, GEMMINI, MappingBatch(structure, steps))
    assert found.fits.tolist() == [False, True]
    assert np.isfinite(found.energy_j).tolist() == np.isfinite(found.cycles).tolist() == [False, True]
    found.require_fit(1)
    with pytest.raises(MappingError, match=r"level Scratchpad has room for 131,072 words, the tiles need 1\.06"):
        found.require_fit(0)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"inputs": GEMM.inputs[:1]}, "has 1 inputs and 1 outputs; only a product of two tensors with one output"),
        ({"dims": {"M": np.array([1, 2]), "N": 2, "K": 2}}, "a batch of design points cannot be mapped"),
        ({"dims": {"M": 32, "N": 16, "K": 16, "Z": 2}}, "dim 'Z' indexes no tensor"),
        ({"inputs": (*GEMM.inputs, Tensor(name="scale", axes=(axis("K"),)))},
         "input 'scale' is a third factor of the product; only two can be mapped"),
        ({"inputs": (Tensor(name="diagonal", axes=(axis("M"), axis("M"), axis("K"))), GEMM.inputs[1])},
         "dim 'M' indexes two axes of 'diagonal'; its tiles are no boxes and cannot be mapped"),
    ],
)  # fmt: skip
def test_an_operator_that_is_no_product_is_refused(change: dict[str, Any], message: str) -> None:
    assert message in refused(nest(), replace(GEMM, **change))


def test_factors_that_do_not_cover_a_dim_are_refused() -> None:
    level: Any = ("DRAM", ROLES, [("M", 4)], {})
    with pytest.raises(MappingError, match="the factors of dim 'M' multiply to 4, but it has 5; cover it all"):
        from_factors([level], {"M": 5})
    with pytest.raises(MappingError, match="the operator has no dim 'Z'; it has M"):
        from_factors([("DRAM", ROLES, [("Z", 4)], {})], {"M": 5})
    with pytest.raises(MappingError, match="factor 0 of dim 'M' is not a positive whole number"):
        from_factors([("DRAM", ROLES, [("M", 0)], {})], {"M": 5})


def test_depthwise_and_grouped_convolutions_map_without_a_special_case() -> None:
    """A dim that indexes all three tensors stays out of the mesh of gemmini."""
    sizes = {"R": 3, "S": 3, "P": 4, "Q": 4, "C": 1, "K": 1, "N": 1}
    dense = conv_operator("dense", sizes)
    tensors = {tensor.name: tensor for tensor in (*dense.inputs, *dense.outputs)}
    grouped = {name: replace(tensors[name], axes=(axis("G"), *tensors[name].axes[1:])) for name in ("I", "O")}
    weight = replace(tensors["W"], axes=(axis("G"), *tensors["W"].axes[2:]))
    operator = replace(dense, dims={"G": 8, **sizes}, inputs=(grouped["I"], weight), outputs=(grouped["O"],))
    loops = [Loop("G", 1), Loop("Q", 1), Loop("P", 1)]
    mapping = Mapping((
        LevelMapping("DRAM", ROLES), LevelMapping("Scratchpad", ("W", "I")),
        LevelMapping("Accumulator", ("O",), tuple(loops), (Loop("R", 1, "Y"), Loop("S", 1, "Y"))),
        LevelMapping("WReg", ("W",)),
    ))  # fmt: skip
    found = evaluate(operator, GEMMINI, mapping)
    assert found.macs == 8 * 9 * 16
    assert found.compute_cycles[0] == 8 * 16
    assert found.reads[0, 0].tolist() == [8 * 9, 8 * 36, 0]
    moved = replace(
        mapping.levels[2], temporal=tuple(loops[1:]), spatial=(Loop("G", 1, "X"), *mapping.levels[2].spatial)
    )
    assert "cannot unroll dim 'G'" in refused(Mapping((*mapping.levels[:2], moved, mapping.levels[3])), operator)
