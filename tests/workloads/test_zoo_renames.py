"""Checkpoints as they are published, with older names and prefixes, fit the graphs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.workloads.zoo_compare import difference, random_model
from workloads import WorkloadError
from workloads.zoo import write_onnx
from workloads.zoo.renames import Renamed

BERT = {
    "hidden_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 80, "vocab_size": 101,
    "max_position_embeddings": 40,
}  # fmt: skip
VIT = {
    "hidden_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 80, "image_size": 32,
    "patch_size": 8,
}  # fmt: skip
PIXELS = np.random.default_rng(2).normal(size=(2, 3, 32, 32)).astype(np.float32)
IDS = np.random.default_rng(2).integers(0, 101, (2, 9))
TEXT = {"input_ids": IDS, "attention_mask": np.ones_like(IDS), "token_type_ids": np.zeros_like(IDS)}
CASES: list[tuple[str, str, dict[str, Any], Any, str]] = [
    ("bert", "BertForPreTraining", BERT, TEXT, "prediction_logits"),
    ("bert", "BertModel", BERT, TEXT, "pooler_output"),
    ("vit", "ViTForImageClassification", VIT, {"pixel_values": PIXELS}, "logits"),
    ("vit", "ViTModel", VIT, {"pixel_values": PIXELS}, "pooler_output"),
    ("deit", "DeiTForImageClassificationWithTeacher", VIT, {"pixel_values": PIXELS}, "logits"),
    (
        "mobilenet_v2",
        "MobileNetV2ForImageClassification",
        {"depth_multiplier": 0.25, "image_size": 32},
        {"pixel_values": PIXELS},
        "logits",
    ),
]


def saved(tmp_path: Path, case: tuple[str, str, dict[str, Any], Any, str]) -> tuple[Path, Any]:
    """Save as transformers does, which writes the names of the published checkpoints, and give its own result."""
    import torch

    kind, auto, values, feeds, output = case
    model = random_model(kind, auto, values)
    model.save_pretrained(tmp_path / "hub")
    with torch.no_grad():
        result = model(**{name: torch.from_numpy(value) for name, value in feeds.items()})
    return tmp_path / "hub", result[output]


def results(path: Path, feeds: Any) -> dict[str, Any]:
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    names = [item.name for item in session.get_outputs()]
    return dict(zip(names, session.run(names, feeds), strict=True))


@pytest.mark.parametrize("case", CASES, ids=[case[1] for case in CASES])
def test_a_folder_that_transformers_saved_becomes_a_file_with_its_values(tmp_path: Path, case: Any) -> None:
    folder, wanted = saved(tmp_path, case)
    path = write_onnx(folder, tmp_path / "model.onnx", weights=folder, dtype="fp32")
    assert difference(results(path, case[3])[case[4]], wanted) < 1e-5


def test_the_body_of_a_checkpoint_with_something_on_top_is_found_without_it(tmp_path: Path) -> None:
    import torch

    folder, _ = saved(tmp_path, CASES[0])
    path = write_onnx({"model_type": "bert", **BERT}, tmp_path / "body.onnx", weights=folder, dtype="fp32")
    model = random_model("bert", "BertForPreTraining", BERT).bert
    with torch.no_grad():
        wanted = model(**{name: torch.from_numpy(value) for name, value in TEXT.items()}).last_hidden_state
    assert difference(results(path, TEXT)["last_hidden_state"], wanted) < 1e-5


def test_a_checkpoint_of_something_else_is_refused_by_the_name_of_what_it_lacks(tmp_path: Path) -> None:
    folder, _ = saved(tmp_path, CASES[2])
    with pytest.raises(WorkloadError, match=r"has no tensor 'embeddings\.word_embeddings\.weight'"):
        write_onnx({"model_type": "bert", **BERT}, tmp_path / "bert.onnx", weights=folder)
    assert sorted(item.name for item in tmp_path.iterdir()) == ["hub"]


MIXTURE = {
    "hidden_size": 48, "intermediate_size": 80, "num_hidden_layers": 2, "num_attention_heads": 4,
    "num_key_value_heads": 2, "vocab_size": 101, "num_experts_per_tok": 2,
}  # fmt: skip


@pytest.mark.parametrize(
    ("kind", "auto", "further"),
    [
        ("mixtral", "MixtralForCausalLM", {"num_local_experts": 4}),
        ("qwen3_moe", "Qwen3MoeForCausalLM", {"num_experts": 4, "moe_intermediate_size": 32, "head_dim": 12}),
    ],
)
def test_experts_that_a_file_keeps_one_by_one_are_stacked(
    tmp_path: Path, kind: str, auto: str, further: dict[str, Any]
) -> None:
    feeds = {"input_ids": IDS}
    folder, wanted = saved(tmp_path, (kind, auto, {**MIXTURE, **further}, feeds, "logits"))
    path = write_onnx(folder, tmp_path / "model.onnx", weights=folder, dtype="fp32", logits="all")
    assert difference(results(path, feeds)["logits"], wanted) < 1e-5


def test_norms_converted_from_tensorflow_are_found() -> None:
    renamed = Renamed({"bert.embeddings.LayerNorm.gamma": np.ones(3)})
    assert "embeddings.LayerNorm.weight" in renamed
    assert renamed["bert.embeddings.LayerNorm.weight"].sum() == 3
    assert "embeddings.LayerNorm.bias" not in renamed
    assert list(renamed) == ["bert.embeddings.LayerNorm.gamma"]
    assert len(renamed) == 1
    with pytest.raises(KeyError):
        renamed["embeddings.LayerNorm.bias"]
