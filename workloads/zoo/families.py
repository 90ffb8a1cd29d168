"""Which module writes which model type: the literal table."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from workloads.errors import WorkloadError, nearest
from workloads.zoo import (
    bart,
    bert,
    conformer,
    deberta,
    deepseek,
    falcon,
    gpt2,
    gpt_oss,
    llama,
    mobilenet,
    modernbert,
    neox,
    opt,
    resnet,
    rotary,
    squeezeformer,
    t5,
    vit,
)
from workloads.zoo.graph import GraphWriter
from workloads.zoo.phase import Phase, PhaseName

__all__ = ["FAMILIES", "Family", "family_of"]


@dataclass(frozen=True, slots=True)
class Family:
    """How architectures of one kind are read and written.

    Attributes:
        read: Configuration to architecture.
        write: Writes one phase of an architecture.
        phases: The phases it has; the first is the default.
    """

    read: Callable[[Mapping[str, Any]], Any]
    write: Callable[[GraphWriter, Any, Phase], None]
    phases: tuple[PhaseName, ...]


_DECODER: tuple[PhaseName, ...] = ("prefill", "decode")

_ENCODER: tuple[PhaseName, ...] = ("encode",)
_BOTH: tuple[PhaseName, ...] = ("encode", "prefill", "decode")

FAMILIES: dict[str, Family] = {
    **dict.fromkeys(bart.MODEL_TYPES, Family(bart.read, bart.write, _BOTH)),
    **dict.fromkeys(bert.MODEL_TYPES, Family(bert.read, bert.write, _ENCODER)),
    **dict.fromkeys(deberta.MODEL_TYPES, Family(deberta.read, deberta.write, _ENCODER)),
    **dict.fromkeys(deepseek.MODEL_TYPES, Family(deepseek.read, deepseek.write, _DECODER)),
    **dict.fromkeys(falcon.MODEL_TYPES, Family(falcon.read, falcon.write, _DECODER)),
    **dict.fromkeys(gpt2.MODEL_TYPES, Family(gpt2.read, gpt2.write, _DECODER)),
    **dict.fromkeys(gpt_oss.MODEL_TYPES, Family(gpt_oss.read, gpt_oss.write, _DECODER)),
    **dict.fromkeys(llama.MODEL_TYPES, Family(llama.read, llama.write, _DECODER)),
    **dict.fromkeys(mobilenet.MODEL_TYPES, Family(mobilenet.read, mobilenet.write, _ENCODER)),
    **dict.fromkeys(modernbert.MODEL_TYPES, Family(modernbert.read, modernbert.write, _ENCODER)),
    **dict.fromkeys(neox.MODEL_TYPES, Family(neox.read, neox.write, _DECODER)),
    **dict.fromkeys(opt.MODEL_TYPES, Family(opt.read, opt.write, _DECODER)),
    **dict.fromkeys(resnet.MODEL_TYPES, Family(resnet.read, resnet.write, _ENCODER)),
    **dict.fromkeys(rotary.MODEL_TYPES, Family(rotary.read, rotary.write, _DECODER)),
    **dict.fromkeys(squeezeformer.MODEL_TYPES, Family(squeezeformer.read, squeezeformer.write, _ENCODER)),
    **dict.fromkeys(t5.MODEL_TYPES, Family(t5.read, t5.write, _BOTH)),
    **dict.fromkeys(vit.MODEL_TYPES, Family(vit.read, vit.write, _ENCODER)),
    conformer.CTC: Family(conformer.read, conformer.write, _ENCODER),
    conformer.TRANSDUCER: Family(conformer.read, conformer.write, ("encode", "decode")),
}
"""Hugging Face's `model_type` to family."""


def family_of(config: Mapping[str, Any]) -> Family:
    """Give the family of a configuration.

    Raises:
        WorkloadError: Its model type is not known.
    """
    kind = str(config.get("model_type"))
    if kind not in FAMILIES:
        raise WorkloadError(
            f"no architecture of model type {kind!r}; {nearest(kind, FAMILIES)}. "
            "Or export it: workloads.capture takes a torch module"
        )
    return FAMILIES[kind]
