"""ONNX files of the pretrained models that come as weights: SmolLM2 from GGUF, Whisper from its checkpoint."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from workloads.capturing.torch_module import export_checked
from workloads.errors import WorkloadError
from workloads.zoo.export import export_minilm_l6
from workloads.zoo.fetch import cache_folder
from workloads.zoo.pretrained import PRETRAINED, fetch

if TYPE_CHECKING:
    import torch

__all__ = ["pretrained_onnx", "smollm2_module", "whisper_encoder_module"]

_RELATIVE_ERROR = 1e-4
"""Deeper models add up more rounding than `capturing.checking.TOLERANCE` allows: 30 layers, 1,500 positions."""

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
    """Give the ONNX file of a pretrained model, exported once where it comes as weights.

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


def smollm2_module() -> torch.nn.Module:
    """Build SmolLM2-135M in torch, its four-bit weights given back as floats.

    Raises:
        WorkloadError: gguf or accelerate is not installed.
    """
    folder = fetch("smollm2-135m")
    try:
        import accelerate  # type: ignore[import-not-found,unused-ignore]  # noqa: F401
        import gguf  # type: ignore[import-not-found,unused-ignore]  # noqa: F401
    except ImportError as error:
        raise WorkloadError(f"smollm2-135m is a GGUF file; to read it: pip install accelerate gguf ({error})") from None
    import torch
    from transformers import AutoModelForCausalLM

    options: dict[str, Any] = {"gguf_file": "model.gguf", "dtype": torch.float32, "attn_implementation": "eager"}
    model: Any = AutoModelForCausalLM.from_pretrained(str(folder), **options)
    return model.eval()  # type: ignore[no-any-return]


def _export_smollm2(path: Path) -> None:
    """Write a decode step: tokens over a cache of keys and values; batch, seq and past stay symbolic."""
    module = smollm2_module()
    first, second = _prefilled(module, 2, 6, 3), _prefilled(module, 3, 19, 5)
    export_checked(module, first, path, check=second, tolerance=_RELATIVE_ERROR)


def _prefilled(module: Any, batch: int, past: int, new: int) -> dict[str, Any]:
    """Give a step over a cache that the model filled itself: drawn keys lead 30 trained layers far from their range."""
    import torch
    from transformers import DynamicCache

    ids = torch.randint(1000, 40000, (batch, past + new), generator=torch.Generator().manual_seed(batch))
    with torch.no_grad():
        filled = module(ids[:, :past], use_cache=True).past_key_values
    cache = DynamicCache()  # a plain one: torch.export does not take the model's own
    for index, layer in enumerate(filled.layers):
        cache.update(layer.keys, layer.values, index)
    mask = torch.ones_like(ids)
    return {"input_ids": ids[:, past:], "attention_mask": mask, "past_key_values": cache, "use_cache": True}


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


def _export_whisper(path: Path) -> None:
    import torch

    features = torch.randn(2, 80, 3000, generator=torch.Generator().manual_seed(1))
    export_checked(whisper_encoder_module(), features, path, outputs=("states",), tolerance=_RELATIVE_ERROR)


_EXPORTS: dict[str, Callable[[Path], None]] = {"smollm2-135m": _export_smollm2, "whisper-tiny-en": _export_whisper}
