"""Real architectures as ONNX files: MiniLM-L6 with its weights; BERT, GPT-2 and ViT of any size with random ones."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from workloads.capturing.exporting import Exporter
from workloads.capturing.torch_module import export_checked
from workloads.errors import WorkloadError, nearest
from workloads.zoo import wrappers
from workloads.zoo.fetch import cache_folder
from workloads.zoo.pretrained import PRETRAINED, fetch

if TYPE_CHECKING:
    import torch

__all__ = ["ARCHITECTURES", "export_architecture", "export_minilm_l6", "minilm_l6_module", "random_module"]

ARCHITECTURES: dict[str, Mapping[str, int | str]] = {
    # Devlin et al. 2019, arXiv 1810.04805, section 3; Radford et al. 2019 (124 M); Dosovitskiy et al. 2021, table 1.
    "bert-tiny": {"family": "bert", "hidden_size": 128, "num_hidden_layers": 2, "num_attention_heads": 2},
    "bert-base": {"family": "bert", "hidden_size": 768, "num_hidden_layers": 12, "num_attention_heads": 12},
    "gpt2-tiny": {"family": "gpt2", "n_embd": 128, "n_layer": 2, "n_head": 2},
    "gpt2": {"family": "gpt2", "n_embd": 768, "n_layer": 12, "n_head": 12},
    "gpt2-kv-tiny": {"family": "gpt2-kv", "n_embd": 128, "n_layer": 2, "n_head": 2},
    "gpt2-kv": {"family": "gpt2-kv", "n_embd": 768, "n_layer": 12, "n_head": 12},
    "distilgpt2-kv": {"family": "gpt2-kv", "n_embd": 768, "n_layer": 6, "n_head": 12},
    "vit-tiny": {"family": "vit", "hidden_size": 128, "num_hidden_layers": 2, "num_attention_heads": 2},
    "vit-b16": {"family": "vit", "hidden_size": 768, "num_hidden_layers": 12, "num_attention_heads": 12},
}


def export_minilm_l6(path: Path | None = None, *, opset: int = 20) -> Path:
    """Export all-MiniLM-L6-v2 with mean pooling and unit length; batch and sequence stay symbolic.

    Inputs ``input_ids``, ``attention_mask``, ``token_type_ids`` (batch, seq) int64; output ``sentence_embedding``
    (batch, 384) float32. Attention is plain MatMul and Softmax, weights are MatMul initializers.

    Args:
        path: Where to write; by default the cache, where a file that was already verified is reused.
        opset: ONNX opset version.

    Raises:
        WorkloadError: The weights cannot be had, or the file differs from torch on another shape with padding.
    """
    pinned = PRETRAINED["minilm-l6"].archive_sha256[:12]
    target = path if path is not None else cache_folder() / "exported" / f"minilm-l6-{pinned}-opset{opset}.onnx"
    if path is None and target.is_file():
        return target
    module = minilm_l6_module()

    export_checked(
        module,
        wrappers.sample("bert", module, 2, 16),
        target,
        dynamic=wrappers.dynamic_axes("bert", module),
        outputs=("sentence_embedding",),
        check=wrappers.sample("bert", module, 3, 29),
        opset=opset,
    )
    return target


def minilm_l6_module() -> torch.nn.Module:
    """Build MiniLM-L6 in torch with its weights: (ids, mask, types), each (batch, seq), to unit rows (batch, 384)."""
    import torch
    from safetensors.torch import load_file
    from transformers import BertConfig, BertModel

    folder = fetch("minilm-l6")
    config = BertConfig(**json.loads((folder / "config.json").read_text(encoding="utf-8")))
    bert = BertModel(wrappers.eager(config), add_pooling_layer=False)
    state = {name: value for name, value in load_file(folder / "model.safetensors").items() if "pooler" not in name}
    missing, unexpected = bert.load_state_dict(state, strict=False)
    if missing or set(unexpected) - {"embeddings.position_ids"}:
        raise WorkloadError(f"minilm-l6 weights do not fit BertModel: missing {missing}, unexpected {unexpected}")

    class MiniLM(torch.nn.Module):
        """Encoder, mean over unmasked tokens, unit length. Source: Reimers and Gurevych 2019, arXiv 1908.10084."""

        def __init__(self) -> None:
            super().__init__()
            self.bert = bert

        def forward(self, input_ids: Any, attention_mask: Any, token_type_ids: Any) -> Any:
            states = self.bert(input_ids, attention_mask=attention_mask, token_type_ids=token_type_ids)
            weights = attention_mask.unsqueeze(-1).to(torch.float32)
            mean = (states.last_hidden_state * weights).sum(1) / weights.sum(1).clamp(min=1e-9)
            return torch.nn.functional.normalize(mean, dim=-1)

    return MiniLM().eval()


def random_module(name: str, *, seed: int = 0) -> torch.nn.Module:
    """Build an architecture of `ARCHITECTURES` with random weights.

    Raises:
        WorkloadError: The name is unknown.

    Example:
        >>> random_module("brt-tiny")
        Traceback (most recent call last):
        ...
        workloads.errors.WorkloadError: no architecture 'brt-tiny'; nearest: bert-tiny, ...
    """
    if name not in ARCHITECTURES:
        raise WorkloadError(f"no architecture {name!r}; {nearest(name, ARCHITECTURES)}")
    import torch

    size = dict(ARCHITECTURES[name])
    family = str(size.pop("family"))
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return wrappers.build(family, size)


def export_architecture(
    name: str,
    path: Path,
    *,
    exporter: Exporter = "dynamo",
    batch: int = 2,
    seq: int = 16,
    dynamic: bool = True,
    opset: int | None = None,
) -> Path:
    """Export a randomly initialised architecture.

    Args:
        name: A key of `ARCHITECTURES`.
        path: Where to write (one file, weights inside).
        exporter: ``dynamo`` (torch.export) or ``legacy`` (TorchScript trace).
        batch: Batch of the traced example.
        seq: Tokens of the traced example; a ViT ignores it.
        dynamic: Keep batch and sequence symbolic; the file is then verified on another shape, with padding.
        opset: ONNX opset version; by default 20 for dynamo, 17 for legacy.

    Raises:
        WorkloadError: The name is unknown, or the file differs from torch.
    """
    module = random_module(name)
    family = str(ARCHITECTURES[name]["family"])
    version = opset if opset is not None else (20 if exporter == "dynamo" else 17)

    sample = wrappers.sample(family, module, batch, seq)
    export_checked(
        module,
        sample,
        path,
        dynamic=wrappers.dynamic_axes(family, module) if dynamic else None,
        # Another shape, with padding: a traced graph may have frozen a shape or a mask of its example.
        check=wrappers.sample(family, module, batch + 1, seq + 13) if dynamic else sample,
        opset=version,
        exporter=exporter,
    )
    return path
