"""`dse map MODEL` and `dse map OPERATOR`: tables, files, pictures, proofs; what is wrong, where, and the fix."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

import hwmodels
import hwmodels.mapping
from hwmodels.mapping import evaluate, narrowed, parse_mapping
from hwmodels.mapping.cases import conv_operator, gemm_operator
from hwmodels.mapping.mapper import memo
from hwmodels.specs import spec_text
from tests.dse.cli_runs import Run, files_below
from workloads import load_onnx
from workloads.zoo import embedded_model

GEMM = "gemm:M=32,N=48,K=64"
GEMMINI = hwmodels.load("gemmini")


@pytest.fixture(autouse=True)
def own_memory(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Mappings that are remembered on this machine stay out of the tests."""
    monkeypatch.setenv("DSE_CACHE", str(tmp_path_factory.mktemp("cache")))


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def record(dse_run: Run, *arguments: object) -> dict[str, Any]:
    done = dse_run("map", *arguments, "--json")
    assert (done.code, done.err) == (0, "")
    found: dict[str, Any] = json.loads(done.out)
    return found


def test_a_model_is_mapped_and_its_numbers_are_those_of_its_mappings(dse_run: Run, tmp_path: Path) -> None:
    """The mappings that are written parse back, and cost on the loaded graph what the tables say."""
    found = record(dse_run, "vit-mnist", "-d", "gemmini", "-b", "batch=2", "--out", tmp_path, "--draw", "none")
    work = load_onnx(embedded_model(), batch=2)
    products = {op.name: op for op in work.operators if op.kind in ("matmul", "conv")}
    assert {name for row in found["operators"] for name in row["names"]} == set(products)
    assert found["totals"]["macs"] == work.macs()
    table = rows(tmp_path / "operators.csv")
    energy = 0.0
    for row, line in zip(found["operators"], table[:-1], strict=True):
        mapping = parse_mapping((tmp_path / line["mapping"]).read_text())
        assert mapping == parse_mapping(row["mapping"])
        for name in row["names"]:
            cost = evaluate(narrowed(products[name], 8), GEMMINI, mapping)
            energy += float(products[name].count) * float(cost.energy_j[0])
        assert float(line["cycles"]) == row["cycles"] == row["executions"] * cost.cycles[0]
        assert (line["operator"], line["bound"]) == (row["names"][0], cost.bounds[cost.bound[0]])
    assert found["totals"]["energy_j"] == pytest.approx(energy) == pytest.approx(float(table[-1]["energy_j"]))
    moved = [row for row in rows(tmp_path / "levels.csv") if row["operator"] == "total"]
    assert [(row["level"], row["tensor"]) for row in moved] == [
        (level.name, role) for level in GEMMINI.levels for role in level.keeps
    ]
    left = {row["operator"] for row in rows(tmp_path / "unmapped.csv")}
    assert left == {op.name for op in work.operators} - set(products) - {
        op.name for op in work.operators if op.kind == "view"
    }
    assert (found["narrowed_from_bits"], found["conventions"], found["waiting"]) == (32, "silicon", 0)


def test_what_is_printed_fits_80_columns_and_says_what_was_proven(dse_run: Run, affine: Path) -> None:
    done = dse_run("map", affine, "-d", "gemmini", "-b", "batch=32")
    assert done.code == 0
    tables = done.out.split("\n\n")
    assert max(len(line) for table in tables[:3] for line in table.splitlines()[1:]) <= 80
    assert "affine (batch=32) on gemmini: least energy x cycles of each operator, predicted" in done.out
    assert "proven the best among perfect factors, all loop orders, wired" in done.out
    assert "elements of 32 bit count as the 8 bit that gemmini takes: quantize the model to run it so" in done.out
    assert "131 kMAC in 1 run of 1 mapping" in done.out
    nest = next(part for part in tables if part.startswith("DRAM keeps W I O"))
    work = load_onnx(affine, batch=32)
    assert evaluate(narrowed(work.operators[0], 8), GEMMINI, parse_mapping(nest)).fits[0]


def test_wide_terminals_get_a_line_for_each_mapping(
    dse_run: Run, affine: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "140")
    out = dse_run("map", affine, "-d", "gemmini", "-b", "batch=32").out
    assert any("only_node" in line and "proven" in line and "n=64" in line for line in out.splitlines())


def test_files_of_a_mapping_are_a_text_and_two_pictures(dse_run: Run, tmp_path: Path) -> None:
    assert dse_run("map", GEMM, "-d", "gemmini", "--out", tmp_path / "new").code == 0
    pictures = {"new/mappings/01-gemm-nest.png", "new/mappings/01-gemm-traffic.png"}
    tables = {f"new/{name}" for name in ("operators.csv", "levels.csv", "unmapped.csv", "traffic.png")}
    assert files_below(tmp_path) == {"new/mappings/01-gemm.txt"} | pictures | tables
    assert dse_run("map", GEMM, "-d", "gemmini", "--out", tmp_path / "bare", "--draw", "none").code == 0
    assert not [name for name in files_below(tmp_path / "bare") if name.startswith("mappings") and "png" in name]


def test_one_operator_of_a_model_can_be_drawn(dse_run: Run, tmp_path: Path) -> None:
    work = load_onnx(embedded_model(), batch=1)
    products = [op for op in work.operators if op.kind == "matmul"]
    chosen = next(op for op in products if op.block)
    for number, name in enumerate((chosen.name, chosen.block)):
        folder = tmp_path / str(number)
        found = record(dse_run, "vit-mnist", "-d", "gemmini", "-b", "batch=1", "--out", folder, "--draw", name)
        (nest,) = folder.glob("mappings/*-nest.png")
        assert chosen.name in found["operators"][int(nest.name[:2]) - 1]["names"]
        assert nest.with_name(nest.name.replace("-nest.png", ".txt")).is_file()
    wrong = ("-b", "batch=1", "--out", tmp_path / "none", "--draw", "nobody")
    message = dse_run("map", "vit-mnist", "-d", "gemmini", *wrong).message
    assert "--draw 'nobody': no matrix operator of vit_mnist has this name or block" in message
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize("objective", ["edp", "energy", "latency"])
def test_each_objective_is_the_best_of_the_three_in_its_own_measure(dse_run: Run, objective: str) -> None:
    """On an operator where the three differ."""
    measures: dict[str, Callable[[dict[str, Any]], float]] = {
        "edp": lambda total: total["energy_j"] * total["cycles"],
        "energy": lambda total: total["energy_j"],
        "latency": lambda total: total["cycles"],
    }
    totals = {name: record(dse_run, GEMM, "-d", "gemmini", "--objective", name)["totals"] for name in measures}
    own = measures[objective]
    assert own(totals[objective]) <= min(map(own, totals.values())) * (1 + 1e-12)
    assert totals["energy"]["energy_j"] < totals["latency"]["energy_j"]
    assert totals["latency"]["cycles"] < totals["energy"]["cycles"]


def test_relaxed_rules_and_the_references_conventions_are_never_worse(dse_run: Run) -> None:
    conv = "conv:R=3,S=3,P=14,Q=14,C=4,K=16"
    wired, relaxed = (record(dse_run, conv, "-d", "gemmini", *more)["totals"] for more in ((), ("--relaxed",)))
    assert relaxed["energy_j"] * relaxed["cycles"] < wired["energy_j"] * wired["cycles"]
    ideal = record(dse_run, conv, "-d", "gemmini", "--conventions", "reference")
    assert ideal["conventions"] == "reference"
    assert ideal["totals"]["cycles"] < wired["cycles"]


def test_the_front_holds_the_best_of_each_objective_and_no_beaten_point(dse_run: Run, tmp_path: Path) -> None:
    found = record(dse_run, GEMM, "-d", "gemmini", "--objective", "pareto", "--out", tmp_path)
    points = [(point["cycles"], point["energy_j"]) for point in found["points"]]
    assert points == sorted(points)
    assert all(later[1] < sooner[1] for sooner, later in pairwise(points))
    best = {
        name: record(dse_run, GEMM, "-d", "gemmini", "--objective", name)["totals"]
        for name in ("energy", "latency", "edp")
    }
    assert points[0][0] == best["latency"]["cycles"]
    assert points[-1][1] == pytest.approx(best["energy"]["energy_j"], rel=1e-12)
    edp = min(cycles * energy for cycles, energy in points)
    assert edp == pytest.approx(best["edp"]["energy_j"] * best["edp"]["cycles"], rel=1e-12)
    assert {"front.csv", "front.png"} < files_below(tmp_path)
    assert len(list(tmp_path.glob("mappings/*.txt"))) == len(points) == len(rows(tmp_path / "front.csv"))
    for number, point in enumerate(found["points"], start=1):
        text = (tmp_path / "mappings" / f"{number:02}-gemm.txt").read_text()
        cost = evaluate(gemm_operator("g", {"M": 32, "N": 48, "K": 64}), GEMMINI, parse_mapping(text))
        assert (point["cycles"], point["energy_j"]) == (cost.cycles[0], pytest.approx(cost.energy_j[0]))
    out = dse_run("map", GEMM, "-d", "gemmini", "--objective", "pareto").out
    assert "the whole front, proven" in out
    assert f"point {len(points)}, least energy:" in out


def test_a_convolution_takes_a_stride(dse_run: Run) -> None:
    text = "conv:R=3,S=3,P=7,Q=7,C=16,K=16,stride=2"
    found = record(dse_run, text, "-d", "gemmini")
    sizes = {"R": 3, "S": 3, "P": 7, "Q": 7, "C": 16, "K": 16, "N": 1}
    cost = evaluate(conv_operator("c", sizes, 2), GEMMINI, parse_mapping(found["operators"][0]["mapping"]))
    assert found["totals"]["energy_j"] == pytest.approx(float(cost.energy_j[0]), rel=1e-12)
    assert found["totals"]["macs"] == math.prod(sizes.values())


def test_what_was_found_before_is_not_searched_again(
    dse_run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = record(dse_run, GEMM, "-d", "gemmini")
    monkeypatch.setattr(memo, "search", interrupted_after(0))
    assert record(dse_run, GEMM, "-d", "gemmini") == first
    assert dse_run("map", GEMM, "-d", "gemmini", "--no-cache").code == 130
    monkeypatch.undo()
    monkeypatch.setenv("DSE_CACHE", str(tmp_path / "file" / "cache"))
    (tmp_path / "file").write_text("in the way")
    assert record(dse_run, GEMM, "-d", "gemmini") == first


def test_edge_tiles_help_where_no_tile_divides(dse_run: Run) -> None:
    """Of 37 and 53 only whole rows and columns divide: the array stands still for most of the time."""
    prime = "gemm:M=37,N=53,K=16"
    perfect, edges = (record(dse_run, prime, "-d", "gemmini", "--factors", name) for name in ("perfect", "imperfect"))
    assert edges["totals"]["energy_j"] * edges["totals"]["cycles"] < (
        perfect["totals"]["energy_j"] * perfect["totals"]["cycles"]
    )
    assert edges["totals"]["utilization"] > 4 * perfect["totals"]["utilization"]
    cost = evaluate(
        gemm_operator("g", {"M": 37, "N": 53, "K": 16}), GEMMINI, parse_mapping(edges["operators"][0]["mapping"])
    )
    assert float(cost.energy_j[0]) == pytest.approx(edges["totals"]["energy_j"], rel=1e-12)


def interrupted_after(count: int) -> Callable[..., Any]:
    """A mapper that is interrupted when it is asked for one more."""
    search = hwmodels.mapping.search
    asked: list[Any] = []

    def mapper(*arguments: Any, **options: Any) -> Any:
        if len(asked) == count:
            raise KeyboardInterrupt
        asked.append(arguments)
        return search(*arguments, **options)

    return mapper


def test_an_interrupt_leaves_what_is_finished(dse_run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = record(dse_run, "vit-mnist", "-d", "gemmini", "-b", "batch=1")
    monkeypatch.setattr(memo, "search", interrupted_after(2))
    done = dse_run(
        "map", "vit-mnist", "-d", "gemmini", "-b", "batch=1", "--out", tmp_path, "--draw", "none", "--no-cache"
    )
    assert (done.code, done.err) == (130, "interrupted\n")
    assert f"interrupted: {len(whole['operators']) - 2} more mappings were not looked for" in done.out
    assert len(list(tmp_path.glob("mappings/*.txt"))) == 2
    *found, total = rows(tmp_path / "operators.csv")
    assert [float(row["energy_j"]) for row in found] == [row["energy_j"] for row in whole["operators"][:2]]
    assert float(total["cycles"]) == sum(float(row["cycles"]) for row in found)


def test_an_interrupt_before_anything_is_finished_leaves_nothing(
    dse_run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memo, "search", interrupted_after(0))
    done = dse_run("map", GEMM, "-d", "gemmini", "--out", tmp_path / "new")
    assert (done.code, done.out, done.err) == (130, "", "interrupted\n")
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["vit-mnist"], "no device: give --device edge-npu or eyeriss or gemmini or"),
        (["vit-mnist", "-d", "h100-sxm"], "of kind gpu; this needs a spatial accelerator: edge-npu, eyeriss"),
        (["vit-mnist", "-d", "gemini"], "unknown device 'gemini'; nearest: gemmini"),
        (["vit-mnist", "-d", "gemmini", "--objective", "edpp"], "--objective 'edpp': unknown; nearest: edp"),
        (["vit-mnist", "-d", "gemmini", "--factors", "any"], "--factors 'any': unknown; known: imperfect, perfect"),
        (["vit-mnist", "-d", "gemmini", "--objective", "pareto"], "the front of one operator, and 'vit-mnist' a model"),
        (["vit-mnist", "-d", "gemmini", "--draw", "all"], "--draw writes pictures: give a folder for them with --out"),
        (["vit-mnist", "-d", "gemmini", "--conventions", "x"], "--conventions 'x': unknown; known: reference, silicon"),
        (["vit-mnist", "-d", "gemmini", "--phase", "decode"], "--phase is for models of the zoo"),
        ([GEMM, "-d", "gemmini", "-b", "batch=1"], "--bind is for models, and 'gemm:M=32,N=48,K=64' is one operator"),
        (["gem:M=1", "-d", "gemmini"], "no kind of operator 'gem'; write gemm:M=512,N=768,K=768 or conv:"),
        (["gemm:M=1,N=2", "-d", "gemmini"], "gemm:M=1,N=2: K missing; write gemm:M=512,N=768,K=768"),
        (["gemm:M=1,N=2,K=0", "-d", "gemmini"], "'K=0' is not NAME=SIZE with a whole number of at least 1; write"),
        (["gemm:M=1,N=2,K=2,M=1", "-d", "gemmini"], "M is given twice; write gemm:"),
        (["gemm:M=1,N=2,K=2,C=1", "-d", "gemmini"], "a gemm has no size 'C'; write gemm:"),
    ],
)  # fmt: skip
def test_a_fault_is_named_with_its_mend(dse_run: Run, arguments: list[str], message: str) -> None:
    assert message in dse_run("map", *arguments).message


def test_a_model_without_products_and_one_that_fits_nowhere_are_refused(
    dse_run: Run, tmp_path: Path, affine: Path
) -> None:
    import onnx
    from onnx import TensorProto, helper

    value = helper.make_tensor_value_info("x", TensorProto.FLOAT, [4, 4])
    graph = helper.make_graph(
        [helper.make_node("Relu", ["x"], ["y"], "r")], "g", [value],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [4, 4])],
    )  # fmt: skip
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)]), str(tmp_path / "relu.onnx"))
    done = dse_run("map", tmp_path / "relu.onnx", "-d", "gemmini", "--out", tmp_path / "out")
    assert "relu: has no matrix product or convolution; there is nothing to map on an array" in done.message
    device = tmp_path / "tiny.toml"
    device.write_text(spec_text("gemmini").replace('capacity = "64 KiB"', 'capacity = "4 B"'))
    done = dse_run("map", affine, "-d", device, "-b", "batch=4", "--out", tmp_path / "out")
    assert "affine: nothing of it can be mapped; only_node does not fit gemmini: Accumulator has" in done.message
    assert not (tmp_path / "out").exists()
