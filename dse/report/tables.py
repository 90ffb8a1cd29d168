"""Markdown tables and numbers for people."""

from __future__ import annotations

from collections.abc import Sequence

__all__ = ["markdown_table", "si"]

_PREFIXES = (
    (1e12, "T"),
    (1e9, "G"),
    (1e6, "M"),
    (1e3, "k"),
    (1.0, ""),
    (1e-3, "m"),
    (1e-6, "u"),
    (1e-9, "n"),
    (1e-12, "p"),
)


def si(value: float, unit: str, digits: int = 3) -> str:
    """Write a number with an SI prefix.

    Example:
        >>> si(0.00123, "s"), si(0, "B"), si(float("inf"), "s")
        ('1.23 ms', '0 B', 'does not fit')
    """
    if value == 0:
        return f"0 {unit}"
    if value != value or abs(value) == float("inf"):
        return "does not fit"
    for scale, prefix in _PREFIXES:
        if abs(value) >= scale * 0.9995:
            return f"{value / scale:.{digits}g} {prefix}{unit}"
    return f"{value:.{digits}g} {unit}"


def markdown_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Write a table; columns after the first are aligned right.

    Example:
        >>> print(markdown_table(["a", "b"], [["x", "1"]]))
        | a | b |
        |:--|--:|
        | x | 1 |
    """
    rule = [":--", *["--:"] * (len(header) - 1)]
    lines = [list(header), *[list(row) for row in rows]]
    body = ["| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines]
    return "\n".join([body[0], "|" + "|".join(rule) + "|", *body[1:]])
