"""Where the numbers of a device come from, as commands print it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from dse.cli.output import console

if TYPE_CHECKING:
    from hwmodels import Citation

__all__ = ["origins", "print_citations"]

_CHECKED = ("measured", "read")


def origins(sources: Mapping[str, Citation]) -> str:
    """Count the groups of numbers that were read in their source, or measured, rather than recalled or assumed."""
    found = [citation.origin for citation in sources.values()]
    return f"{sum(origin in _CHECKED for origin in found)} of {len(found)}"


def print_citations(sources: Mapping[str, Citation]) -> None:
    """Print every group of numbers with its source, note and disagreements."""
    from rich.padding import Padding
    from rich.text import Text

    out = console()
    for group, citation in sources.items():
        out.print(Text(f"{group} ({citation.origin})", style="bold"))
        lines = [citation.source, *([f"note: {citation.note}"] if citation.note else [])]
        lines += [f"disagrees: {other}" for other in citation.disagreements]
        for line in lines:
            out.print(Padding(Text(line), (0, 0, 0, 4)))
