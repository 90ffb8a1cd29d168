"""GGUF files beside their own tools: read as the gguf package reads them, a Llama's weights as transformers does."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from workloads.errors import WorkloadError
from workloads.zoo.gguf import read_gguf
from workloads.zoo.gguf_llama import LlamaWeights, llama_config

gguf = pytest.importorskip("gguf", reason="the outside reference for GGUF files: pip install 'fullstack-dse[test]'")

WORDS, WIDTH, INNER, HEADS, GROUPS = 96, 64, 96, 4, 2


def quantized(values: NDArray[Any], name: str) -> tuple[NDArray[Any], Any]:
    kind = gguf.GGMLQuantizationType[name]
    return gguf.quants.quantize(values, kind), kind


def write_llama(path: Path, form: str = "Q4_1", architecture: str = "llama", **extra: Any) -> dict[str, NDArray[Any]]:
    """Let gguf write a one-layer Llama; give the values that gguf reads back, by the file's names."""
    rng = np.random.default_rng(0)
    writer = gguf.GGUFWriter(str(path), architecture)
    writer.add_block_count(1)
    writer.add_context_length(128)
    writer.add_embedding_length(WIDTH)
    writer.add_feed_forward_length(INNER)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(GROUPS)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_freq_base(10000.0)
    writer.add_vocab_size(WORDS)
    writer.add_token_list([f"w{index}" for index in range(WORDS)])
    for key, value in extra.items():
        writer.add_string(key.replace("__", "."), value)
    keys = WIDTH * GROUPS // HEADS
    shapes = {
        "token_embd": (WORDS, WIDTH), "output_norm": (WIDTH,), "blk.0.attn_norm": (WIDTH,), "blk.0.ffn_norm": (WIDTH,),
        "blk.0.attn_q": (WIDTH, WIDTH), "blk.0.attn_k": (keys, WIDTH), "blk.0.attn_v": (keys, WIDTH),
        "blk.0.attn_output": (WIDTH, WIDTH), "blk.0.ffn_gate": (INNER, WIDTH), "blk.0.ffn_up": (INNER, WIDTH),
        "blk.0.ffn_down": (WIDTH, INNER),
    }  # fmt: skip
    stored = {}
    for name, shape in shapes.items():
        values = rng.standard_normal(shape, dtype=np.float32)
        if len(shape) == 1:
            writer.add_tensor(f"{name}.weight", values)
            stored[f"{name}.weight"] = values
            continue
        packed, kind = quantized(values, form)
        writer.add_tensor(f"{name}.weight", packed, raw_dtype=kind)
        stored[f"{name}.weight"] = gguf.quants.dequantize(packed, kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return stored


@pytest.mark.parametrize("form", ["F32", "F16", "Q4_0", "Q4_1", "Q8_0"])
def test_every_format_is_read_to_the_bit_as_gguf_reads_it(tmp_path: Path, form: str) -> None:
    wanted = write_llama(tmp_path / "model.gguf", form)
    file = read_gguf(tmp_path / "model.gguf")
    assert set(file) == set(wanted)
    assert len(file) == len(wanted)
    assert file.format_of("blk.0.attn_q.weight") == form
    for name, values in wanted.items():
        assert file.shape_of(name) == values.shape
        np.testing.assert_array_equal(file[name], values)
    assert file.metadata["tokenizer.ggml.tokens"][:2] == ["w0", "w1"]


def test_a_block_of_each_kind_by_hand(tmp_path: Path) -> None:
    """The definition of ggml-common.h, without its tools: value = scale x (number - 8), scale x number + least."""
    from workloads.zoo.gguf import _FORMATS

    half = np.array([0.5], np.float16).tobytes()
    numbers = bytes(range(16))  # low four bits 0 .. 15, high four bits 0
    block = {2: half + numbers, 3: half + np.array([-1.0], np.float16).tobytes() + numbers, 8: half + bytes(range(32))}
    wanted = {
        2: [*(0.5 * (n - 8) for n in range(16)), *[-4.0] * 16],
        3: [*(0.5 * n - 1 for n in range(16)), *[-1.0] * 16],
        8: [0.5 * n for n in range(32)],
    }
    for number, raw in block.items():
        got = _FORMATS[number].floats(np.frombuffer(raw, np.uint8).reshape(1, -1))
        np.testing.assert_array_equal(got, [wanted[number]])


@pytest.mark.slow
def test_a_llama_has_the_weights_and_the_configuration_that_transformers_reads(tmp_path: Path) -> None:
    pytest.importorskip("accelerate", reason="transformers needs it to read GGUF files")
    torch = pytest.importorskip("torch")
    from transformers import LlamaForCausalLM

    write_llama(tmp_path / "model.gguf")
    options: dict[str, Any] = {"gguf_file": "model.gguf", "dtype": torch.float32}
    model: Any = LlamaForCausalLM.from_pretrained(str(tmp_path), **options)
    file = read_gguf(tmp_path / "model.gguf")
    ours = LlamaWeights(file)
    theirs = {name: value.numpy() for name, value in model.state_dict().items() if name != "lm_head.weight"}
    assert set(ours) == set(theirs)
    for name, values in theirs.items():
        np.testing.assert_array_equal(ours[name], values)
    config = llama_config(file)
    assert {key: getattr(model.config, key) for key in config if key != "rope_theta"} == {
        key: value for key, value in config.items() if key != "rope_theta"
    }
    assert model.config.rope_parameters["rope_theta"] == config["rope_theta"]


def test_membership_reads_nothing_and_unknown_names_are_absent(tmp_path: Path) -> None:
    write_llama(tmp_path / "model.gguf")
    weights = LlamaWeights(read_gguf(tmp_path / "model.gguf"))
    assert "model.layers.0.mlp.up_proj.weight" in weights
    assert "model.layers.1.mlp.up_proj.weight" not in weights
    assert "model.layers.0.mlp.side_proj.weight" not in weights
    assert len(weights) == len(list(weights))


@pytest.mark.parametrize(
    ("extra", "architecture", "words"),
    [
        ({}, "gpt2", "only 'llama' is read"),
        ({"llama__rope__scaling__type": "linear"}, "llama", "scales its rotary positions"),
    ],
)
def test_what_would_give_another_model_is_refused(
    tmp_path: Path, extra: dict[str, str], architecture: str, words: str
) -> None:
    write_llama(tmp_path / "model.gguf", architecture=architecture, **extra)
    with pytest.raises(WorkloadError, match=words):
        llama_config(read_gguf(tmp_path / "model.gguf"))


def test_other_types_other_files_and_versions_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "model.gguf"
    write_llama(path, "Q5_0")
    with pytest.raises(WorkloadError, match="ggml's type 6; F32, F16, Q4_0, Q4_1, Q8_0 are read"):
        read_gguf(path)
    with pytest.raises(WorkloadError, match="not a readable GGUF file"):
        read_gguf(tmp_path / "absent.gguf")
    path.write_bytes(b"ONNX" + bytes(20))
    with pytest.raises(WorkloadError, match="begins with b'ONNX'"):
        read_gguf(path)
    path.write_bytes(b"GGUF" + (1).to_bytes(4, "little") + bytes(16))
    with pytest.raises(WorkloadError, match="GGUF version 1"):
        read_gguf(path)


def test_a_file_cut_anywhere_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "model.gguf"
    write_llama(path)
    whole = path.read_bytes()
    last = max(place.start + place.size_bytes for place in read_gguf(path)._places.values())
    for length in [*range(0, 3000, 7), last - 1]:
        path.write_bytes(whole[:length])
        with pytest.raises(WorkloadError, match=r"not a readable GGUF|begins with|damaged GGUF|cut short"):
            read_gguf(path)


def test_a_count_that_the_file_cannot_hold_is_refused_at_once(tmp_path: Path) -> None:
    path = tmp_path / "model.gguf"
    key = (1).to_bytes(8, "little") + b"k"
    listed = (9).to_bytes(4, "little") + (4).to_bytes(4, "little") + (2**60).to_bytes(8, "little")
    head = b"GGUF" + (3).to_bytes(4, "little") + (0).to_bytes(8, "little") + (1).to_bytes(8, "little")
    path.write_bytes(head + key + listed)
    with pytest.raises(WorkloadError, match="damaged GGUF"):
        read_gguf(path)
