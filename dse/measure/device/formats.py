"""Number formats of kernels: torch types, stored bits, and the unit roundoffs that error bounds come from."""

from __future__ import annotations

from typing import Any

__all__ = ["ACCUMULATE", "ROUNDOFF", "STEP", "stored_bits", "torch_type"]

ROUNDOFF = {"fp32": 2.0**-24, "tf32": 2.0**-10, "fp16": 2.0**-11, "bf16": 2.0**-8, "fp8": 2.0**-4}
"""Unit roundoff of a value rounded to nearest; of tf32 that of truncation, which hardware may do to its inputs.

Source: IEEE 754-2019 table 3.3; 8, 11 and 4 significant bits of bf16, tf32 and fp8 e4m3 (Micikevicius et al., FP8
Formats for Deep Learning, 2022, table 1).
"""

ACCUMULATE = {"fp32": 2.0**-24, "tf32": 2.0**-23, "fp16": 2.0**-23, "bf16": 2.0**-23, "fp8": 2.0**-13, "int8": 0.0}
"""Error of one addition to a sum of products, by the format of the products.

Tensor cores truncate instead of rounding, so twice the unit roundoff of fp32; sums of fp8 products keep 13 bits of
fraction on Hopper. Source: Fasi et al., Numerical behavior of NVIDIA tensor cores, PeerJ CS 2021, section 4;
DeepSeek-V3 technical report, 2024, section 3.3.2 (14 bits of fp8 accumulation).
"""

STEP = {"fp8": 32}
"""Products that one tensor-core instruction adds before it rounds, where that matters (mma.m16n8k32, PTX ISA 8.0)."""


def torch_type(name: str) -> Any:
    """Give the torch type that stores a format.

    Raises:
        KernelError: No kernel stores it.

    Example:
        >>> torch_type("tf32")
        torch.float32
    """
    import torch

    from .signatures import KernelError

    known = {
        "fp64": torch.float64,
        "fp32": torch.float32,
        "tf32": torch.float32,
        "fp16": torch.float16,
        "bf16": torch.bfloat16,
        "fp8": torch.float8_e4m3fn,
        "int8": torch.int8,
        "int32": torch.int32,
    }
    if name not in known:
        raise KernelError(f"no kernel stores {name!r}; there are {', '.join(known)}")
    return known[name]


def stored_bits(name: str) -> float:
    """Give the bits of one stored element.

    Of "lut4" the index alone, of "bf16_2:4" two kept values and four bits of places for four elements.

    Example:
        >>> stored_bits("int3"), stored_bits("fp16_2:4"), stored_bits("lut4+csr")
        (3.0, 9.0, 4.0)
    """
    plain = {"fp64": 64.0, "fp32": 32.0, "tf32": 32.0, "fp16": 16.0, "bf16": 16.0, "fp8": 8.0}
    base, _, pattern = name.partition("_")
    base = base.partition("+")[0]
    bits = plain[base] if base in plain else float(base.removeprefix("int").removeprefix("lut"))
    return bits / 2 + 1 if pattern == "2:4" else bits
