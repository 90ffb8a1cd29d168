"""The `dse` command."""

from dse.cli.app import main

__all__ = ["main"]
