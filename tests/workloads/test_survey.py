"""The survey's tables: every printed cell is reproduced to rounding, or a named discrepancy that really is one."""

from __future__ import annotations

import csv
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from workloads import Workload, WorkloadError, survey
from workloads.onnx import load_onnx
from workloads.survey import ARCHITECTURES, DISCREPANCIES, LEAST_SQUARES, PRINTED, Count
from workloads.survey.derivations import TABLES
from workloads.survey.tiling import products_of_layer
from workloads.zoo import architecture

TESTS = Path(__file__).parent.parent
FIXTURES = TESTS / "fixtures"
REFERENCE = TESTS / "golden" / "reference" / "survey"
LIGHT = Path(onnx.__file__).parent / "backend" / "test" / "data" / "light"

# Tables of the folder that hold inputs rather than results, and results that only a model of an accelerator reaches
# (reports/case_study.md, fusion.md, mapspace.md).
INPUTS = {"analytical_model_parameters"}
MODELLED = {"fusion_study", "gemmini_buffer_utilization", "mapspace_edp"}


def printed(name: str) -> list[dict[str, str]]:
    with (REFERENCE / f"{name}.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def all_printed() -> dict[str, list[dict[str, str]]]:
    return {path.stem: printed(path.stem) for path in sorted(REFERENCE.glob("*.csv"))}


@pytest.fixture(scope="module")
def resnet50() -> Workload:
    return load_onnx(LIGHT / "light_resnet50.onnx")


@pytest.fixture(scope="module")
def cells(resnet50: Workload) -> tuple[survey.Cell, ...]:
    return survey.compare(all_printed(), resnet50=resnet50)


# ---------------------------------------------------------------------------------------------------------------------
# Cell by cell


def test_every_reference_table_is_compared() -> None:
    assert set(all_printed()) == set(TABLES) | INPUTS | MODELLED


def test_every_number_of_every_table_is_a_cell(cells: tuple[survey.Cell, ...]) -> None:
    texts = {"source", "note", "origin", "platform", "unit"}
    for name, rows in all_printed().items():
        if name in INPUTS | MODELLED:
            continue
        numbers = sum(1 for row in rows for column, text in row.items() if column not in texts and text)
        keys = len(rows) * len(TABLES[name].key) - sum(row[column] == "" for row in rows for column in TABLES[name].key)
        assert sum(cell.table == name for cell in cells) == numbers - keys


def test_every_printed_cell_is_reproduced_or_named_or_out_of_reach(cells: tuple[survey.Cell, ...]) -> None:
    open_cells = [cell for cell in cells if cell.status == "open"]
    assert not open_cells, "\n".join(map(str, open_cells))
    found = Counter(cell.status for cell in cells)
    assert found["outside"] == 59  # measured and simulated latencies, RTL results


def test_printed_numbers_are_counted_once_and_apart_from_derived_ones(cells: tuple[survey.Cell, ...]) -> None:
    texts = {"source", "note", "origin", "platform", "unit"}
    read, derived, repeated = 0, 0, 0
    for name, rows in all_printed().items():
        if name in INPUTS | MODELLED:
            continue
        for row in rows:
            numbers = [column for column, text in row.items() if text and column not in {*texts, *TABLES[name].key}]
            again = sum(column.startswith("published_") for column in numbers)
            repeated += again
            read += len(numbers) - again if row["origin"] == "read" else 0
            derived += len(numbers) - again if row["origin"] == "derived" else 0
    found = Counter(cell.kind for cell in cells)
    assert (found["printed"], found["derived"], found["repeated"]) == (read, derived, repeated)
    # 45 rows of five, 90 totals and latencies, 26 of the case study, 22 of Table 5, 36 of Table 12, 6 rows of Table 4
    assert read == 45 * 5 + 90 + 26 + 22 + 12 * 3 + sum(cell.table == "resnet50_op_class" for cell in cells)
    totals = {(cell.key[0], cell.key[2]): cell for cell in cells if cell.key[1:2] == ("BERT-Large",)}
    for cell in cells:
        if cell.kind == "repeated":
            figure = "fig4_gflops" if cell.column == "published_gflops" else "fig6_arith_intensity"
            assert totals[figure, cell.key[0]].printed == cell.printed
    printed_cells = Counter(cell.status for cell in cells if cell.kind == "printed")
    assert printed_cells["reproduced"] > 290
    assert printed_cells["discrepancy"] == sum(
        item.factor == 1 and item.table not in ("bert_large_discrepancy", "identities") for item in DISCREPANCIES
    )


def test_only_measurements_and_simulations_are_out_of_reach(cells: tuple[survey.Cell, ...]) -> None:
    outside = {(cell.table, cell.key[0]) for cell in cells if cell.status == "outside"}
    assert {table for table, _ in outside} == {"end_to_end_scaling", "gemmini_case_study"}
    assert {key for table, key in outside if table == "end_to_end_scaling"} == {
        "fig9_cpu_normalized_latency",
        "fig32_analytic_normalized_latency",
    }


@pytest.mark.parametrize("number", range(len(DISCREPANCIES)))
def test_each_discrepancy_is_needed(number: int, resnet50: Workload) -> None:
    item = DISCREPANCIES[number]
    others = DISCREPANCIES[:number] + DISCREPANCIES[number + 1 :]
    needed = {"op_class_tables_read", "resnet50_op_class"} if item.table == "identities" else {item.table}
    tables = {name: printed(name) for name in needed | ({"gemmini_case_study"} if "Fig. 14" in item.where else set())}
    failing = [
        cell for cell in survey.compare(tables, resnet50=resnet50, discrepancies=others) if cell.status == "open"
    ]
    assert any(cell.table == item.table and cell.column == item.column for cell in failing)
    assert all(cell.key[: len(item.key)] == item.key for cell in failing if cell.table == item.table)


def test_discrepancies_say_what_is_printed_what_holds_and_why(cells: tuple[survey.Cell, ...]) -> None:
    found = {(cell.table, cell.key, cell.column): cell for cell in cells}
    for item in DISCREPANCIES:
        assert item.where
        assert len(item.why) > 20
        if item.factor == 1:
            cell = found[item.table, item.key, item.column]
            assert cell.status == "discrepancy"
            assert cell.printed == item.printed
            assert cell.derived is not None
            assert survey.rounds_to(cell.derived, item.holds)


def test_lost_trailing_zeros_hide_little() -> None:
    """Comparing to all digits of a column fails only where the source prints 2.0, and at 0.1 GB that may be 0.105."""
    columns = {"gflops": 2, "gmops_bytes": 2, "arith_intensity_flop_per_byte": 2}
    failing = []
    for cell in survey.compare({"op_class_tables_read": printed("op_class_tables_read")}):
        if cell.status == "reproduced" and cell.column in columns and len(cell.printed.partition(".")[2]) < 2:
            full = f"{float(cell.printed):.{columns[cell.column]}f}"
            assert cell.derived is not None
            if not survey.rounds_to(cell.derived, full):
                failing.append(cell)
    assert {(cell.key[0], cell.column, cell.printed) for cell in failing} == {
        ("GPT-2", "arith_intensity_flop_per_byte", "2.0"),
        ("BERT-Base-4head", "gmops_bytes", "0.1"),
    }


# ---------------------------------------------------------------------------------------------------------------------
# Exact counts


@pytest.mark.parametrize("row", printed("op_class_derived"), ids=lambda row: "-".join(list(row.values())[:3]))
def test_integers_equal_those_of_the_least_squares_fit(row: dict[str, str]) -> None:
    found = survey.count(ARCHITECTURES[row["model"]], int(row["seq_len"]), LEAST_SQUARES)[row["op_class"]]
    assert (found.flops, found.mops) == (int(row["flops"]), int(row["mops_bytes"]))


def test_the_least_squares_fit_misses_the_three_printed_cells_that_need_4_d() -> None:
    rows = {"op_class_tables_read": printed("op_class_tables_read")}
    missed = [cell for cell in survey.compare(rows, constants=LEAST_SQUARES) if cell.status == "open"]
    assert {(cell.key, cell.printed) for cell in missed} == {
        (("BERT-Base", "128", "total"), "159.68"),
        (("BERT-Base-4head", "128", "total"), "167.14"),
        (("BERT-Base-4head", "512", "total"), "303.59"),
    }


def test_counts_of_many_lengths_and_widths_are_the_counts_of_each() -> None:
    lengths = np.array([128, 256, 512, 4096])
    for arch in ARCHITECTURES.values():
        together = survey.count(arch, lengths)
        for index, length in enumerate(lengths.tolist()):
            for name, one in survey.count(arch, length).items():
                assert together[name].flops[index] == one.flops  # type: ignore[index]  # a batch
                assert together[name].mops[index] == one.mops  # type: ignore[index]
    heads = survey.count(replace(ARCHITECTURES["BERT-Base"], heads=np.array([12, 4])), 512)["act_act"]
    assert [float(value) for value in np.asarray(heads.mops)] == [94371840, 44040192]


@pytest.mark.parametrize(
    ("field", "change"),
    [("softmax_flops", 0.01), ("residual_flops", 0.05), ("residual_mops", 0.01), ("norm_parameters", 0.5)],
)
@pytest.mark.parametrize("sign", [-1, 1])
def test_the_printed_cells_fix_each_constant(field: str, change: float, sign: int) -> None:
    rows = {"op_class_tables_read": printed("op_class_tables_read")}
    moved = replace(PRINTED, **{field: getattr(PRINTED, field) + sign * change})
    assert any(cell.status == "open" for cell in survey.compare(rows, constants=moved))


def test_constants_stand_beside_the_range_that_is_allowed_and_our_own_counts() -> None:
    bert = load_onnx(FIXTURES / "bert_base_dynamo.onnx", missing_weights="allow", batch=1, seq=128)
    gpt2 = load_onnx(FIXTURES / "gpt2_dynamo.onnx", missing_weights="allow", batch=1, seq=128)
    table = survey.constants_table(printed("op_class_tables_read"), {"bert": bert, "gpt2": gpt2})
    assert [(row.kind, row.value) for row in table] == [("fitted", 4), ("fitted", 58), ("fitted", 17), ("counted", 4)]
    # By hand: GELU 5 or 8 on 4 d, norm 7 and residual 1 twice; 2 bytes a value of 4 d, 2 and 3 twice.
    assert [dict(row.ours) for row in table] == [
        {"bert": 5, "gpt2": 5},
        {"bert": 4 * 5 + 2 * 8, "gpt2": 4 * 8 + 2 * 8},
        {"bert": 18, "gpt2": 18},
        {"bert": 4, "gpt2": 4},
    ]
    for row in table:
        assert row.low <= row.value <= row.high
        assert row.high - row.low < 0.5


# ---------------------------------------------------------------------------------------------------------------------
# Loaded workloads

LENGTHS = (128, 256, 512, 1024, 2048, 4096)


def widened(path: Path, positions: int) -> onnx.ModelProto:
    """Give BERT a longer table of positions: the source counts lengths that its checkpoint does not have."""
    model = onnx.load(str(path), load_external_data=False)
    tables = [tensor for tensor in model.graph.initializer if 512 in tensor.dims]
    assert tables
    for tensor in tables:
        if tensor.data_location == onnx.TensorProto.EXTERNAL:
            dims = [positions if extent == 512 else extent for extent in tensor.dims]
            tensor.dims[:] = dims
        else:
            array = np.resize(onnx.numpy_helper.to_array(tensor), [positions if e == 512 else e for e in tensor.dims])
            tensor.CopyFrom(onnx.numpy_helper.from_array(array, tensor.name))
    return model


@pytest.fixture(scope="module")
def long_bert() -> onnx.ModelProto:
    return widened(FIXTURES / "bert_base_dynamo.onnx", 4096)


@pytest.mark.parametrize("tokens", LENGTHS)
def test_a_loaded_bert_base_has_the_counts_of_its_numbers(long_bert: onnx.ModelProto, tokens: int) -> None:
    work = load_onnx(long_bert, missing_weights="allow", batch=1, seq=tokens)
    assert survey.count_workload(work) == survey.count(ARCHITECTURES["BERT-Base"], tokens)
    assert survey.count_workload(work, constants=LEAST_SQUARES) == survey.count(
        ARCHITECTURES["BERT-Base"], tokens, LEAST_SQUARES
    )


@pytest.mark.parametrize("tokens", LENGTHS)
def test_a_loaded_gpt_2_has_the_counts_of_generating_as_many_tokens(tokens: int) -> None:
    work = load_onnx(FIXTURES / "gpt2_dynamo.onnx", missing_weights="allow", batch=1, seq=tokens)
    assert survey.count_workload(work, generates=True) == survey.count(ARCHITECTURES["GPT-2"], tokens)
    one_pass = survey.count(replace(ARCHITECTURES["GPT-2"], generates=False), tokens)
    assert survey.count_workload(work) == one_pass


@pytest.mark.parametrize("name", ["bert_base_legacy_static", "gpt2_legacy"])
def test_another_exporter_counts_the_same(name: str) -> None:
    work = load_onnx(FIXTURES / f"{name}.onnx", missing_weights="allow")
    arch = ARCHITECTURES["GPT-2" if name.startswith("gpt2") else "BERT-Base"]
    assert survey.count_workload(work, generates=arch.generates) == survey.count(arch, 128)


@pytest.mark.parametrize(
    ("name", "numbers", "sizes"),
    [
        ("minilm_l6_dynamo", (6, 384, 12, 1536), {"batch": 1, "seq": 128}),
        ("minilm_l3", (3, 384, 12, 1536), {"batch_size": 1, "sequence_length": 77}),
        ("bert_tiny_legacy_dynamic", (2, 128, 2, 512), {"batch": 1, "seq": 64}),
        ("vit_b16_dynamo", (12, 768, 12, 3072), {"batch": 1}),
    ],
)
def test_models_that_the_source_does_not_have_count_as_their_numbers_say(
    name: str, numbers: tuple[int, int, int, int], sizes: Mapping[str, int]
) -> None:
    options: dict[str, Any] = dict(sizes)
    work = load_onnx(FIXTURES / f"{name}.onnx", missing_weights="allow", **options)
    tokens = next((size for dim, size in sizes.items() if dim.startswith("seq")), 197)
    assert survey.count_workload(work) == survey.count(survey.Architecture(name, *numbers), tokens)


def encoder_config(arch: survey.Architecture) -> dict[str, Any]:
    return {
        "model_type": "bert", "hidden_size": arch.d_model, "num_hidden_layers": arch.layers,
        "num_attention_heads": arch.heads, "intermediate_size": arch.d_ff, "max_position_embeddings": 4096,
        "vocab_size": 30522, "type_vocab_size": 2, "hidden_act": "gelu",
    }  # fmt: skip


@pytest.mark.parametrize("tokens", LENGTHS)
@pytest.mark.parametrize("name", ["BERT-Base-4head", "BERT-Large"])
def test_the_zoos_graphs_of_the_other_models_have_the_counts_of_their_numbers(name: str, tokens: int) -> None:
    work = architecture(encoder_config(ARCHITECTURES[name]), seq=tokens)
    assert survey.count_workload(work) == survey.count(ARCHITECTURES[name], tokens)


def test_a_decode_step_with_a_cache_is_classified() -> None:
    sizes: dict[str, Any] = {"batch": 1, "past": 127, "total": 128}
    work = load_onnx(FIXTURES / "distilgpt2_kv_dynamo.onnx", missing_weights="allow", **sizes)
    counts = survey.count_workload(work)
    assert counts["mha_proj"] == Count(6 * 8 * 768**2, 6 * 4 * (768**2 + 2 * 768))
    assert counts["ffn_proj"] == Count(6 * 4 * 768 * 3072, 6 * 2 * (768 * 3072 + 768 + 3072))
    # Scores: 12 heads x 128 keys, (2 x 64 - 1) FLOPs each; context: 768 sums of 128 products.
    assert counts["act_act"].flops == 6 * (12 * 128 * 127 + 768 * 255)


def test_classes_partition_the_operators_and_leave_embedding_and_head_out() -> None:
    work = load_onnx(FIXTURES / "gpt2_dynamo.onnx", missing_weights="allow", batch=1, seq=16)
    classes = survey.classify(work)
    assert set(classes) == {op.name for op in work}
    outside = {op.block.partition(".")[0] for op in work if classes[op.name] == survey.EXCLUDED}
    assert outside == {"embed", "head"}
    products = Counter(classes[op.name] for op in work if op.kind == "matmul")
    # qkv is one product in this graph
    assert products == {"mha_proj": 2 * 12, "act_act": 2 * 12, "ffn_proj": 2 * 12, "excluded": 1}
    own = survey.own_count(work)
    inside = sum(op.flops() for op in work if classes[op.name] != survey.EXCLUDED)
    assert own["total"].flops == inside


def test_own_counts_differ_from_the_convention_by_what_it_leaves_out() -> None:
    work = load_onnx(FIXTURES / "bert_base_dynamo.onnx", missing_weights="allow", batch=1, seq=128)
    own, theirs = survey.own_count(work), survey.count_workload(work)
    tokens, d, h = 128, 768, 12
    assert own["act_act"].flops - theirs["act_act"].flops == 12 * (h * tokens**2 + tokens * d)  # first additions
    assert own["mha_proj"].flops - theirs["mha_proj"].flops == 12 * 4 * tokens * d  # bias additions
    assert own["ffn_proj"].flops - theirs["ffn_proj"].flops == 12 * 5 * tokens * d
    scores = h * tokens**2  # softmax 5 for 4, scale and mask
    assert own["other"].flops - theirs["other"].flops == 12 * (3 * scores + (36 - 58) * tokens * d)


def test_a_network_without_layers_is_refused_by_name(resnet50: Workload) -> None:
    with pytest.raises(WorkloadError, match="convolution_classes"):
        survey.count_workload(resnet50)
    bert = load_onnx(FIXTURES / "bert_tiny_legacy_dynamic.onnx", missing_weights="allow", batch=1, seq=8)
    with pytest.raises(WorkloadError, match="count_workload"):
        survey.convolution_classes(bert)
    with pytest.raises(WorkloadError, match="nearest: BERT-Large"):
        survey.architecture("BERT-Lage")


# ---------------------------------------------------------------------------------------------------------------------
# ResNet-50 and the finite buffer


def test_a_loaded_resnet_50_has_the_intensities_of_table_12(resnet50: Workload) -> None:
    found = survey.convolution_intensities(resnet50)
    for row in printed("resnet50_conv_layers"):
        kernel, width = (int(row[name].partition("x")[0]) for name in ("kernel", "out_size"))
        counts = found[kernel, int(row["out_channels"]), width]
        like = [count for count in counts if survey.rounds_to(float(count.intensity), row["arith_intensity"])]
        repeats = {layer[:3]: layer[3] for layer in _table_12()}[kernel, int(row["out_channels"]), width]
        first = (kernel, row["out_channels"], width) == (
            1,
            "64",
            56,
        )  # the source counts the one that reads 64 channels
        shortcut = (kernel, row["out_channels"], width) == (1, "256", 56)  # alike: the projection of the first block
        strided = kernel == 3 and width < 56  # the first 3x3 of a stage steps in this graph (v1.5) and reads more
        assert len(like) == repeats - first + shortcut - strided


def _table_12() -> list[tuple[int, int, int, int]]:
    return [(layer.kernel, layer.outputs, layer.size, layer.repeats) for layer in survey.RESNET50_LAYERS]


def test_convolutions_from_the_published_numbers_are_those_of_the_graph(resnet50: Workload) -> None:
    layers = survey.resnet50_convolutions(stride_in_3x3=True)
    counted = sum((layer.count() for layer in layers), start=Count())
    assert counted == survey.convolution_classes(resnet50)["conv"]
    assert len(layers) == 53


def test_neither_version_of_resnet_50_has_the_printed_convolutions() -> None:
    (row,) = [row for row in printed("resnet50_op_class") if row["op_class"] == "conv"]
    for v15, gflops in ((False, "7.71"), (True, "8.17")):
        flops = sum(layer.count().flops for layer in survey.resnet50_convolutions(stride_in_3x3=v15))
        assert survey.rounds_to(float(flops) / 1e9, gflops)
        assert not survey.rounds_to(float(flops) / 1e9, row["gflops"])


def test_fusing_norms_and_relus_removes_their_traffic_and_work(resnet50: Workload) -> None:
    counts = survey.convolution_classes(resnet50)
    inside = counts["batchnorm"] + counts["relu"]
    assert counts["total_fused"] + inside == counts["total_unfused"]
    assert counts["total_fused"].intensity > 1.5 * counts["total_unfused"].intensity  # printed: 121.36 over 66.94


def test_the_buffer_is_that_of_the_printed_accelerator() -> None:
    (row,) = [row for row in printed("analytical_model_parameters") if row["parameter"] == "l2_size"]
    assert float(row["value"]) * 1024 == survey.L2_BYTES


def test_a_larger_buffer_moves_no_more_and_a_huge_one_every_matrix_once() -> None:
    arch = ARCHITECTURES["BERT-Base"]
    sizes = [2**power for power in range(12, 30)]
    moved = [survey.tiled_count(arch, 4096, size)["total"].mops for size in sizes]
    assert moved == sorted(moved, reverse=True)
    once = products_of_layer(arch, 4096)["score_x_v"]
    assert survey.tiled_bytes(once, 1 << 40) == 12 * (4096 * 4096 + 2 * 4096 * 64)


def test_no_intensity_with_a_finite_buffer_exceeds_the_ideal_one() -> None:
    for tokens in (128, 512, 4096):
        real = survey.tiled_count(ARCHITECTURES["BERT-Base"], tokens)
        ideal = survey.count(ARCHITECTURES["BERT-Base"], tokens)
        assert real["total"].intensity < ideal["total"].intensity
        assert real["wq_wk_wv"].intensity < ideal["mha_proj"].intensity


def test_leaving_one_projection_out_gives_the_published_bert_large() -> None:
    for row in printed("bert_large_discrepancy"):
        without, weights_only = survey.without_a_projection(int(row["seq_len"]))
        assert survey.rounds_to(float(without.flops) / 1e9, row["published_gflops"])
        assert float(weights_only.intensity) == pytest.approx(float(row["published_ai"]), rel=4.1e-3)


@pytest.mark.slow
def test_the_committed_report_is_what_the_script_writes(tmp_path: Path) -> None:
    root = TESTS.parent
    command = [sys.executable, "-W", "error", "reports/survey.py", str(tmp_path / "survey.md")]
    done = subprocess.run(
        command, cwd=root, capture_output=True, text=True, check=False, env={**os.environ, "PYTHONPATH": str(root)}
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "survey.md").read_text() == (root / "reports" / "survey.md").read_text()
