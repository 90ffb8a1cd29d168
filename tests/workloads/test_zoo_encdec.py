"""Encoder-decoder models of the zoo give what transformers gives: encoder, all target tokens, one step with caches."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.workloads.zoo_compare import (
    TOLERANCE,
    config_of,
    difference,
    random_model,
    run,
    state_of,
    step_feeds,
    trained,
)
from workloads.zoo import architecture, generation, parameter_count
from workloads.zoo.phase import Phase
from workloads.zoo.t5 import buckets

T5 = {
    "d_model": 48, "d_kv": 10, "d_ff": 80, "num_layers": 2, "num_decoder_layers": 3, "num_heads": 4, "vocab_size": 101,
    "relative_attention_num_buckets": 8, "relative_attention_max_distance": 12,
}  # fmt: skip
TOKENS = 11


@pytest.mark.parametrize(("count", "distance"), [(32, 128), (8, 12), (64, 300)])
@pytest.mark.parametrize("both_sides", [True, False])
def test_buckets_of_distances_are_those_of_transformers(count: int, distance: int, both_sides: bool) -> None:
    import torch
    from transformers.models.t5.modeling_t5 import T5Attention

    relative = torch.arange(-distance, distance + 1)
    bucket: Any = T5Attention._relative_position_bucket
    wanted = bucket(relative, both_sides, count, distance)
    assert buckets(count, distance, both_sides=both_sides) == wanted.tolist()


def compared(model: Any, config: dict[str, Any]) -> None:
    """Compare the encoder, all target tokens, and the last of them as a step; padded source."""
    import torch

    random = np.random.default_rng(5)
    source, target = random.integers(2, 101, (2, 17)), random.integers(2, 101, (2, TOKENS))
    mask = np.ones((2, 17), np.int64)
    mask[1, 12:] = 0
    state = state_of(model)
    with torch.no_grad():
        theirs = model(
            input_ids=torch.from_numpy(source),
            attention_mask=torch.from_numpy(mask),
            decoder_input_ids=torch.from_numpy(target),
        )
    encoded = run(config, state, Phase(name="encode"), {"input_ids": source, "attention_mask": mask})
    real = mask.astype(bool)
    wanted = theirs.encoder_last_hidden_state.detach()
    assert difference(encoded["last_hidden_state"][real], wanted[torch.from_numpy(real)]) < TOLERANCE
    given = {"encoder_output": encoded["last_hidden_state"], "encoder_attention_mask": mask}
    full = run(config, state, Phase(name="prefill", logits="all"), {"input_ids": target, **given})
    assert difference(full["logits"], theirs.logits) < TOLERANCE
    step(config, state, target, given, theirs.logits)


def step(config: dict[str, Any], state: Any, target: Any, given: dict[str, Any], wanted: Any) -> None:
    """Compare the last target token, computed with the caches of the others."""
    before = run(config, state, Phase(name="prefill"), {"input_ids": target[:, :-1], **given})
    assert before["logits"].shape[1] == 1
    assert difference(before["logits"][:, 0], wanted[:, -2]) < TOLERANCE
    feeds = step_feeds(config, before, TOKENS - 1)
    feeds |= {"input_ids": target[:, -1:], "position": np.full(2, TOKENS - 1, np.int64)}
    if "encoder_attention_mask" in given:
        feeds["encoder_attention_mask"] = given["encoder_attention_mask"]
    after = run(config, state, Phase(name="decode"), feeds)
    assert difference(after["logits"][:, 0], wanted[:, -1]) < TOLERANCE
    assert not any(np.isnan(value).any() for value in after.values())


@pytest.mark.parametrize("projection", ["relu", "gated-gelu"])
def test_t5_gives_what_transformers_gives(projection: str) -> None:
    import torch

    tied = projection == "relu"
    model = random_model(
        "t5", "T5ForConditionalGeneration", {**T5, "feed_forward_proj": projection, "tie_word_embeddings": tied}
    )
    config = config_of(model) | {"tie_word_embeddings": tied}
    if not tied:  # transformers 5 ties what the checkpoints of version 1.1 keep apart
        model.lm_head.weight = torch.nn.Parameter(torch.randn(101, 48) * 0.1)
    compared(model, config)
    assert parameter_count(config) == trained(model)


BART = {
    "d_model": 48, "encoder_layers": 2, "decoder_layers": 3, "encoder_attention_heads": 4, "decoder_attention_heads": 6,
    "encoder_ffn_dim": 80, "decoder_ffn_dim": 72, "vocab_size": 101,
}  # fmt: skip


@pytest.mark.parametrize(
    ("kind", "auto"), [("bart", "BartForConditionalGeneration"), ("mbart", "MBartForConditionalGeneration")]
)
def test_bart_gives_what_transformers_gives(kind: str, auto: str) -> None:
    values = {**BART, "max_position_embeddings": 40, "scale_embedding": kind == "mbart"}
    model = random_model(kind, auto, values)
    config = config_of(model)
    compared(model, config)
    assert parameter_count(config) == trained(model)


def test_whisper_gives_what_transformers_gives() -> None:
    import torch

    special = dict.fromkeys(("pad_token_id", "bos_token_id", "eos_token_id", "decoder_start_token_id"), 0)
    values = {**BART, **special, "num_mel_bins": 8, "max_source_positions": 15, "max_target_positions": 24}
    model = random_model("whisper", "WhisperForConditionalGeneration", values)
    config, state = config_of(model), state_of(model)
    random = np.random.default_rng(6)
    heard = random.normal(size=(2, 8, 30)).astype(np.float32)
    target = random.integers(2, 101, (2, TOKENS))
    with torch.no_grad():
        theirs = model(input_features=torch.from_numpy(heard), decoder_input_ids=torch.from_numpy(target))
    encoded = run(config, state, Phase(name="encode"), {"input_features": heard})["last_hidden_state"]
    assert difference(encoded, theirs.encoder_last_hidden_state) < TOLERANCE
    given = {"encoder_output": encoded}
    full = run(config, state, Phase(name="prefill", logits="all"), {"input_ids": target, **given})
    assert difference(full["logits"], theirs.logits) < TOLERANCE
    step(config, state, target, given, theirs.logits)
    assert parameter_count(config) == trained(model)


def test_a_generation_encodes_once_and_its_steps_read_what_the_encoder_gave() -> None:
    config = {**T5, "model_type": "t5"}
    program = generation(config, prompt=1, tokens=4, source=50)
    encoder = architecture(config, phase="encode", seq=50)
    assert [weight for weight, _ in program][:2] == [1.0, 1.0]
    assert program.parts[0][1].digest() == encoder.digest()
    assert sum(weight for weight, _ in program) == 1 + 4
    step = program.parts[-1][1]
    read = {tensor.name: tensor for op in step for tensor in op.inputs if tensor.name.startswith("past_cross_")}
    values = sum(tensor.values(op.dims) for op in step for tensor in op.inputs if tensor.name in read)
    assert values == 2 * 3 * 4 * 10 * 50  # keys and values of three layers, four heads of ten, for 50 tokens
