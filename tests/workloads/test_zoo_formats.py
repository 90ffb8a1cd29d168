"""Graphs in half formats and with integer caches: types that fit, and numbers that stay near those of fp32."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.workloads.test_zoo_config import sound
from tests.workloads.zoo_compare import Arrays
from workloads.zoo import write_onnx
from workloads.zoo.build import graph
from workloads.zoo.families import FAMILIES

FORMATS = ("fp32", "fp16", "bf16")
TINY: dict[str, Any] = {
    "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "vocab_size": 64, "intermediate_size": 64,
}  # fmt: skip
IDS = np.random.default_rng(1).integers(2, 64, (2, 30))
TEXT = {"input_ids": IDS, "attention_mask": np.ones_like(IDS), "token_type_ids": np.zeros_like(IDS)}
HEARD = {"input_features": np.random.default_rng(1).normal(size=(2, 120, 16))}
CASES: list[tuple[dict[str, Any], Arrays, str]] = [
    ({**TINY, "model_type": "bert"}, TEXT, "last_hidden_state"),
    ({**TINY, "model_type": "roberta", "max_position_embeddings": 64}, TEXT, "last_hidden_state"),
    (
        {"model_type": "t5", "d_model": 32, "d_kv": 8, "d_ff": 64, "num_layers": 2, "num_heads": 4, "vocab_size": 64},
        TEXT,
        "last_hidden_state",
    ),
    ({**TINY, "model_type": "conformer", "num_mel_bins": 16}, HEARD, "logits"),
]


@pytest.mark.parametrize("kind", FAMILIES)
def test_types_fit_in_every_phase_and_format(kind: str) -> None:
    import onnx

    for phase in FAMILIES[kind].phases:
        cached = phase != "encode" and "prefill" in FAMILIES[kind].phases
        for dtype in FORMATS:
            for bits in (None, 8, 4) if cached and dtype == "fp16" else (None,):
                model = graph(sound()[kind], phase=phase, dtype=dtype, kv_bits=bits).model()
                onnx.shape_inference.infer_shapes(model, check_type=True, strict_mode=True, data_prop=True)


def results(path: Any, feeds: Arrays, dtype: str) -> Arrays:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    known = {item.name for item in session.get_inputs()}
    floats = np.float32 if dtype == "fp32" else np.float16
    given = {
        name: value if np.issubdtype(value.dtype, np.integer) else value.astype(floats)
        for name, value in feeds.items()
        if name in known
    }
    names = [item.name for item in session.get_outputs()]
    return dict(zip(names, session.run(names, given), strict=True))


@pytest.mark.parametrize(("config", "feeds", "output"), CASES, ids=[case[0]["model_type"] for case in CASES])
def test_fp16_loses_what_its_eleven_bits_lose(
    config: dict[str, Any], feeds: Arrays, output: str, tmp_path: Any
) -> None:
    found = {}
    for dtype in ("fp32", "fp16"):
        path = write_onnx(config, tmp_path / f"{dtype}.onnx", weights="random", dtype=dtype)
        found[dtype] = results(path, feeds, dtype)[output].astype(np.float32)
    error = np.abs(found["fp16"] - found["fp32"]).max() / np.abs(found["fp32"]).max()
    assert 0 < error < 2**-11 * 16  # a rounding of half a unit in each of some tens of operations in a row


def test_an_integer_cache_holds_rounded_keys_of_tokens_and_of_the_source(tmp_path: Any) -> None:
    config, _, _ = CASES[2]
    random = np.random.default_rng(3)
    feeds: Arrays = {
        "input_ids": IDS[:, :5],
        "encoder_output": random.normal(size=(2, 7, 32)),
        "encoder_attention_mask": np.ones((2, 7), np.int64),
    }
    kept = {}
    for bits in (None, 8):
        path = write_onnx(config, tmp_path / "m.onnx", weights="random", phase="prefill", dtype="fp32", kv_bits=bits)
        kept[bits] = results(path, feeds, "fp32")
    scale = 0.05  # of an uncalibrated cache: workloads.zoo.phase
    for name in ("present_key_0", "present_value_0", "present_cross_key_0", "present_cross_value_0"):
        assert kept[8][name].dtype == np.int8
        rounded = np.clip(np.rint(kept[None][name] / np.float32(scale)), -128, 127)
        assert np.abs(kept[8][name] - rounded).max() <= 1
        assert np.mean(kept[8][name] == rounded) > 0.999  # ties may fall either way
    np.testing.assert_allclose(kept[8]["logits"], kept[None]["logits"], atol=1e-5)  # a prefill uses what it computed
