"""Conformer and Squeezeformer of the zoo give what an independent torch version gives; their published tables."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.workloads.zoo_compare import TOLERANCE, difference, run, shake, state_of, trained
from workloads.zoo import parameter_count
from workloads.zoo.phase import Phase

SIZES: dict[str, Any] = {
    "hidden_size": 24, "num_hidden_layers": 3, "num_attention_heads": 4, "num_mel_bins": 14, "vocab_size": 11,
}  # fmt: skip
CONFORMER = {**SIZES, "model_type": "conformer", "conv_kernel_size": 8}
TRANSDUCER = {
    **CONFORMER, "model_type": "conformer_transducer", "decoder_hidden_size": 20, "decoder_embedding_size": 10,
    "joint_size": 18,
}  # fmt: skip
SQUEEZEFORMER = {
    **SIZES, "num_hidden_layers": 5, "model_type": "squeezeformer", "conv_kernel_size": 7, "time_reduce_layer": 2,
    "time_recover_layer": 4, "time_reduce_kernel_size": 5,
}  # fmt: skip


def built(kind: str, config: dict[str, Any]) -> Any:
    import torch

    from tests.workloads import torch_speech

    torch.manual_seed(0)
    model = getattr(torch_speech, kind)(config).eval()
    shake(model)
    return model


@pytest.mark.parametrize(
    ("kind", "config"),
    [("Conformer", CONFORMER), ("Conformer", {**CONFORMER, "conv_kernel_size": 7}), ("Squeezeformer", SQUEEZEFORMER)],
)
@pytest.mark.parametrize("frames", [37, 40, 43])  # 10 and 11 steps: even and odd halves
def test_scores_are_those_of_an_independent_torch_version(kind: str, config: dict[str, Any], frames: int) -> None:
    import torch

    model = built(kind, config)
    heard = np.random.default_rng(7).normal(size=(2, frames, config["num_mel_bins"])).astype(np.float32)
    with torch.no_grad():
        theirs = model(torch.from_numpy(heard))
    ours = run(config, state_of(model), Phase(name="encode"), {"input_features": heard})
    assert difference(ours["logits"], theirs) < TOLERANCE
    assert parameter_count(config) == trained(model)


def test_a_transducer_scores_frames_and_tokens_as_torchs_lstm_does() -> None:
    import torch

    encoder, decoder = built("Conformer", TRANSDUCER), built("TransducerDecoder", TRANSDUCER)
    random = np.random.default_rng(8)
    heard = random.normal(size=(2, 30, 14)).astype(np.float32)
    tokens = random.integers(0, 11, (2, 3))
    with torch.no_grad():
        theirs = encoder(torch.from_numpy(heard))
        scores, _ = decoder(torch.from_numpy(tokens), theirs[:, 1])
    encoded = run(TRANSDUCER, state_of(encoder), Phase(name="encode"), {"input_features": heard})["encoder_output"]
    assert difference(encoded, theirs) < TOLERANCE
    hidden = cell = np.zeros((2, 20), np.float32)
    for index in range(3):
        feeds = {
            "input_ids": tokens[:, index],
            "past_hidden": hidden,
            "past_cell": cell,
            "encoder_frame": encoded[:, 1],
        }
        step = run(TRANSDUCER, state_of(decoder), Phase(name="decode"), feeds)
        hidden, cell = step["present_hidden"], step["present_cell"]
    assert difference(step["logits"], scores) < TOLERANCE
    assert parameter_count(TRANSDUCER) == trained(encoder) + trained(decoder)
