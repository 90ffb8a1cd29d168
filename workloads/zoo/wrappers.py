"""Transformers models behind plain tensor signatures, so that both of torch's exporters take them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

__all__ = ["build", "dynamic_axes", "eager", "sample"]

IMAGE_PIXELS = 224
PATCH_PIXELS = 16
IMAGE_CLASSES = 1000


def build(family: str, size: Mapping[str, Any]) -> torch.nn.Module:
    """Build one architecture in evaluation mode; weights from torch's global generator (transformers draws there)."""
    import torch
    import transformers

    if family == "bert":
        config: Any = transformers.BertConfig(intermediate_size=4 * size["hidden_size"], **size)
        model: Any = transformers.BertModel(eager(config), add_pooling_layer=False)
    elif family == "vit":
        config = transformers.ViTConfig(
            intermediate_size=4 * size["hidden_size"],
            image_size=IMAGE_PIXELS,
            patch_size=PATCH_PIXELS,
            **size,
        )
        config.num_labels = IMAGE_CLASSES
        model = transformers.ViTForImageClassification(eager(config))
    else:
        model = transformers.GPT2LMHeadModel(eager(transformers.GPT2Config(**size)))
    module = _wrapped(family, model).eval()
    for parameter in module.parameters():
        if (
            parameter.dim() == 1
        ):  # biases start equal, and the legacy exporter would merge equal ones: not so in a trained model
            parameter.data += 0.02 * torch.randn(parameter.shape)
    return module


def _wrapped(family: str, model: Any) -> torch.nn.Module:
    """Give a module whose forward takes and returns tensors only."""
    import torch
    from transformers import DynamicCache

    class Encoder(torch.nn.Module):
        """(input_ids, attention_mask, token_type_ids), each (batch, seq), to hidden states (batch, seq, hidden)."""

        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def forward(self, input_ids: Any, attention_mask: Any, token_type_ids: Any) -> Any:
            out = self.model(input_ids, attention_mask=attention_mask, token_type_ids=token_type_ids)
            return {"last_hidden_state": out.last_hidden_state}

    class Decoder(torch.nn.Module):
        """(input_ids, attention_mask), each (batch, seq), to logits (batch, seq, vocabulary)."""

        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def forward(self, input_ids: Any, attention_mask: Any) -> Any:
            return {"logits": self.model(input_ids, attention_mask=attention_mask, use_cache=False).logits}

    class CachedDecoder(torch.nn.Module):
        """One decode step: tokens (batch, 1), mask (batch, past + 1), keys and values (batch, heads, past, width)."""

        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def forward(self, input_ids: Any, attention_mask: Any, past: Any) -> Any:
            cache = DynamicCache()
            for layer in range(len(past) // 2):
                cache.update(past[f"key_{layer}"], past[f"value_{layer}"], layer)
            out = self.model(input_ids, cache, attention_mask=attention_mask, use_cache=True)
            return {"logits": out.logits, "present": out.past_key_values}

    class Classifier(torch.nn.Module):
        """Pixels (batch, 3, height, width) to logits (batch, classes)."""

        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def forward(self, pixel_values: Any) -> Any:
            return {"logits": self.model(pixel_values).logits}

    classes = {"bert": Encoder, "gpt2": Decoder, "gpt2-kv": CachedDecoder, "vit": Classifier}
    return classes[family]()


def sample(family: str, module: Any, batch: int, seq: int) -> dict[str, Any]:
    """Make named inputs with a fixed seed; row r of the mask hides the last r * seq / (2 * batch) tokens."""
    import torch

    random = torch.Generator().manual_seed(1)
    if family == "vit":
        return {"pixel_values": torch.randn(batch, 3, IMAGE_PIXELS, IMAGE_PIXELS, generator=random)}
    config = next(module.children()).config
    ids = torch.randint(1000, config.vocab_size, (batch, seq), generator=random)
    mask = torch.ones_like(ids)
    for row in range(batch):
        mask[row, seq - row * seq // (2 * batch) :] = 0
    if family == "bert":
        return {"input_ids": ids, "attention_mask": mask, "token_type_ids": torch.zeros_like(ids)}
    if family == "gpt2":
        return {"input_ids": ids, "attention_mask": mask}
    shape = (batch, config.n_head, seq - 1, config.n_embd // config.n_head)
    past = {
        f"{part}_{layer}": torch.randn(shape, generator=random)
        for layer in range(config.n_layer)
        for part in ("key", "value")
    }
    return {"input_ids": ids[:, :1], "attention_mask": torch.ones_like(mask), "past": past}


def dynamic_axes(family: str, module: Any) -> dict[str, dict[int, str]]:
    """Name the symbolic axes of each input: batch and seq; a step with a cache has one token, axes past and total."""
    if family == "vit":
        return {"pixel_values": {0: "batch"}}
    named = {"input_ids", "attention_mask"} | ({"token_type_ids"} if family == "bert" else set())
    axes = {name: {0: "batch", 1: "seq"} for name in sorted(named)}
    if family == "gpt2-kv":
        layers = range(module.model.config.n_layer)
        axes |= {f"past_{part}_{layer}": {0: "batch", 2: "past"} for layer in layers for part in ("key", "value")}
        axes |= {"input_ids": {0: "batch"}, "attention_mask": {0: "batch", 1: "total"}}
    return axes


def eager(config: Any) -> Any:
    """Ask transformers for attention as plain MatMul and Softmax."""
    config._attn_implementation = "eager"
    return config
