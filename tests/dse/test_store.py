"""Run directories: what was costed is never costed again, and never mixed with what is something else."""

from __future__ import annotations

import tomllib
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dse.digests import digest_of
from dse.model import standard_model
from dse.results import Result
from dse.running import run
from dse.search import nsga2, random_search
from dse.search.protocol import Search
from dse.space import Space, per_layer, uniform
from dse.sweeps import sweep
from workloads.errors import SpaceError, StoreError
from workloads.onnx import load_onnx
from workloads.zoo import embedded_model

SPACE = Space(device=["a", 'b "quoted"\n'], bits=per_layer(["x", "y"], [2, 4, 8]), clock=uniform(0.5, 2.0))
MINIMIZE = ("time", "energy")


def model(point: Any) -> dict[str, Any]:
    bits = point.bits.at("x") + 3 * point.bits.at("y")
    return {"time": bits / point.clock, "energy": bits * point.clock**2, "gene[0]s": 1.0}


class CrashError(Exception):
    """What kills the model in the middle."""


class Counting:
    """The model above, which counts its calls and dies after some. Its digest does not depend on either."""

    def __init__(self, deadline: int = 10**9) -> None:
        self.calls, self.deadline = 0, deadline

    def digest(self) -> str:
        return "same"

    def __call__(self, point: Any) -> dict[str, Any]:
        self.calls += 1
        if self.calls > self.deadline:
            raise CrashError
        return model(point)


def evolved(store: Path | None, cost: Any = None, budget: int = 200, space: Space = SPACE, **changed: Any) -> Result:
    cost = cost or Counting()
    seed, population = changed.pop("seed", 0), changed.pop("population", 16)
    search = nsga2(space, rng=np.random.default_rng(seed), population=population)
    return run(search, cost, budget=budget, store=store, **{"minimize": MINIMIZE, **changed})


def assert_same(first: Result, second: Result) -> None:
    assert np.array_equal(first.genes, second.genes)
    assert first.columns.keys() == second.columns.keys()
    assert all(np.array_equal(first.columns[name], second.columns[name]) for name in first.columns)


def test_a_stored_run_is_the_run_without_a_store_and_is_answered_without_the_model(tmp_path: Path) -> None:
    first, again = Counting(), Counting()
    stored = evolved(tmp_path / "run", first)
    assert_same(stored, evolved(None))
    assert_same(stored, evolved(tmp_path / "run", again))
    assert first.calls > 0 == again.calls


@pytest.mark.parametrize("deadline", [0, 1, 7, 12])
def test_a_run_that_is_killed_in_the_middle_ends_with_the_identical_result(tmp_path: Path, deadline: int) -> None:
    whole = Counting()
    expected = evolved(None, whole)
    with pytest.raises(CrashError):
        evolved(tmp_path, Counting(deadline))
    rest = Counting()
    assert_same(expected, evolved(tmp_path, rest))
    assert rest.calls <= whole.calls
    if deadline == 12:
        assert rest.calls < whole.calls - 6


def test_a_larger_budget_goes_on_where_the_run_ended_and_a_smaller_one_takes_its_beginning(tmp_path: Path) -> None:
    evolved(tmp_path, budget=100)
    assert_same(evolved(tmp_path, budget=150), evolved(None, budget=150))
    assert_same(evolved(tmp_path, budget=37), evolved(None, budget=37))
    again = Counting()
    assert_same(evolved(tmp_path, again, budget=150), evolved(None, budget=150))
    assert again.calls == 0  # the smaller budget took nothing away


def test_a_half_written_part_is_ignored(tmp_path: Path) -> None:
    evolved(tmp_path, budget=100)
    parts = sorted(tmp_path.glob("part-*.parquet"))
    last = parts[-1].read_bytes()
    parts[-1].rename(tmp_path / f".{parts[-1].stem}.0123.parquet")
    (tmp_path / f".{parts[-1].stem}.0123.parquet").write_bytes(last[: len(last) // 2])
    assert_same(evolved(tmp_path, budget=100), evolved(None, budget=100))


def test_a_damaged_part_is_named(tmp_path: Path) -> None:
    evolved(tmp_path)
    part = tmp_path / "part-000001.parquet"
    part.write_bytes(part.read_bytes()[:-20])
    with pytest.raises(StoreError, match=r"part-000001\.parquet is damaged.*remove it"):
        evolved(tmp_path)


def other_model(point: Any) -> dict[str, Any]:
    return {name: 2 * value for name, value in model(point).items()}


@pytest.mark.parametrize(
    ("changed", "field"),
    [
        ({"seed": 1}, "seed was"),
        ({"population": 32}, r"settings\.population was 16 and is now 32"),
        ({"minimize": ("time",)}, r"minimize was \['time', 'energy'\] and is now \['time'\]"),
        ({"constraints": {"time": (None, 5.0)}}, r"constraints\.time was absent and is now \{'high': 5\.0\}"),
        ({"cost": other_model}, r"model\.digest was"),
        (
            {"space": Space(device=["a"], bits=per_layer(["x", "y"], [2, 4, 8]), clock=uniform(0.5, 2.0))},
            r"space\.device was",
        ),
        (
            {"space": Space(device=["a", 'b "quoted"\n'], bits=per_layer(["x", "y"], [2, 4]), clock=uniform(0.5, 2))},
            r"space\.bits\.values was \[2, 4, 8\] and is now \[2, 4\]",
        ),
        (
            {
                "space": Space(
                    bits=per_layer(["x", "y"], [2, 4, 8]), device=["a", 'b "quoted"\n'], clock=uniform(0.5, 2)
                )
            },
            "space_digest was",
        ),
    ],
)
def test_another_run_is_refused_naming_the_field_that_changed(
    tmp_path: Path, changed: dict[str, Any], field: str
) -> None:
    evolved(tmp_path)
    with pytest.raises(StoreError, match=f"holds another run: {field}"):
        evolved(tmp_path, **changed)


def test_a_search_that_proposes_other_points_under_the_same_name_is_noticed(tmp_path: Path) -> None:
    def proposing(x: float) -> Search:
        def proposals() -> Any:
            yield np.array([[0, 0, 0, x]])

        return Search("own", SPACE, proposals())

    run(proposing(0.5), model, budget=5, minimize=MINIMIZE, store=tmp_path)
    with pytest.raises(StoreError, match="other points than stored part 0"):
        run(proposing(0.6), model, budget=5, minimize=MINIMIZE, store=tmp_path)


def test_run_toml_says_what_was_run_with_which_versions_from_which_sources(tmp_path: Path) -> None:
    standard = standard_model(load_onnx(embedded_model(), batch=1), device="t4")
    space = Space(device=["t4", "h100-sxm"], weight_bits=[4, 8])
    search = random_search(space, rng=np.random.default_rng(3))
    run(search, standard, budget=10, minimize=["latency_s"], constraints={"energy_j": (0, 1)}, store=tmp_path)
    written = tomllib.loads((tmp_path / "run.toml").read_text())
    assert written["search"] == "random"
    assert written["space"] == {"device": ["t4", "h100-sxm"], "weight_bits": [4, 8]}
    assert written["constraints"] == {"energy_j": {"low": 0, "high": 1}}
    assert written["versions"]["numpy"] == np.__version__
    assert written["workloads"] == {"1": standard.workloads[1].digest()}
    assert written["devices"].keys() == written["sources"].keys() == {"t4", "h100-sxm"}
    assert all(all(group.values()) for group in written["sources"].values())


def test_parts_without_their_run_file_and_unreadable_run_files_are_refused(tmp_path: Path) -> None:
    evolved(tmp_path)
    (tmp_path / "run.toml").write_text("seed = ")
    with pytest.raises(StoreError, match=r"run\.toml is damaged"):
        evolved(tmp_path)
    (tmp_path / "run.toml").unlink()
    with pytest.raises(StoreError, match=r"parts but no run\.toml"):
        evolved(tmp_path)


def test_a_stored_sweep_is_the_sweep_and_survives_a_crash(tmp_path: Path) -> None:
    space = Space(device=["a", "b"], bits=per_layer(["x", "y"], [2, 4, 8]), clock=[0.5, 1.0, 2.0])
    plain = sweep(space, model, minimize=MINIMIZE, constraints={"time": (None, 10.0)})
    with pytest.raises(CrashError):
        sweep(space, Counting(3), store=tmp_path, chunk=8, minimize=MINIMIZE)
    stored = partial(sweep, space, store=tmp_path, chunk=8, minimize=MINIMIZE, constraints={"time": (None, 10.0)})
    assert_same(plain, stored(Counting()))
    again = Counting()
    assert_same(plain, stored(again))
    assert again.calls == 0
    with pytest.raises(SpaceError, match="given genes"):
        stored(model, genes=plain.genes)


def made(factor: float) -> Callable[[Any], Any]:
    return lambda point: factor * point.x


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (made(2.0), made(3.0)),
        (partial(made, 2.0), partial(made, 3.0)),
        (lambda p: p.x, lambda p: p.y),
        (lambda p: [q + 1 for q in p], lambda p: [q + 2 for q in p]),
        (np.array([1.0, 2.0]), np.array([1.0, 3.0])),
        ({"a": 1}, {"b": 1}),
        (["ab", "c"], ["a", "bc"]),
    ],
)
def test_a_digest_changes_with_code_captured_values_and_data(one: Any, other: Any) -> None:
    assert digest_of(one) == digest_of(one) != digest_of(other)
