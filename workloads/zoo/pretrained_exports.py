"""ONNX files of the pretrained models that come as weights: SmolLM2 through the zoo, Whisper and MiniLM by torch."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from workloads.capturing.torch_module import export_checked
from workloads.zoo.export import export_minilm_l6
from workloads.zoo.fetch import cache_folder
from workloads.zoo.files import write_onnx
from workloads.zoo.gguf import read_gguf
from workloads.zoo.gguf_llama import LlamaWeights, llama_config
from workloads.zoo.phase import PhaseName
from workloads.zoo.pretrained import PRETRAINED, fetch

if TYPE_CHECKING:
    import torch

__all__ = ["pretrained_onnx", "whisper_encoder_module", "write_smollm2"]

_RELATIVE_ERROR = 1e-4
"""Of Whisper: more rounding adds up than `capturing.checking.TOLERANCE` allows, over 1,500 positions."""

# Parts of a parameter's name: OpenAI's checkpoint to transformers' `WhisperModel`.
_WHISPER_NAMES = (
    ("blocks.", "layers."),
    (".mlp.0.", ".fc1."),
    (".mlp.2.", ".fc2."),
    (".mlp_ln.", ".final_layer_norm."),
    (".attn.query.", ".self_attn.q_proj."),
    (".attn.key.", ".self_attn.k_proj."),
    (".attn.value.", ".self_attn.v_proj."),
    (".attn.out.", ".self_attn.out_proj."),
    (".attn_ln.", ".self_attn_layer_norm."),
    ("ln_post.", "layer_norm."),
    ("positional_embedding", "embed_positions.weight"),
)


def pretrained_onnx(name: str) -> Path:
    """Give the ONNX file of a pretrained model, written once where it comes as weights.

    Of SmolLM2 it is the decode step, which has the cache; `write_smollm2` also writes the prefill.

    Raises:
        WorkloadError: The name is unknown, the package cannot be had, or what the export needs is not installed.
    """
    if name == "minilm-l6":
        return export_minilm_l6()
    if name not in _EXPORTS:
        return fetch(name) / "model.onnx"
    target = cache_folder() / "exported" / f"{name}-{PRETRAINED[name].archive_sha256[:12]}.onnx"
    if not target.is_file():
        _EXPORTS[name](target)
    return target


def write_smollm2(path: Path, phase: PhaseName) -> Path:
    """Write SmolLM2-135M as the zoo writes any Llama, its four-bit weights given back as float32.

    Args:
        path: Where; the values lie beside it.
        phase: "prefill": `input_ids` (batch, seq) to the logits of all tokens, and the cache; "decode": one token over
            a cache with room for it.

    Raises:
        WorkloadError: The weights cannot be had.
    """
    file = read_gguf(fetch("smollm2-135m") / "model.gguf")
    return write_onnx(llama_config(file), path, weights=LlamaWeights(file), phase=phase, dtype="fp32", logits="all")


def whisper_encoder_module() -> torch.nn.Module:
    """Build the encoder of Whisper tiny.en with its weights: log-mel (batch, 80, 3000) to states (batch, 1500, 384)."""
    import torch
    from transformers import WhisperConfig, WhisperModel

    checkpoint = torch.load(fetch("whisper-tiny-en") / "tiny.en.pt", weights_only=True)
    dims = checkpoint["dims"]
    config = WhisperConfig(
        vocab_size=dims["n_vocab"],
        d_model=dims["n_audio_state"],
        encoder_layers=dims["n_audio_layer"],
        encoder_attention_heads=dims["n_audio_head"],
        encoder_ffn_dim=4 * dims["n_audio_state"],
    )
    config._attn_implementation = "eager"
    encoder = WhisperModel(config).encoder
    state = {}
    for name, value in checkpoint["model_state_dict"].items():
        if name.startswith("encoder."):
            for theirs, ours in _WHISPER_NAMES:
                name = name.replace(theirs, ours)
            state[name.removeprefix("encoder.")] = value.float()
    encoder.load_state_dict(state)

    class Encoder(torch.nn.Module):
        """Log-mel spectrogram to states."""

        def __init__(self) -> None:
            super().__init__()
            self.encoder = encoder

        def forward(self, input_features: Any) -> Any:
            return self.encoder(input_features).last_hidden_state

    return Encoder().eval()


def _export_smollm2(path: Path) -> None:
    write_smollm2(path, "decode")


def _export_whisper(path: Path) -> None:
    import torch

    features = torch.randn(2, 80, 3000, generator=torch.Generator().manual_seed(1))
    export_checked(whisper_encoder_module(), features, path, outputs=("states",), tolerance=_RELATIVE_ERROR)


_EXPORTS: dict[str, Callable[[Path], None]] = {"smollm2-135m": _export_smollm2, "whisper-tiny-en": _export_whisper}
