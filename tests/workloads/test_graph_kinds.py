"""Graphs of every kind that people have, written by real tools: each loads, with the count of its formula."""

from __future__ import annotations

import csv
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import onnx
import pytest

from tests.fixtures.graph_kinds.formulas import KINDS
from workloads import load_onnx, load_program
from workloads.onnx import named_nodes

FOLDER = Path(__file__).parent.parent / "fixtures" / "graph_kinds"
MODELS = [kind for kind in KINDS if kind.name not in ("if_cond", "loop")]
NAMES = [kind.name for kind in KINDS]


def sizes(name: str) -> dict[str, Any]:
    return dict(next(kind.bind for kind in KINDS if kind.name == name))


@pytest.mark.parametrize("kind", MODELS, ids=lambda kind: kind.name)
@pytest.mark.parametrize("structure", [True, False])
def test_every_kind_has_the_macs_of_its_formula(kind: Any, structure: bool) -> None:
    work = load_onnx(FOLDER / f"{kind.name}.onnx", missing_weights="allow", structure=structure, **kind.bind)
    assert work.macs() == kind.macs


@pytest.mark.parametrize("kind", MODELS, ids=lambda kind: kind.name)
def test_every_node_of_every_kind_is_accounted_for_once(kind: Any) -> None:
    path = FOLDER / f"{kind.name}.onnx"
    work = load_onnx(path, missing_weights="allow", **kind.bind)
    counted = Counter(work.folded) + Counter({node for op in work for node in op.nodes})
    missing = {name for name, _ in named_nodes(onnx.load(str(path), load_external_data=False))} - set(counted)
    assert not missing


def test_control_flow_is_an_expectation() -> None:
    for name in ("if_cond", "loop"):
        kind = next(item for item in KINDS if item.name == name)
        model = onnx.load(str(FOLDER / f"{name}.onnx"), load_external_data=False)
        nodes = {node.name: chance for node in model.graph.node if node.op_type == "If"
                 for chance in kind.probabilities.values()}  # fmt: skip
        program = load_program(model, missing_weights="allow", probabilities=nodes)
        assert sum(float(weight) * float(work.macs()) for weight, work in program) == pytest.approx(
            kind.macs, rel=1e-12
        )


def test_nine_forms_of_one_model_have_one_count() -> None:
    counts = {
        float(load_onnx(FOLDER / f"{name}.onnx", missing_weights="allow", **sizes(name)).macs())
        for name in NAMES
        if name.startswith("bert4") and name != "bert4_external_2_4gb"
    }
    assert counts == {3724541952 + 589824}  # 3.7245 GMAC in layers, 0.0006 in the pooler


@pytest.mark.parametrize(
    ("name", "bits"), [("bert4_qdq_int8", 8), ("bert4_qoperator_int8", 8), ("bert4_dynamic_int8", 8),
                       ("bert4_int4_matmulnbits", 4), ("bert4_fp16", 16), ("bert4_bf16", 16)],
)  # fmt: skip
def test_products_read_weights_of_the_stored_width(name: str, bits: int) -> None:
    work = load_onnx(FOLDER / f"{name}.onnx", missing_weights="allow", **sizes(name))
    widths = {
        tensor.bits
        for op in work
        if op.kind == "matmul" and op.block.startswith("layer")
        for tensor in op.inputs
        if tensor.role == "weight" and len(tensor.axes) == 2
    }
    assert widths == {bits}


def test_2_4_gb_of_external_data_are_not_read(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes((FOLDER / "bert4_external_2_4gb.onnx").read_bytes())
    model = onnx.load(str(path), load_external_data=False)
    ends = [
        int(entries["offset"]) + int(entries["length"])
        for entries in ({entry.key: entry.value for entry in t.external_data} for t in model.graph.initializer)
        if entries
    ]
    assert 2.3e9 < max(ends) < 2.5e9
    with (tmp_path / "weights.bin").open("wb") as file:
        file.truncate(max(ends))  # a hole: no blocks on the disk
    code = f"""
import pathlib
import onnx
from workloads import load_onnx
def peak():  # not ru_maxrss: across exec it keeps the peak of the process that forked
    status = pathlib.Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in status if line.startswith("VmHWM"))
before = peak()
work = load_onnx({str(path)!r}, batch=1, seq=128)
grown = peak() - before
read = int(dict(line.split(": ") for line in pathlib.Path("/proc/self/io").read_text().splitlines())["rchar"])
print(int(work.macs()), grown * 1024, read)
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=FOLDER.parents[2]
    )
    macs, grown, read = map(int, done.stdout.split())
    assert macs == next(kind.macs for kind in KINDS if kind.name == "bert4_external_2_4gb")
    assert grown < 50e6
    assert read < 200e6  # the interpreter's own modules


def test_the_table_is_that_of_the_formulas_and_the_files_are_small() -> None:
    with (FOLDER / "expected.csv").open(newline="", encoding="utf-8") as file:
        rows = {row["model"]: float(row["macs"]) for row in csv.DictReader(file)}
    assert rows == {kind.name: float(f"{kind.macs:.0f}") for kind in KINDS}
    files = {path.stem: path.stat().st_size for path in FOLDER.glob("*.onnx")}
    assert set(files) == set(NAMES)
    assert max(files.values()) < 200_000
    assert sum(files.values()) < 1_500_000
