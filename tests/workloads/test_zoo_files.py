"""Architectures as files: values of a checkpoint come out of ONNX Runtime, and nothing is left half-written."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from workloads import WorkloadError, load_onnx
from workloads.zoo import architecture, write_onnx

CONFIG = {
    "model_type": "llama",
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "vocab_size": 101,
    "max_position_embeddings": 64,
}


def hugging_face_folder(folder: Path, *, shards: str = "1GB", dtype: str = "float32") -> tuple[Path, Any]:
    """Save a random model as `save_pretrained` does."""
    import torch
    import transformers

    torch.manual_seed(0)
    values = {name: value for name, value in CONFIG.items() if name != "model_type"}
    model = transformers.LlamaForCausalLM(transformers.LlamaConfig(**values)).to(getattr(torch, dtype)).eval()  # type: ignore[arg-type]  # a dtype
    model.save_pretrained(folder, max_shard_size=shards)
    return folder, model


def logits(path: Path, ids: Any) -> Any:
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return session.run(["logits"], {"input_ids": ids})[0]


@pytest.mark.parametrize("shards", ["1GB", "100KB"])
def test_a_hugging_face_folder_becomes_a_file_with_its_values(tmp_path: Path, shards: str) -> None:
    import torch

    folder, model = hugging_face_folder(tmp_path / "hf", shards=shards)
    assert (folder / "model.safetensors.index.json").exists() == (shards != "1GB")
    path = write_onnx(folder, tmp_path / "out" / "llama.onnx", weights=folder, dtype="fp32", logits="all")
    ids = torch.randint(0, 101, (2, 9), generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        wanted = model(ids).logits.numpy()
    np.testing.assert_allclose(logits(path, ids.numpy()), wanted, atol=1e-5)
    assert sorted(item.name for item in path.parent.iterdir()) == ["llama.onnx", "llama.weights"]


def test_bfloat16_checkpoints_are_read(tmp_path: Path) -> None:
    folder, _ = hugging_face_folder(tmp_path / "hf", dtype="bfloat16")
    path = write_onnx(folder, tmp_path / "llama.onnx", weights=folder, dtype="fp32")
    rows = logits(path, np.zeros((1, 3), np.int64))
    assert np.isfinite(rows).all()
    assert np.abs(rows).max() > 0


@pytest.mark.parametrize("phase", ["prefill", "decode"])
@pytest.mark.parametrize("weights", [None, "random"])
@pytest.mark.parametrize("kv_bits", [None, 8, 4])
def test_loading_the_file_gives_the_same_workload(
    tmp_path: Path, phase: Any, weights: str | None, kv_bits: int | None
) -> None:
    path = write_onnx(CONFIG, tmp_path / "m.onnx", weights=weights, phase=phase, kv_bits=kv_bits)
    sizes = {"batch": 2, "seq": 9} if phase == "prefill" else {"batch": 2, "total": 10}
    found = load_onnx(path, missing_weights="allow" if weights is None else "error", **sizes)  # type: ignore[arg-type]
    assert found.digest() == architecture(CONFIG, phase=phase, batch=2, seq=9, kv_bits=kv_bits).digest()


def test_random_values_follow_the_seed(tmp_path: Path) -> None:
    def data(seed: int) -> bytes:
        return write_onnx(CONFIG, tmp_path / "m.onnx", weights="random", seed=seed).with_suffix(".weights").read_bytes()

    assert data(1) == data(1)
    assert data(1) != data(2)


def test_a_checkpoint_of_another_size_is_refused_and_leaves_nothing(tmp_path: Path) -> None:
    folder, _ = hugging_face_folder(tmp_path / "hf")
    with pytest.raises(WorkloadError, match=r"is \(64, 128\) in the graph and \(64, 96\) in the checkpoint"):
        write_onnx({**CONFIG, "intermediate_size": 128}, tmp_path / "out" / "m.onnx", weights=folder)
    with pytest.raises(WorkloadError, match=r"has no tensor 'model.layers.3"):
        write_onnx({**CONFIG, "num_hidden_layers": 4}, tmp_path / "out" / "m.onnx", weights=folder)
    assert list((tmp_path / "out").iterdir()) == []


def test_broken_checkpoints_are_refused_by_name(tmp_path: Path) -> None:
    out = tmp_path / "m.onnx"
    with pytest.raises(WorkloadError, match="no such checkpoint"):
        write_onnx(CONFIG, out, weights=tmp_path / "none")
    (tmp_path / "empty").mkdir()
    with pytest.raises(WorkloadError, match=r"no \*\.safetensors"):
        write_onnx(CONFIG, out, weights=tmp_path / "empty")
    bad = tmp_path / "bad.safetensors"
    bad.write_bytes(b"\x10\x00\x00\x00\x00\x00\x00\x00not json at all!")
    with pytest.raises(WorkloadError, match="not a readable safetensors file"):
        write_onnx(CONFIG, out, weights=bad)
    index = tmp_path / "empty" / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": {"model.norm.weight": "../bad.safetensors"}}))
    with pytest.raises(WorkloadError, match="not beside it"):
        write_onnx(CONFIG, out, weights=tmp_path / "empty")
