"""Sweeps: a batch is its rows, whatever the chunk, the map and the model's shape; a model that mixes rows is caught."""

from __future__ import annotations

import itertools
import math
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dse.batches import evaluate_points
from dse.model import StandardModel, standard_model
from dse.results import Result
from dse.space import Space, choice, grid, per_layer, uniform
from dse.sweeps import sweep
from workloads import compress
from workloads.errors import SpaceError, TechniqueError
from workloads.onnx import load_onnx
from workloads.zoo import embedded_model

POWER = {"a": 1.5, "b": 2.0}


def model(point: Any) -> dict[str, Any]:
    """Use every kind of knob."""
    layers = sum(point.bits.at(block) * (i + 1) for i, block in enumerate(point.bits.blocks))
    return {"cost": layers / point.clock ** POWER[point.device], "energy": layers * point.clock, "constant": 3.0}


SPACE = Space(device=["a", "b"], bits=per_layer(["x", "y"], [2, 4, 8]), clock=[0.5, 1.0, 2.0])


@pytest.fixture(scope="module")
def standard() -> StandardModel:
    return standard_model(load_onnx(embedded_model(), batch=1), device="t4")


def by_hand(device: str, x: float, y: float, clock: float) -> tuple[float, float]:
    return (x + 2 * y) / clock ** POWER[device], (x + 2 * y) * clock


@given(st.integers(1, 60))
def test_a_sweep_is_the_model_at_every_point_in_order_whatever_the_chunk(chunk: int) -> None:
    result = sweep(SPACE, model, chunk=chunk)
    every = list(itertools.product("ab", [2, 4, 8], [2, 4, 8], [0.5, 1.0, 2.0]))
    assert len(result) == len(every) == 54
    expected = [by_hand(*point) for point in every]
    assert np.stack([result.columns["cost"], result.columns["energy"]], axis=1) == pytest.approx(np.array(expected))
    assert (result.columns["constant"] == 3.0).all()
    assert result.to_frame()["device"].tolist() == [point[0] for point in every]


def test_the_standard_model_costs_a_batch_as_its_rows(standard: StandardModel) -> None:
    blocks = [op.block for op in compress.quantizable(standard.workloads[1])]
    space = Space(
        device=["t4", "h100-sxm"],
        activation_bits=[8, 32],
        weight_bits=per_layer(blocks, [4, 8, 16]),
        head_density=[0.5, 1.0],
        clock_scale=uniform(0.5, 1.5),
    )
    genes = space.sample(np.random.default_rng(0), 40)
    together = evaluate_points(space, standard, genes)
    alone = [evaluate_points(space, standard, genes[row : row + 1]) for row in range(40)]
    for name, values in together.items():
        assert values == pytest.approx(np.concatenate([row[name] for row in alone]), rel=1e-12)
    assert len(np.unique(together["latency_s"])) == 40


def test_numbers_that_the_model_declares_structural_split_the_batch() -> None:
    work = {batch: load_onnx(embedded_model(), batch=batch) for batch in (1, 8)}
    result = sweep(Space(weight_bits=[4, 8], batch=[1, 8]), standard_model(work, "t4"))
    flops = result.columns["flops"]
    assert flops[1] > 7 * flops[0]
    assert result.to_frame()["batch"].tolist() == [1, 8, 1, 8]


def test_a_batch_size_without_a_workload_is_refused_and_not_ignored(standard: StandardModel) -> None:
    with pytest.raises(SpaceError, match="no workload for batch 8; loaded: 1"):
        sweep(Space(batch=[1, 8]), standard)


@pytest.mark.parametrize("knob", ["clock_scale", "bandwidth_scale"])
@pytest.mark.parametrize("values", [[-1.0], [1.0, 0.0], [float("inf"), 1.0], [1e-320]])
def test_a_factor_that_no_device_could_run_at_is_refused(
    standard: StandardModel, knob: str, values: list[float]
) -> None:
    with pytest.raises(SpaceError, match=f"knob '{knob}': .* above zero"):
        sweep(Space(**{knob: values}), standard)


@pytest.mark.parametrize(
    ("knob", "value"), [("weight_bits", "a"), ("head_density", "half"), ("clock_scale", "fast"), ("device", 3)]
)
def test_a_name_where_numbers_belong_is_refused(standard: StandardModel, knob: str, value: Any) -> None:
    with pytest.raises(SpaceError, match=f"knob '{knob}': found .* it takes"):
        sweep(Space(**{knob: [value]}), standard)


def test_what_no_technique_reads_is_checked_all_the_same(standard: StandardModel) -> None:
    with pytest.raises(TechniqueError, match="activation_bits is 8"):
        sweep(Space(activation_bits=[7]), standard)
    with pytest.raises(SpaceError, match=r"'activation_bits': 8\.5 is not a whole number"):
        sweep(Space(activation_bits=[8.5]), standard)


def test_a_choice_reaches_the_model_as_the_plain_value_it_was_given() -> None:
    seen: list[Any] = []

    def branching(point: Any) -> dict[str, Any]:
        seen.append(point.batch)
        return {"cost": point.clock * (2.0 if point.batch > 1 else 1.0)}

    result = sweep(Space(batch=choice([1, 8]), clock=[1.0, 2.0]), branching)
    assert result.columns["cost"].tolist() == [1, 2, 2, 4]
    assert {type(value) for value in seen} == {int}


@pytest.mark.parametrize(
    "branch",
    [
        lambda p: 1.0 if p.clock > 1 else 2.0,
        lambda p: max(p.clock, 1.0) + p.other,
        lambda p: math.sqrt(p.clock),
        lambda p: float(p.clock) + p.other,
        lambda p: p.other if p.clock > 1 and p.device == "a" else 2 * p.other,
    ],
)
def test_a_model_that_branches_on_an_array_is_refused_with_the_knobs_name(branch: Any) -> None:
    space = Space(device=["a", "b"], other=[1.0, 2.0], clock=[0.5, 1.0, 2.0])
    with pytest.raises(SpaceError, match=r"on an array: clock\. Use numpy\.where"):
        sweep(space, lambda p: {"cost": branch(p)})


def test_a_branch_on_one_layer_names_the_per_layer_knob() -> None:
    space = Space(bits=per_layer(["x", "y"], [4, 8]), clock=[1.0, 2.0])
    with pytest.raises(SpaceError, match="on an array: bits"):
        sweep(space, lambda p: {"cost": p.clock if p.bits.at("x") > 4 else 0.0})


def test_an_error_that_is_the_models_own_passes_through() -> None:
    def broken(point: Any) -> dict[str, Any]:
        raise ValueError("no such kernel")

    with pytest.raises(ValueError, match="no such kernel"):
        sweep(Space(a=[1, 2]), broken)


@pytest.mark.parametrize("reduce", [np.sum, np.max, np.mean, lambda x: np.sort(x)[::-1]])
def test_a_model_that_mixes_rows_is_refused_with_column_and_row(reduce: Any) -> None:
    space = Space(a=grid(1, 2, 50))
    with pytest.raises(SpaceError, match=r"column 'mixed', row \d+: .* in a batch, .* alone"):
        sweep(space, lambda p: {"fine": p.a, "mixed": p.a + (reduce(p.a) if np.ndim(p.a) else p.a)})


def test_without_the_check_nobody_notices() -> None:
    mixed = sweep(Space(a=[1, 2, 3]), lambda p: {"cost": np.sum(p.a)}, check_rows=0)
    assert mixed.columns["cost"].tolist() == [6, 6, 6]


def test_columns_of_the_wrong_shape_and_models_that_return_nothing_are_refused() -> None:
    with pytest.raises(SpaceError, match=r"'cost' has shape \(3, 2\)"):
        sweep(Space(a=[1, 2, 3]), lambda p: {"cost": np.zeros((3, 2))})
    with pytest.raises(SpaceError, match="returned NoneType"):
        sweep(Space(a=[1, 2, 3]), lambda p: None)


def test_a_space_of_one_point_is_costed_as_a_batch() -> None:
    def watching(point: Any) -> dict[str, Any]:
        assert np.ndim(point.a) == 0 or len(point) == len(point.a) == 2
        return {"cost": 2 * point.a}

    result = sweep(Space(a=[3], device=["x"]), watching)
    assert result.columns["cost"].tolist() == [6.0]
    assert len(result.pareto(["cost"])) == 1


def test_a_process_pool_gives_the_same_result(standard: StandardModel) -> None:
    space = Space(weight_bits=[2, 4, 8, 16], head_density=[0.5, 1.0], clock_scale=grid(0.5, 1.5, 5))
    here = sweep(space, standard, chunk=10)
    with ProcessPoolExecutor(2) as pool:
        there = sweep(space, standard, chunk=10, map=pool.map)
    assert here.columns.keys() == there.columns.keys()
    assert all(np.array_equal(here.columns[name], there.columns[name]) for name in here.columns)


def test_progress_ends_at_the_number_of_points() -> None:
    calls: list[tuple[int, int]] = []
    sweep(SPACE, model, chunk=10, progress=lambda done, total: calls.append((done, total)))
    assert calls[-1] == (54, 54)
    assert [done for done, _ in calls] == sorted(done for done, _ in calls)


def test_a_sweep_that_would_never_end_is_refused() -> None:
    with pytest.raises(SpaceError, match=r"too large.*dse\.run"):
        sweep(Space(bits=per_layer([f"l{i}" for i in range(72)], [2, 4])), model)


def test_a_sweep_of_given_genes_costs_just_these() -> None:
    genes = np.concatenate(
        [SPACE.encode(device="b", bits=[2, 8], clock=2.0), SPACE.encode(device="a", bits=4, clock=1.0)]
    )
    assert sweep(SPACE, model, genes=genes).columns["cost"].tolist() == [18 / 4, 12.0]


def test_only_points_that_meet_the_constraints_are_kept() -> None:
    result = sweep(SPACE, model, minimize=["cost", "energy"], constraints={"energy": (None, 10.0)})
    assert 0 < len(result) < 54
    assert (result.columns["energy"] <= 10).all()
    assert (sweep(SPACE, model, genes=result.genes).columns["energy"] == result.columns["energy"]).all()


def result_of(**columns: list[float]) -> Result:
    space = Space(index=list(range(len(next(iter(columns.values()))))))
    return sweep(space, lambda p: {name: np.asarray(v)[np.asarray(p.index, int)] for name, v in columns.items()})


def test_the_front_is_sorted_and_best_and_maximised_columns_agree_with_it() -> None:
    result = result_of(time=[3, 1, 2, 2, math.inf], gain=[3, 1, 2, 1.5, 9])
    front = result.pareto(["time", "-gain"])
    assert front.columns["time"].tolist() == [1, 2, 3]
    assert front.points.index.tolist() == [1, 2, 0]
    assert result.best("time").points.index.tolist() == [1]
    assert result.best("-gain", {"time": (None, 2.5)}).points.index.tolist() == [2]


def test_questions_without_an_answer_are_refused() -> None:
    result = result_of(time=[1, 2], never=[math.inf, math.nan])
    with pytest.raises(SpaceError, match="needs columns to minimise"):
        result.pareto()
    with pytest.raises(SpaceError, match=r"no column 'tim'.*nearest: time"):
        result.pareto(["tim"])
    with pytest.raises(SpaceError, match="no point has a finite 'never'"):
        result.best("never")


def test_tables_are_written_whole_and_read_back(tmp_path: Path) -> None:
    result = sweep(SPACE, model)
    result.to_csv(tmp_path / "new" / "points.csv")
    result.to_parquet(tmp_path / "points.parquet")
    for table in (pd.read_csv(tmp_path / "new" / "points.csv"), pd.read_parquet(tmp_path / "points.parquet")):
        assert table["bits[y]"].tolist() == [point[2] for point in itertools.product("ab", [2, 4, 8], [2, 4, 8], "123")]
        assert table["cost"].to_numpy() == pytest.approx(result.columns["cost"])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["new", "points.parquet"]
