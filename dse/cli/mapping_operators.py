"""Single operators on the command line: gemm:M=512,N=768,K=768 and conv:R=3,S=3,P=56,Q=56,C=64,K=64."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from workloads.errors import MappingError

if TYPE_CHECKING:
    from workloads.operator import Operator

__all__ = ["is_operator", "parse_operator"]

EXAMPLES = {"gemm": "gemm:M=512,N=768,K=768", "conv": "conv:R=3,S=3,P=56,Q=56,C=64,K=64,N=1,stride=1,pad=1"}
NEEDED = {"gemm": ("M", "N", "K"), "conv": ("R", "S", "P", "Q", "C", "K")}
DEFAULTS = {"gemm": {}, "conv": {"N": 1, "stride": 1, "pad": 0, "dilation": 1}}
_OPTIONS = ("stride", "pad", "dilation")


def is_operator(text: str) -> bool:
    """Say whether a text stands for an operator, be its kind known or not, and not for a model.

    Example:
        >>> is_operator("gemm:M=1,N=2,K=3"), is_operator("bert-base"), is_operator("gemm.onnx")
        (True, False, False)
    """
    return re.match(r"(gemm|conv):|\w+:\s*(\w+\s*=|$)", text, flags=re.IGNORECASE) is not None


def parse_operator(text: str) -> Operator:
    """Make an operator: int8 operands, 32-bit sums.

    Args:
        text: Kind and sizes. Of a convolution P and Q are the output's height and width, C and K the input and output
            channels, R and S the window; N stride and dilation
            are 1 and pad is 0 unless given.

    Raises:
        MappingError: The kind is unknown; a size is missing, unknown, given twice, or no whole number of at least 1.

    Example:
        >>> parse_operator("gemm:M=512,N=768,K=64").points() == 512 * 768 * 64
        True
        >>> parse_operator("conv:R=3,S=3,P=4,Q=4,C=2,K=2,stride=2").inputs[0].shape(dict(R=3, S=3, P=4, Q=4, C=2, N=1))
        (1, 2, 9, 9)
    """
    from hwmodels.mapping.cases import conv_operator, gemm_operator

    kind, _, rest = text.partition(":")
    kind = kind.lower()
    if kind not in NEEDED:
        raise MappingError(f"{text}: no kind of operator {kind!r}; write {' or '.join(EXAMPLES.values())}")
    fix = f"write {EXAMPLES[kind]}"
    sizes: dict[str, int] = {}
    for item in rest.split(","):
        found = re.fullmatch(r"\s*(\w+)\s*=\s*(\d{1,18})\s*", item, flags=re.ASCII)
        if not found or (not int(found[2]) and found[1].lower() != "pad"):
            raise MappingError(f"{text}: {item.strip()!r} is not NAME=SIZE with a whole number of at least 1; {fix}")
        name = found[1].lower() if found[1].lower() in _OPTIONS else found[1].upper()
        if name not in (*NEEDED[kind], *DEFAULTS[kind]):
            raise MappingError(f"{text}: a {kind} has no size {found[1]!r}; {fix}")
        if name in sizes:
            raise MappingError(f"{text}: {name} is given twice; {fix}")
        sizes[name] = int(found[2])
    missing = [name for name in NEEDED[kind] if name not in sizes]
    if missing:
        raise MappingError(f"{text}: {', '.join(missing)} missing; {fix}")
    sizes = {**DEFAULTS[kind], **sizes}
    if kind == "gemm":
        return gemm_operator(kind, sizes)
    options = {name: sizes.pop(name) for name in _OPTIONS}
    return conv_operator(kind, sizes, **options)
