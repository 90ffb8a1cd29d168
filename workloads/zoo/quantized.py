"""What a configuration's `quantization_config` says: the bits of the stored weights, or a refusal.

Source: transformers 5, documentation of quantization (GPTQ, AWQ, bitsandbytes) and of their configuration classes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from workloads.errors import TechniqueError, WorkloadError
from workloads.workload import Workload
from workloads.zoo.config import Config

if TYPE_CHECKING:
    from workloads.compress import Quantize

__all__ = ["honoured", "refuse_quantized", "stored_quantization"]

_FIELD = "quantization_config"
_KNOWN = ("awq", "bitsandbytes", "gptq")
_BLOCK_OF_4_BIT = 64  # bitsandbytes: values that share a scale
_HEADS = {"lm_head", "embed_out"}
_OTHERWISE = (
    "leave the field out for the model as it was before, and give its own bits with workloads.compress.cost "
    "(dse compress on the command line)"
)


def stored_quantization(config: Mapping[str, Any]) -> Quantize | None:
    """Give the technique that stores the weights of the layers as a configuration says; None: it says nothing.

    Only the bits and the scales are taken from it; zero points, a few hundredths of a bit per weight, and the
    permutation of GPTQ's activation order are not.

    Raises:
        WorkloadError: A method or a setting that cannot be honoured.

    Example:
        >>> config = {"model_type": "llama", "quantization_config": {"quant_method": "gptq", "bits": 4,
        ...                                                          "group_size": 128}}
        >>> stored_quantization(config).to_dict()["group_size"]
        128
    """
    from workloads.compress import Quantize

    c = Config(config)
    if config.get(_FIELD) is None:
        return None
    inside = c.nested(_FIELD)
    method = inside.text("quant_method", "bitsandbytes" if "load_in_4bit" in inside.values else "unknown")
    if method not in _KNOWN:
        raise _fault(c, f"{method!r} is not supported; known are {', '.join(_KNOWN)}")
    for name in ("modules_to_not_convert", "llm_int8_skip_modules", "modules_in_block_to_quantize", "dynamic"):
        if set(inside.values.get(name) or ()) - _HEADS:
            raise _fault(c, f"treats some layers otherwise ({name}), which is not supported")
    bits, group = _bits_and_group(inside, method)
    try:
        granularity: Any = {"granularity": "group", "group_size": group} if group else {"granularity": "channel"}
        return Quantize(weight_bits=bits, blocks=("layer",), **granularity)
    except TechniqueError as error:
        raise _fault(c, f"cannot be honoured ({error})") from None


def _bits_and_group(inside: Config, method: str) -> tuple[int, int]:
    """Read the bits of a weight and how many share a scale; 0: a whole column."""
    if method == "bitsandbytes":
        four = inside.flag("load_in_4bit", False)
        if not four and not inside.flag("load_in_8bit", False):
            raise inside.fault("load_in_4bit", "and load_in_8bit are both false; one of them says the bits")
        return (4, _BLOCK_OF_4_BIT) if four else (8, 0)
    bits = inside.int("bits" if inside.values.get("bits") is not None else "w_bit", most=8)
    if bits < 2:
        raise inside.fault("bits", "is not 2 to 8")
    name = (
        "q_group_size" if inside.values.get("group_size") is None and "q_group_size" in inside.values else "group_size"
    )
    return bits, 0 if inside.values.get(name) == -1 else inside.int(name, 128)


def honoured(workload: Workload, config: Mapping[str, Any]) -> Workload:
    """Store the weights of a workload's layers as the configuration's `quantization_config` says.

    Raises:
        WorkloadError: It cannot be honoured: the method, a setting, or products of the layers that it cannot reach.
    """
    technique = stored_quantization(config)
    if technique is None:
        return workload
    from workloads import compress

    reached = {op.name for op in compress.quantizable(workload, technique.blocks)}
    for op in workload.operators:
        weighted = op.kind == "matmul" and any(tensor.role == "weight" for tensor in op.inputs)
        if weighted and op.block.split(".")[0] in technique.blocks and op.name not in reached:
            raise _fault(Config(config), f"cannot be honoured: the weights of {op.block} lie inside a fused operator")
    return compress.cost(workload, technique)


def refuse_quantized(config: Mapping[str, Any]) -> None:
    """Refuse a configuration of quantized weights where a file of plain ones would be written.

    Raises:
        WorkloadError: It has a `quantization_config`.
    """
    if config.get(_FIELD) is not None:
        raise _fault(Config(config), "is of packed weights, and files are written with plain ones")


def _fault(c: Config, reason: str) -> WorkloadError:
    return WorkloadError(f"configuration of {c.kind!r}: {_FIELD} {reason}; {_OTHERWISE}")
