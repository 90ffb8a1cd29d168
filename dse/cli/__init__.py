"""The `dse` command."""

from __future__ import annotations

import sys
from collections.abc import Sequence

__all__ = ["INTERRUPTED", "interrupted", "main"]

INTERRUPTED = 130
"""Exit status after an interrupt, as shells have it (128 + SIGINT)."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the `dse` command and leave with its exit status.

    Args:
        arguments: What follows `dse`; default: those of the process.

    Raises:
        SystemExit: Always. 0: done; 2: the input or an option cannot be used; 130: interrupted.
    """
    try:
        from dse.cli.app import run_command  # takes most of a second, in which one may think better of it

        status = run_command(arguments)
    except KeyboardInterrupt:
        status = interrupted()
    raise SystemExit(status)


def interrupted() -> int:
    """Say that the user interrupted, and give the exit status."""
    print("interrupted", file=sys.stderr)
    return INTERRUPTED
