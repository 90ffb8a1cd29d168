"""Techniques on zoo architectures: what the cost view says is what loading the compressed file finds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import onnx
import pytest

from workloads import compress, load_onnx
from workloads.zoo import write_onnx

SIZES: dict[str, Any] = {
    "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "vocab_size": 64, "intermediate_size": 64,
}  # fmt: skip
TEXT = {"batch": 1, "seq": 8}
CASES: dict[str, tuple[dict[str, Any], dict[str, int]]] = {
    "albert": ({**SIZES, "embedding_size": 16}, TEXT),
    "bert": (SIZES, TEXT),
    "conformer": ({**SIZES, "num_mel_bins": 16}, {"batch": 1, "seq": 43}),
    "squeezeformer": (
        {**SIZES, "num_hidden_layers": 4, "time_reduce_layer": 1, "time_recover_layer": 3, "num_mel_bins": 16},
        {"batch": 1, "seq": 43},
    ),
    "t5": ({"d_model": 32, "d_kv": 8, "d_ff": 64, "num_layers": 2, "num_heads": 4, "vocab_size": 64}, TEXT),
    "vit": ({**SIZES, "image_size": 32, "patch_size": 8}, {"batch": 1}),
}
TECHNIQUES = [
    compress.Quantize(weight_bits=4),
    compress.PruneHeads(density=0.5),
    compress.PruneNeurons(density=0.75),
]


@pytest.mark.parametrize("technique", TECHNIQUES, ids=lambda technique: type(technique).__name__)
@pytest.mark.parametrize("kind", CASES)
def test_a_compressed_file_costs_what_the_cost_view_says(kind: str, technique: Any, tmp_path: Path) -> None:
    values, sizes = CASES[kind]
    path = write_onnx({"model_type": kind, **values}, tmp_path / "m.onnx", weights="random", dtype="fp32")
    given: dict[str, Any] = dict(sizes)
    before = load_onnx(path, **given)
    predicted = compress.cost(before, technique)
    found = load_onnx(compress.apply(onnx.load(path), technique), **given)
    assert found.macs() == predicted.macs()
    assert found.weight_bytes() == predicted.weight_bytes()
    # ALBERT's layers share what is stored: pruned, each has a copy of its own
    assert found.weight_bytes() < before.weight_bytes() or (kind == "albert" and found.macs() < before.macs())


def test_heads_that_share_one_position_bias_go_together(tmp_path: Path) -> None:
    values, _ = CASES["t5"]
    path = write_onnx({"model_type": "t5", **values}, tmp_path / "m.onnx", weights="random", dtype="fp32")
    fitted = compress.PruneHeads(density=0.5).fit(onnx.load(path))
    assert list(fitted.kept) == ["layer.0.attn"]
    assert len(fitted.kept["layer.0.attn"]) == 2
