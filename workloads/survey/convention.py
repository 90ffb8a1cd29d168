"""The counting convention of the full-stack survey, from an architecture's numbers alone.

FLOPs count multiply and add apart; MOPs are bytes with every tensor at 8 bits, both operands of a product on chip, each
tensor moved once; the batch is 1. Embedding, head, biases' bytes, scale and mask are left out. Everything that the
printed tables do not state but fit is a `Constant` of kind "fitted", with our own operators' count beside it.

Source: Kim et al., Full Stack Optimization of Transformer Inference: a Survey, arXiv 2302.14017v1, 2023, sections 2.2.1
    and 3, Tables 1 to 3, 10 and 11.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from workloads.errors import WorkloadError, nearest
from workloads.operator import Num

__all__ = [
    "ARCHITECTURES",
    "CLASSES",
    "LEAST_SQUARES",
    "PRINTED",
    "TITLES",
    "Architecture",
    "Constants",
    "Count",
    "architecture",
    "count",
    "with_total",
]

CLASSES = ("mha_proj", "act_act", "ffn_proj", "other")
"""Operator classes, in the order of the source's tables."""

TITLES = {
    "mha_proj": "MHA (projections)",
    "act_act": "MHA (act-to-act matmuls)",
    "ffn_proj": "FFN (projections)",
    "other": "Other",
    "total": "Total",
}


@dataclass(frozen=True, slots=True)
class Architecture:
    """What the convention needs to know of a transformer. Numbers may be batches of shape (n_points,).

    Attributes:
        name: As the source prints it.
        layers: Number of layers, N.
        d_model: Width, d.
        heads: Number of attention heads, h.
        d_ff: Width of the feed-forward block.
        generates: Whether the counts are of generating tokens one by one with a KV cache (Table 11), rather than of
            one pass over all of them.
    """

    name: str
    layers: Num
    d_model: Num
    heads: Num
    d_ff: Num
    generates: bool = False


# Table 1; the four-head variant is that of Table 10.
ARCHITECTURES: dict[str, Architecture] = {
    item.name: item
    for item in (
        Architecture("BERT-Base", 12, 768, 12, 3072),
        Architecture("BERT-Base-4head", 12, 768, 4, 3072),
        Architecture("BERT-Large", 24, 1024, 16, 4096),
        Architecture("GPT-2", 12, 768, 12, 3072, generates=True),
    )
}
"""The models of the source, by the name it prints."""


def architecture(name: str) -> Architecture:
    """Look up a model of the source.

    Raises:
        WorkloadError: The source has no such model.

    Example:
        >>> architecture("BERT-Large").layers
        24
    """
    if name not in ARCHITECTURES:
        raise WorkloadError(f"the survey counts no model {name!r}; {nearest(name, ARCHITECTURES)}")
    return ARCHITECTURES[name]


@dataclass(frozen=True, slots=True)
class Count:
    """Work and traffic of a class of operators.

    Attributes:
        flops: FLOPs.
        mops: Bytes moved with every value at 8 bits [B].
    """

    flops: Num = 0.0
    mops: Num = 0.0

    @property
    def intensity(self) -> Num:
        """Arithmetic intensity [FLOP/B]."""
        return self.flops / self.mops

    def __add__(self, other: Count) -> Count:
        return Count(self.flops + other.flops, self.mops + other.mops)

    def __mul__(self, times: Num) -> Count:
        return Count(self.flops * times, self.mops * times)

    __rmul__ = __mul__


@dataclass(frozen=True, slots=True)
class Constants:
    """FLOPs and bytes of the operators that are no product, per value: fitted to the printed tables.

    The tables show sums only. In all of them d_ff = 4 d, so 4 GELU + 2 norms + 2 residuals = 58 FLOPs per token and
    channel is what is fitted; the split between GELU (8, the count of its tanh form in `workloads.opcounts`), norm and
    residual is an assumption that matters for other d_ff only. `survey.constants_table` shows each beside our own.

    Attributes:
        softmax_flops: Per score.
        gelu_flops: Per value.
        norm_flops: Per value.
        residual_flops: Per value.
        residual_mops: Bytes per value of one residual addition in a pass over all tokens: the tables want 5 for the
            two of a layer, where two reads and a write each are 6. Generation fits the natural 3.
        norm_parameters: Bytes per channel of one norm: scale and shift.
    """

    softmax_flops: float = 4
    gelu_flops: float = 8
    norm_flops: float = 12
    residual_flops: float = 1
    residual_mops: float = 2.5
    norm_parameters: float = 2


PRINTED = Constants()
"""What reproduces the printed cells of Tables 3, 10 and 11 (58, 17 and 4 d for one pass; 22 for generation)."""

LEAST_SQUARES = replace(PRINTED, norm_parameters=2.5)
"""The least-squares fit of tests/golden/reference/survey/op_class_derived.csv: 5 d bytes of parameters per layer, taken
over from generation. Its integers are reproduced exactly, but three printed intensities are not: they need 4 d."""

NATURAL_RESIDUAL_MOPS = 3.0
"""Two reads and a write."""


def count(arch: Architecture, tokens: Num, constants: Constants = PRINTED) -> dict[str, Count]:
    """Count FLOPs and MOPs by operator class, as the source does.

    Args:
        arch: The model.
        tokens: Sequence length, or number of generated tokens; one value or shape (n_points,).
        constants: Of the operators that are no product.

    Returns:
        Class to count: `CLASSES`, then "total".

    Example:
        >>> total = count(architecture("BERT-Base"), 128)["total"]
        >>> round(total.flops / 1e9, 2), round(total.mops / 1e9, 2), round(total.intensity, 2)
        (22.42, 0.14, 159.68)

    Source: Kim et al., arXiv 2302.14017v1, Tables 3, 10 and 11; formulas fitted to them (`definitions.csv` of the
        reference tables), exact but for the cells of `survey.DISCREPANCIES`.
    """
    per_layer = _generated(arch, tokens, constants) if arch.generates else _one_pass(arch, tokens, constants)
    return with_total({name: arch.layers * per_layer[name] for name in CLASSES})


def with_total(counts: Mapping[str, Count]) -> dict[str, Count]:
    """Add the sum of the classes as "total".

    Example:
        >>> with_total({"other": Count(2.0, 4.0)})["total"].intensity
        0.5
    """
    return {**counts, "total": sum(counts.values(), start=Count())}


def _one_pass(arch: Architecture, n: Num, c: Constants) -> dict[str, Count]:
    """Count one pass over n tokens (the l of the source), per layer."""
    d, h, d_ff = arch.d_model, arch.heads, arch.d_ff
    head = d // h
    # The first product of a sum needs no addition; the bias addition of a projection fills the saved one.
    scores = (2 * head - 1) * n**2
    context = (2 * n - 1) * n * head
    return {
        "mha_proj": Count(4 * 2 * d * d * n, 4 * (d * d + 2 * d * n)),
        "act_act": Count(h * (scores + context), 4 * d * n + 2 * h * n**2),
        "ffn_proj": Count(2 * 2 * d * d_ff * n, 2 * (d * d_ff + (d + d_ff) * n)),
        "other": Count(
            c.softmax_flops * h * n**2 + _pointwise_flops(arch, c) * n,
            2 * h * n**2 + _pointwise_mops(arch, c.residual_mops) * n + 2 * c.norm_parameters * d,
        ),
    }


def _generated(arch: Architecture, n: Num, c: Constants) -> dict[str, Count]:
    """Count generating n tokens, per layer: each reads the weights anew; the contexts sum to n^2 / 2."""
    d, h, d_ff = arch.d_model, arch.heads, arch.d_ff
    pairs = n**2 / 2
    parameters = 2 * PRINTED.norm_parameters * d  # of the two norms: read anew for every token
    return {
        "mha_proj": Count(4 * 2 * d * d * n, 4 * (d * d + 2 * d) * n),
        # Keys, values and one pass over the scores at each context and the new token; query and result.
        "act_act": Count(4 * d * pairs, (2 * d + h) * (pairs + n) + 2 * d * n),
        "ffn_proj": Count(2 * 2 * d * d_ff * n, 2 * (d * d_ff + d + d_ff) * n),
        "other": Count(
            c.softmax_flops * h * pairs + _pointwise_flops(arch, c) * n,
            2 * h * pairs + (_pointwise_mops(arch, NATURAL_RESIDUAL_MOPS) + parameters) * n,
        ),
    }


def _pointwise_flops(arch: Architecture, c: Constants) -> Num:
    """Give the FLOPs per token of GELU, two norms and two residual additions: 58 d where d_ff = 4 d."""
    return c.gelu_flops * arch.d_ff + 2 * (c.norm_flops + c.residual_flops) * arch.d_model


def _pointwise_mops(arch: Architecture, residual: float) -> Num:
    """Give the bytes per token of the same, parameters apart: 18 d where d_ff = 4 d and a residual moves 3 bytes."""
    return 2 * arch.d_ff + 2 * (2 + residual) * arch.d_model
