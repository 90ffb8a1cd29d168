"""How the numbers of a macro came about, and how far they may be off."""

from __future__ import annotations

from enum import IntEnum

__all__ = ["Quality"]


class Quality(IntEnum):
    """How a macro's numbers came about, the surest first."""

    EXACT = 0
    """A row that CACTI printed."""
    INTERPOLATED = 1
    """Between capacities of the table, or banks of it; the organisation chosen as CACTI does."""
    BETWEEN_WIDTHS = 2
    """Between word widths, too."""
    BETWEEN_NODES = 3
    """Between technology nodes, too."""
    OTHER_PORTS = 4
    """From the ratio of two ports to one."""
    EXTRAPOLATED = 5
    """A bank beyond 128 MiB, or a word beyond 128 B or below 1 B."""
    REGISTERS = 6
    """Fewer than 32 words: registers and latches."""
    SCALED = 7
    """Carried to a node outside of CACTI's by a named law."""
