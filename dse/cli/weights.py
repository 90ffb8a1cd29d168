"""What `--weights measure` shows beside a profile: what the stored tensors hold, by what they need."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal, get_args

from dse.cli.output import console, print_table
from dse.numbers import si
from workloads.errors import WorkloadError

__all__ = ["Weights", "print_weights", "weights_mode", "weights_record"]

Weights = Literal["describe", "measure"]


def weights_mode(text: str) -> Weights:
    """Check the word behind --weights.

    Raises:
        WorkloadError: Neither describe nor measure.
    """
    for mode in get_args(Weights):
        if text == mode:
            return mode  # type: ignore[no-any-return]
    raise WorkloadError(f"--weights {text!r}: give describe (as the containers say) or measure (read the values)")


def weights_record(path: Path) -> list[dict[str, Any]]:
    """Group the stored tensors of a model by container, true width and pattern, the largest group first."""
    from workloads import weight_table

    table = weight_table(path)
    table["pattern"] = table["pattern"].str.replace(r"^block.*", "block", regex=True)
    groups = table.groupby(["format", "true_bits", "pattern"], sort=False)
    rows = [
        {
            "format": format_name,
            "true_bits": int(str(bits)),
            "pattern": pattern,
            "tensors": len(group),
            "non_finite": int(group["non_finite"].sum()),
            "stored_bytes": int(group["stored_bytes"].sum()),
            "packed_bytes": int(group["packed_bytes"].sum()),
        }
        for (format_name, bits, pattern), group in groups
    ]
    return sorted(rows, key=lambda row: -row["stored_bytes"])


def print_weights(rows: list[dict[str, Any]]) -> None:
    """Print the groups, and say where values are not finite."""
    cells = [
        [row["format"], str(row["true_bits"]), row["pattern"], str(row["tensors"]), si(row["stored_bytes"], "B"),
         si(row["packed_bytes"], "B")]
        for row in rows
    ]  # fmt: skip
    console().print()
    print_table(["weights, measured", "true bits", "pattern", "tensors", "stored", "packed"], cells, left=(0, 2))
    broken = sum(row["non_finite"] for row in rows)
    if broken:
        console().print(f"{broken} values are NaN or infinite", style="bold")
