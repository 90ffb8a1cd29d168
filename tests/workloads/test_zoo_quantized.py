"""A configuration that says how its weights are quantized is honoured, or refused by a message; never ignored."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from workloads import WorkloadError
from workloads.zoo import architecture, generation, parameter_count, published, write_onnx

LLAMA: dict[str, Any] = {
    "model_type": "llama", "hidden_size": 256, "intermediate_size": 512, "num_hidden_layers": 2,
    "num_attention_heads": 4, "num_key_value_heads": 4, "vocab_size": 100,
}  # fmt: skip
IN_LAYERS = 2 * (4 * 256 * 256 + 3 * 256 * 512)
ELSEWHERE = 2 * 100 * 256 + 5 * 256  # embedding, head, norms


def quantized(**fields: Any) -> dict[str, Any]:
    return {**LLAMA, "quantization_config": fields}


@pytest.mark.parametrize(
    ("fields", "bits", "per_scale"),
    [
        ({"quant_method": "gptq", "bits": 4, "group_size": 128, "desc_act": False}, 4, 128),
        ({"quant_method": "gptq", "bits": 3, "group_size": -1}, 3, None),
        ({"quant_method": "awq", "bits": 4, "group_size": 64, "modules_to_not_convert": None}, 4, 64),
        ({"quant_method": "awq", "w_bit": 8, "q_group_size": 32, "modules_to_not_convert": ["lm_head"]}, 8, 32),
        ({"load_in_4bit": True, "load_in_8bit": False, "bnb_4bit_quant_type": "nf4"}, 4, 64),
        ({"quant_method": "bitsandbytes", "load_in_8bit": True, "llm_int8_skip_modules": None}, 8, None),
    ],
)
def test_weights_of_the_layers_have_the_bits_that_the_configuration_says(
    fields: dict[str, Any], bits: int, per_scale: int | None
) -> None:
    plain, small = (architecture(config, seq=8) for config in (LLAMA, quantized(**fields)))
    columns = 2 * (4 * 256 + 2 * 512 + 256)
    scales = IN_LAYERS / per_scale if per_scale else columns
    saved = (IN_LAYERS * (16 - bits) - 16 * scales) / 8  # scales are fp16; the rest stays
    assert float(plain.weight_bytes() - small.weight_bytes()) == pytest.approx(saved, rel=1e-12)
    assert parameter_count(quantized(**fields)) == IN_LAYERS + ELSEWHERE


def test_every_step_of_a_generation_has_them() -> None:
    fields = {"quant_method": "gptq", "bits": 4, "group_size": 128}
    plain, small = (generation(config, prompt=4, tokens=3) for config in (LLAMA, quantized(**fields)))
    for (_, full), (_, part) in zip(plain, small, strict=True):
        assert float(part.weight_bytes()) < float(full.weight_bytes()) / 2


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"quant_method": "fp8", "weight_block_size": [128, 128]}, "'fp8' is not supported; known are awq"),
        ({"quant_method": "mxfp4"}, "'mxfp4' is not supported"),
        ({"bits": 4}, "'unknown' is not supported"),
        ({"quant_method": "gptq", "bits": 16}, "bits = 16 is out of range"),
        ({"quant_method": "gptq", "bits": 4, "group_size": 100}, "cannot be honoured .*power of two"),
        ({"quant_method": "gptq", "bits": 4, "dynamic": {"+:.*down.*": {"bits": 8}}}, r"otherwise \(dynamic\)"),
        ({"quant_method": "awq", "bits": 4, "modules_to_not_convert": ["q_proj"]}, "otherwise"),
        ({"quant_method": "bitsandbytes"}, "both false"),
        ("gptq", "quantization_config = 'gptq' is not an object"),
    ],
)
def test_what_cannot_be_honoured_is_refused_with_the_way_out(fields: Any, message: str) -> None:
    with pytest.raises(WorkloadError, match=message):
        architecture({**LLAMA, "quantization_config": fields}, seq=8)


def test_weights_inside_a_fused_operator_are_refused() -> None:
    config = {**published("mixtral-8x7b").config, "num_hidden_layers": 1}
    fields = {"quant_method": "gptq", "bits": 4, "group_size": 128}
    with pytest.raises(WorkloadError, match="lie inside a fused operator; leave the field out"):
        architecture({**config, "quantization_config": fields}, seq=8)


def test_a_file_of_plain_weights_is_not_written_for_it(tmp_path: Path) -> None:
    folder = tmp_path / "checkpoint"
    folder.mkdir()
    fields = {"quant_method": "gptq", "bits": 4, "group_size": 128}
    (folder / "config.json").write_text(json.dumps(quantized(**fields)))
    with pytest.raises(WorkloadError, match="packed weights, and files are written with plain ones; leave the field"):
        write_onnx(folder, tmp_path / "model.onnx")
    assert [item.name for item in tmp_path.iterdir()] == ["checkpoint"]
