"""The cited tables that ship with the package: `tables/NAME.csv`, read once."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from functools import cache
from importlib import resources

__all__ = ["cited_rows"]


@cache
def cited_rows(name: str) -> tuple[Mapping[str, str], ...]:
    """Read a bundled table.

    Args:
        name: Of the file in `hwmodels/tables`, without its ending.

    Returns:
        A mapping from column to text per row.

    Example:
        >>> cited_rows("static_power")[0]["chip"]
        'A100 SXM4 40GB'
    """
    text = (resources.files("hwmodels") / "tables" / f"{name}.csv").read_text(encoding="utf-8")
    return tuple(csv.DictReader(text.splitlines()))
