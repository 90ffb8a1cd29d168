"""Identities between printed numbers of the survey: they must hold whatever is counted."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from workloads.survey.derivations import Tables, half_digit

__all__ = ["IDENTITIES", "Identity"]


@dataclass(frozen=True, slots=True)
class Identity:
    """A relation between printed numbers.

    Attributes:
        stated: What the source states.
        needs: Tables that it reads.
        evaluate: Gives the value that the printed numbers give, and how far rounding alone may move it.
    """

    stated: str
    needs: frozenset[str]
    evaluate: Callable[[Tables], tuple[float, float]]


def _sum_of(table: str, column: str, whole: str | None, parts: Sequence[str], key: str) -> Identity:
    """Make the identity that printed parts sum to a printed whole (None: 100)."""

    def evaluate(tables: Tables) -> tuple[float, float]:
        cells = [tables.cell(table, column, **{key: part}) for part in parts]
        slack = sum(map(half_digit, cells)) + (half_digit(_stated) if whole else 0.0)
        return sum(map(float, cells)), slack

    _stated = whole or "100"
    return Identity(_stated, frozenset({table}), evaluate)


def _ratio(stated: str, bert: str, column: str, slack_of: str) -> Identity:
    """Make the identity of a ratio of BERT-Base at 128 tokens to ResNet-50, unfused, from the printed digits."""

    def evaluate(tables: Tables) -> tuple[float, float]:
        over = tables.cell("op_class_tables_read", bert, model="BERT-Base", seq_len="128", op_class="total")
        below = tables.cell("resnet50_op_class", column, op_class="total_unfused")
        if slack_of == "intensity":  # bytes, from the more precise FLOPs and intensities
            flops = tables.cell("op_class_tables_read", "gflops", model="BERT-Base", seq_len="128", op_class="total")
            below_flops = tables.cell("resnet50_op_class", "gflops", op_class="total_unfused")
            return float(flops) / float(over) / (float(below_flops) / float(below)), half_digit(stated)
        return float(over) / float(below), half_digit(stated)

    return Identity(stated, frozenset({"op_class_tables_read", "resnet50_op_class"}), evaluate)


_BASELINE = tuple(
    f"fig14_baseline_share_{name}"
    for name in ("matmul", "softmax", "layernorm", "residual_add", "de_quantization", "gelu")
)
_IBERT = tuple(f"fig14_ibert_share_{name}" for name in ("matmul_gelu", "softmax", "layernorm", "residual_add"))
_UNFUSED = ("conv", "batchnorm", "relu", "other")

IDENTITIES: dict[str, Identity] = {
    "Table 4: GFLOP of the classes sum to the unfused total": _sum_of(
        "resnet50_op_class", "gflops", "7.31", _UNFUSED, "op_class"
    ),
    "Table 4: GFLOP of convolutions and other sum to the fused total": _sum_of(
        "resnet50_op_class", "gflops", "7.28", ("conv", "other"), "op_class"
    ),
    "Table 4: GB of the classes sum to the unfused total": _sum_of(
        "resnet50_op_class", "gmops_bytes", "0.11", _UNFUSED, "op_class"
    ),
    "Table 4: GB of convolutions and other sum to the fused total": _sum_of(
        "resnet50_op_class", "gmops_bytes", "0.06", ("conv", "other"), "op_class"
    ),
    "Table 4: shares of MOPs sum to 100": _sum_of("resnet50_op_class", "pct_mops", None, _UNFUSED, "op_class"),
    "Text: BERT-Base over ResNet-50, FLOPs": _ratio("3.07", "gflops", "gflops", ""),
    "Text: BERT-Base over ResNet-50, MOPs": _ratio(
        "1.28", "arith_intensity_flop_per_byte", "arith_intensity", "intensity"
    ),
    "Fig. 14: baseline shares sum to 100": _sum_of("gemmini_case_study", "value", None, _BASELINE, "quantity"),
    "Fig. 14: I-BERT shares sum to 100": _sum_of("gemmini_case_study", "value", None, _IBERT, "quantity"),
}
"""Relations between printed numbers that must hold whatever is counted."""
