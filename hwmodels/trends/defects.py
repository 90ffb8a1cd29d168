"""Known defects of the memory wall's tables: what is printed, what holds, and why. Nothing is adjusted for them."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["DEFECTS", "Defect"]


@dataclass(frozen=True, slots=True)
class Defect:
    """One defect.

    Attributes:
        table: Bundled table, `tables/trend_*.csv`.
        key: Value of its model or quantity column.
        column: Which cell.
        printed: What the source has.
        holds: What holds, as far as it is known; empty: unknown.
        why: How one sees it.
    """

    table: str
    key: str
    column: str
    printed: str
    holds: str
    why: str


_COPIED = "the row's parameters, features and inference GFLOPs equal those of the GPT-2 row: a slip of copying"

DEFECTS: tuple[Defect, ...] = (
    Defect("models", "RoBERTa Large", "params_million", "1500", "355", f"{_COPIED}; Liu et al. 2019 have 355 M"),
    Defect("models", "RoBERTa Large", "features_million", "2000", "", _COPIED),
    Defect("models", "RoBERTa Large", "inference_gflops", "3400", "", _COPIED),
    Defect(
        "models",
        "BERT Large",
        "training_pflops",
        "250000",
        "528300",
        "the marker of the figure of training compute, which the headline rate is fitted to, is at twice the value",
    ),
    Defect(
        "training_memory", "AlexNet", "total_gb", "1.71", "1.17", "parameters, optimizer and activations sum to 1.17"
    ),
    Defect(
        "training_memory",
        "GPT-2",
        "input_size",
        "2014",
        "1024",
        "the table of models of the same source has GPT-2 at 1024 tokens",
    ),
    Defect(
        "rates",
        "ai_hw_memory_capacity",
        "rate",
        "2x per 2 years",
        "1.83x per 2 years",
        "least squares over the seven accelerators that the figure prints; 2x is within one standard error",
    ),
)
"""Every known defect. `refit` uses the figures' markers, which none of the first six touches."""
