"""The survey's case study comes out of the model in orders and trends: the host, integer units, buffers, lengths."""

from __future__ import annotations

import csv
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import matplotlib.figure
import pytest

import hwmodels
from dse import plots
from hwmodels import resized
from hwmodels.energy.pricing import price
from hwmodels.machines import MachineRun, run
from hwmodels.machines.kinds import KINDS, seconds_by_kind
from hwmodels.machines.rows import vector_units
from hwmodels.mapping import evaluate, problem_on, search
from hwmodels.mapping.cases import gemm_operator
from hwmodels.mapping.mapper.memo import Memo
from hwmodels.mapping.runtime_tiles import runtime_mapping
from hwmodels.spatial import Accelerator
from workloads import SpaceError, survey, zoo
from workloads.operator import Operator
from workloads.workload import Workload

SURVEY = Path(__file__).parents[1] / "golden" / "reference" / "survey"


def printed(name: str) -> list[dict[str, str]]:
    with (SURVEY / f"{name}.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def stated(quantity: str) -> float:
    return next(float(row["value"]) for row in printed("gemmini_case_study") if row["quantity"] == quantity)


def device(name: str) -> Accelerator:
    found = hwmodels.load(name)
    assert isinstance(found, Accelerator)
    return found


def bert(tokens: int, name: str = "BERT-Base", layers: int = 1) -> Workload:
    """Give layers of an encoder: all of them take the same."""
    arch = survey.architecture(name)
    config = {
        "model_type": "bert", "hidden_size": arch.d_model, "num_hidden_layers": layers,
        "num_attention_heads": arch.heads, "intermediate_size": arch.d_ff, "max_position_embeddings": 4096,
        "vocab_size": 30522, "type_vocab_size": 2, "hidden_act": "gelu",
    }  # fmt: skip
    return zoo.architecture(config, seq=tokens)


def latency_run(work: Workload, machine: Accelerator) -> MachineRun:
    """Run a network as the survey does: nothing stays on chip. Perfect factors alone: quick, and enough for orders."""
    memo = Memo()
    return run(work, machine, "latency", find=lambda op, on, homes: memo.search(op, on, "latency"), keep=False)


@pytest.fixture(scope="module")
def runs() -> dict[str, MachineRun]:
    """Run two layers of BERT-Base at 512 tokens on the baseline, with each change alone, and with both."""
    base, both = device("gemmini"), device("gemmini-ibert")
    machines = {
        "baseline": base,
        "units": replace(base, engines=both.engines),
        "buffers": replace(both, engines=base.engines),
        "both": both,
    }
    work = bert(512, layers=2)
    return {name: latency_run(work, machine) for name, machine in machines.items()}


# ---------------------------------------------------------------------------------------------------------------------
# Where the time goes


def test_nine_tenths_of_a_bert_on_the_baseline_are_no_product(runs: dict[str, MachineRun]) -> None:
    """Section 3.4.2: 96 %."""
    seconds = seconds_by_kind(runs["baseline"])
    beyond = 1 - seconds["product"] / sum(seconds.values())
    assert beyond == pytest.approx(stated("baseline_time_share_non_matmul") / 100, abs=0.03)
    for kind in ("softmax", "gelu", "conversion"):  # each alone takes longer than all products
        assert seconds[kind] > seconds["product"]


def test_integer_units_make_a_bert_tens_of_times_as_fast_and_buffers_do_not(runs: dict[str, MachineRun]) -> None:
    """Section 3.4.4: 39.6x with both."""
    gain = {name: runs["baseline"].latency_s / found.latency_s for name, found in runs.items()}
    assert 0.5 < gain["both"] / stated("end_to_end_latency_improvement_ibert_plus_resizing") < 2
    assert gain["units"] > 0.9 * gain["both"]
    assert gain["buffers"] < 1.1


def test_what_is_no_product_costs_a_tenth_once_there_are_units(runs: dict[str, MachineRun]) -> None:
    """Section 3.4.4: 8 % of latency, 14 % of area."""
    seconds = seconds_by_kind(runs["both"])
    assert seconds["conversion"] == 0
    assert 0.5 < (sum(seconds.values()) / seconds["product"] - 1) / (stated("latency_overhead_nonlinear") / 100) < 2
    machine = device("gemmini-ibert")
    bill = price(machine, vector_units=vector_units(machine))
    area = float(bill.component("Non-linear unit").area_mm2.value)
    overhead = area / (float(bill.area_mm2.value) - area)
    assert 0.5 < overhead / (stated("area_overhead_normalizer_and_activation_units") / 100) < 2


def test_kinds_add_up_and_the_mask_counts_as_softmax(runs: dict[str, MachineRun]) -> None:
    for found in runs.values():
        seconds = seconds_by_kind(found)
        assert tuple(seconds) == KINDS
        assert sum(seconds.values()) == pytest.approx(sum(one.latency_s * one.task.executions for one in found.costs))
    layers, tokens, d, heads, clock = 2, 512, 768, 12, 1e9
    seconds, host = seconds_by_kind(runs["baseline"]), device("gemmini").engines[0]
    sums = layers * 2 + 2  # and three embeddings
    assert seconds["add"] == pytest.approx(sums * tokens * d * host.cycles["add"] / clock)
    cycles = host.cycles["add"] + host.cycles["softmax"]
    assert seconds["softmax"] == pytest.approx(layers * heads * tokens**2 * cycles / clock)


def test_a_cnn_waits_less_for_its_host_than_a_bert(runs: dict[str, MachineRun]) -> None:
    """With the adds and pools that Gemmini does itself, nine tenths of a ResNet are products (here ResNet-18)."""
    base = device("gemmini")
    mover = replace(
        base.engines[0], name="Mover", kind="vector", level="Accumulator", lanes=16, converts=False,
        cycles={"add": 1, "max": 1, "relu": 1},
    )  # fmt: skip
    found = latency_run(zoo.architecture("resnet-18"), replace(base, engines=(mover, *base.engines)))
    seconds = seconds_by_kind(found)
    assert seconds["product"] > 0.85 * sum(seconds.values())
    assert found.utilization > 10 * runs["baseline"].utilization


# ---------------------------------------------------------------------------------------------------------------------
# Buffers


def with_buffers(accumulator_kb: int, scratchpad_kb: int, gb_per_s: float) -> Accelerator:
    return resized(
        device("gemmini"),
        capacity={"Scratchpad": f"{scratchpad_kb} KiB", "Accumulator": f"{accumulator_kb} KiB"},
        bandwidth={"DRAM": gb_per_s * 1e9},
    )


def runtime_use(operator: Operator, machine: Accelerator) -> float:
    problem = problem_on(operator, machine, machine.conventions)
    cost = evaluate(problem, machine, runtime_mapping(operator, machine), machine.conventions)
    return float(cost.utilization[0])


def best_use(operator: Operator, machine: Accelerator) -> float:
    return float(search(operator, machine, "latency").cost.utilization[0])


PROJECTION = gemm_operator("projection", {"M": 512, "N": 768, "K": 768})


@pytest.mark.parametrize(("use", "rate"), [(runtime_use, 6), (best_use, 4)])
def test_accumulators_matter_more_than_scratchpads_where_memory_binds(
    use: Callable[[Operator, Accelerator], float], rate: float
) -> None:
    """Fig. 13: 25 points from 64 to 128 kB of accumulator, 5 from 64 to 128 kB of scratchpad; then nothing."""
    found = {pair: use(PROJECTION, with_buffers(*pair, rate)) for pair in ((64, 64), (64, 128), (128, 64), (256, 64))}
    accumulator, scratchpad = found[128, 64] - found[64, 64], found[64, 128] - found[64, 64]
    assert accumulator > 0.15
    assert accumulator > 1.3 * scratchpad
    assert abs(found[256, 64] - found[128, 64]) < accumulator / 3


def test_the_runtime_gains_nothing_from_a_large_scratchpad_and_the_best_mapping_does() -> None:
    """Fig. 13 has 66, 71, 69 % over scratchpads; the rows of the runtime's mappings are as flat."""
    machines = [with_buffers(64, scratchpad, 4) for scratchpad in (64, 128, 256)]
    flat, rising = ([use(PROJECTION, machine) for machine in machines] for use in (runtime_use, best_use))
    assert max(flat) - min(flat) < 0.05
    assert rising[2] - rising[0] > 0.2
    assert all(best >= picked for best, picked in zip(rising, flat, strict=True))


def test_no_buffer_is_too_small_for_a_memory_that_always_delivers() -> None:
    """What the stated 16 GB/s cannot give: the printed 66 to 91 %."""
    assert all(
        runtime_use(PROJECTION, with_buffers(accumulator, scratchpad, 16)) > 0.97
        for accumulator in (64, 128, 256)
        for scratchpad in (64, 128, 256)
    )


# ---------------------------------------------------------------------------------------------------------------------
# Lengths


def test_latency_grows_over_the_length_as_printed() -> None:
    """Fig. 32: one layer of each encoder, times its layers, within a quarter of the printed ratios, in their order."""
    machine = device("survey-machine")
    ours, theirs = {}, {}
    for row in printed("end_to_end_scaling"):
        name, tokens = row["model"], int(row["seq_len"])
        if row["quantity"] != "fig32_analytic_normalized_latency" or name == "GPT-2" or tokens not in (128, 512, 4096):
            continue
        layers = survey.architecture(name).layers
        ours[name, tokens] = layers * latency_run(bert(tokens, name), machine).latency_s
        theirs[name, tokens] = float(row["value"])
    first = ours["BERT-Base", 128]
    for key, value in theirs.items():
        assert ours[key] / first == pytest.approx(value, rel=0.25)
    assert sorted(ours, key=lambda key: ours[key]) == sorted(theirs, key=lambda key: theirs[key])
    assert ours["BERT-Base", 4096] / ours["BERT-Base", 512] > 8 * 1.5  # more than linear


# ---------------------------------------------------------------------------------------------------------------------
# Figures


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Keep every figure that is saved."""
    figures: list[Any] = []
    save = matplotlib.figure.Figure.savefig

    def keep(figure: Any, *arguments: Any, **options: Any) -> None:
        figures.append(figure)
        save(figure, *arguments, **options)

    monkeypatch.setattr(matplotlib.figure.Figure, "savefig", keep)
    return figures


def test_bars_are_as_long_as_the_shares(tmp_path: Path, drawn: list[Any]) -> None:
    shares = {"a": {"matmul": 30.0, "softmax": 60.0, "other": 10.0}, "b": {"matmul": 75.0, "softmax": 25.0}}
    path = plots.time_shares(tmp_path / "shares.png", shares, {"b": {"matmul + softmax": 90.0}})
    assert path.is_file()
    (axes,) = drawn[0].axes
    assert [label.get_text() for label in axes.get_yticklabels()] == ["a", "b", "b, printed"]
    widths: dict[int, list[float]] = {}
    for bar in axes.patches:
        widths.setdefault(round(bar.get_y() + bar.get_height() / 2), []).append(bar.get_width())
    assert widths == {0: [30.0, 60.0, 10.0], 1: [75.0, 25.0], 2: [90.0, 10.0]}


def test_maps_hold_what_they_are_given(tmp_path: Path, drawn: list[Any]) -> None:
    grids = {title: {(row, column): row * column / 2**14 for row in (64, 128) for column in (32, 128)}
             for title in "ab"}  # fmt: skip
    plots.buffer_grids(tmp_path / "maps.svg", grids)
    axes = drawn[0].axes[0]
    assert axes.get_images()[0].get_array().tolist() == [[12.5, 50.0], [25.0, 100.0]]
    assert sorted(text.get_text() for text in axes.texts) == ["100", "12", "25", "50"]


def test_nothing_to_draw_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SpaceError, match="nothing to draw"):
        plots.time_shares(tmp_path / "a.png", {})
    with pytest.raises(SpaceError, match="all over the same sizes"):
        plots.buffer_grids(tmp_path / "a.png", {"a": {(1, 1): 0.5}, "b": {(1, 2): 0.5}})
