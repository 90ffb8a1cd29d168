"""Llama models in GGUF files: the configuration and the weights under the names of the published checkpoints.

Source: llama.cpp, gguf-py/gguf/constants.py (keys and tensor names), convert_hf_to_gguf.py (`LlamaModel.permute`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from workloads.errors import WorkloadError
from workloads.zoo.gguf import Gguf

__all__ = ["LlamaWeights", "llama_config"]

_FIELDS = {
    "hidden_size": "embedding_length",
    "intermediate_size": "feed_forward_length",
    "num_hidden_layers": "block_count",
    "num_attention_heads": "attention.head_count",
    "num_key_value_heads": "attention.head_count_kv",
    "max_position_embeddings": "context_length",
    "rms_norm_eps": "attention.layer_norm_rms_epsilon",
    "rope_theta": "rope.freq_base",
}
"""Fields of a config.json, and their keys in the file, below "llama."."""

_PARTS = {
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
    "input_layernorm": "attn_norm",
    "post_attention_layernorm": "ffn_norm",
}
_WHOLE = {"model.embed_tokens": "token_embd", "model.norm": "output_norm", "lm_head": "output"}


def llama_config(file: Gguf) -> dict[str, Any]:
    """Give what the model's config.json said.

    Raises:
        WorkloadError: Not a Llama, a field is missing, or its positions are scaled in a way that the file alone tells.
    """
    kind = file.metadata.get("general.architecture")
    if kind != "llama":
        raise WorkloadError(f"{file.path}: holds {kind!r}, only 'llama' is read from GGUF; give its safetensors files")
    missing = [key for key in _FIELDS.values() if f"llama.{key}" not in file.metadata]
    if missing or "token_embd.weight" not in file:
        raise WorkloadError(f"{file.path}: lacks {', '.join(missing) or 'token_embd.weight'}; convert the model again")
    if "rope_freqs.weight" in file or file.metadata.get("llama.rope.scaling.type", "none") != "none":
        raise WorkloadError(f"{file.path}: scales its rotary positions; give the model's safetensors files instead")
    values = {field: file.metadata[f"llama.{key}"] for field, key in _FIELDS.items()}
    width = values["hidden_size"] // values["num_attention_heads"]
    if (rotated := file.metadata.get("llama.rope.dimension_count", width)) != width:
        raise WorkloadError(f"{file.path}: rotates {rotated} of {width} values of a head; give its safetensors files")
    rows = file.shape_of("token_embd.weight")[0]
    tied = "output.weight" not in file
    return {"model_type": "llama", **values, "vocab_size": rows, "tie_word_embeddings": tied}


@dataclass(frozen=True, slots=True, eq=False)
class LlamaWeights(Mapping[str, NDArray[np.float32]]):
    """Tensors by the names of the published checkpoint, each read from the file when it is asked for.

    Attributes:
        file: The file.
    """

    file: Gguf

    def __getitem__(self, name: str) -> NDArray[np.float32]:
        """Read one tensor; rows of queries and keys come back into the order that halves of a head rotate together."""
        values = self.file[_stored_name(name)]
        if not name.endswith(("q_proj.weight", "k_proj.weight")):
            return values
        key = "attention.head_count" if name.endswith("q_proj.weight") else "attention.head_count_kv"
        heads = self.file.metadata[f"llama.{key}"]
        pairs = values.reshape(heads, -1, 2, values.shape[1])  # GGUF keeps the two that rotate together side by side
        return pairs.swapaxes(1, 2).reshape(values.shape)

    def __contains__(self, name: object) -> bool:
        """Say whether there is such a tensor, without reading it."""
        try:
            return isinstance(name, str) and _stored_name(name) in self.file
        except KeyError:
            return False

    def __iter__(self) -> Iterator[str]:
        """List the names."""
        names = {stored: name for name, stored in _WHOLE.items()} | {stored: name for name, stored in _PARTS.items()}
        for stored in self.file:
            *block, part, ending = stored.split(".")
            prefix = f"model.layers.{block[1]}." if block else ""
            yield f"{prefix}{names[part]}.{ending}"

    def __len__(self) -> int:
        """Count the tensors."""
        return len(self.file)


def _stored_name(name: str) -> str:
    """Give the name in the file: "model.layers.3.mlp.up_proj.weight" is "blk.3.ffn_up.weight" there."""
    stem, _, ending = name.rpartition(".")
    if stem in _WHOLE:
        return f"{_WHOLE[stem]}.{ending}"
    layer, _, part = stem.removeprefix("model.layers.").partition(".")
    return f"blk.{layer}.{_PARTS[part]}.{ending}"
