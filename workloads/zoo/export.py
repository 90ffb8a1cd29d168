"""Real architectures as ONNX files: MiniLM-L6 with its weights; BERT, GPT-2 and ViT of any size with random ones."""

from __future__ import annotations

import json
import logging
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from workloads.errors import WorkloadError, nearest
from workloads.zoo import wrappers
from workloads.zoo.fetch import cache_folder, write_by_rename
from workloads.zoo.pretrained import PRETRAINED, fetch

if TYPE_CHECKING:
    import torch

__all__ = ["ARCHITECTURES", "export_architecture", "export_minilm_l6", "minilm_l6_module", "random_module"]

Exporter = Literal["dynamo", "legacy"]
MAX_ABS_ERROR = 1e-5
"""Largest difference from torch that an export may show on a shape it was not traced with."""

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

    def write(partial: Path) -> None:
        _export(
            module, "bert", partial, "dynamo", wrappers.sample("bert", module, 2, 16), True, "sentence_embedding", opset
        )
        _verify(partial, module, wrappers.sample("bert", module, 3, 29))

    return write_by_rename(target, write)


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

    def write(partial: Path) -> None:
        sample = wrappers.sample(family, module, batch, seq)
        output = "last_hidden_state" if family == "bert" else "logits"
        _export(module, family, partial, exporter, sample, dynamic, output, version)
        # Another shape, with padding: a traced graph may have frozen a shape or a mask of its example.
        _verify(partial, module, wrappers.sample(family, module, batch + 1, seq + 13) if dynamic else sample)

    return write_by_rename(path, write)


def _export(
    module: torch.nn.Module,
    family: str,
    path: Path,
    exporter: Exporter,
    sample: Mapping[str, torch.Tensor],
    dynamic: bool,
    output: str,
    opset: int,
) -> None:
    """Run one of torch's exporters with named inputs, outputs and symbolic axes."""
    import torch

    axes = wrappers.dynamic_axes(family, tuple(sample))
    outputs = [output, *wrappers.extra_outputs(family, module)]
    common: dict[str, Any] = {"input_names": list(sample), "output_names": outputs, "opset_version": opset}
    if exporter == "dynamo":
        shapes: tuple[Any, ...] | None = tuple(axes[name] for name in sample) if dynamic else None
        if family == "gpt2-kv" and shapes is not None:
            shapes = (shapes[0], shapes[1], shapes[2:])
        args: dict[str, Any] = {"dynamo": True, "dynamic_shapes": shapes, "external_data": False, "verbose": False}
    else:
        args = {"dynamo": False, "dynamic_axes": axes if dynamic else None}
    with _quiet(), torch.no_grad():
        torch.onnx.export(module, wrappers.arguments(family, sample), path, **common, **args)


def _verify(path: Path, module: torch.nn.Module, sample: Mapping[str, torch.Tensor]) -> None:
    """Compare the first output of a file with torch.

    Raises:
        WorkloadError: They differ by more than `MAX_ABS_ERROR`.
    """
    import onnxruntime
    import torch

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    taken = {item.name for item in session.get_inputs()}
    got = session.run(None, {name: value.numpy() for name, value in sample.items() if name in taken})[0]
    with torch.no_grad():
        result = module(*wrappers.arguments("gpt2-kv" if "past_key_0" in sample else "", sample))
    want = (result[0] if isinstance(result, tuple) else result).numpy()
    error = float(np.max(np.abs(np.asarray(got) - want)))
    if not error <= MAX_ABS_ERROR:
        raise WorkloadError(f"{path.name}: the export differs from torch by {error:.2g} (allowed {MAX_ABS_ERROR:.0e})")


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence the exporters' own notices: our check on another shape says whether the file is right."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
