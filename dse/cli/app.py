"""The command line: the list of commands, and what the user sees when something is wrong."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import Annotated, Any

import typer

from dse.cli import INTERRUPTED, interrupted
from dse.cli.calibrating import calibrate
from dse.cli.compressing import compress
from dse.cli.devices import devices
from dse.cli.energy import energy
from dse.cli.mapping import map_command
from dse.cli.measuring import measure
from dse.cli.optimizing import optimize
from dse.cli.predicting import predict
from dse.cli.profiling import profile
from dse.cli.sweeping import sweep
from dse.cli.trending import trends
from dse.cli.zoo import zoo

__all__ = ["app", "run_command"]

USAGE_ERROR = 2
BROKEN_PIPE = 1  # as Typer and Rich have it

app = typer.Typer(
    name="dse",
    help="Which compression, schedule and hardware give a transformer the best latency, energy, size and accuracy?",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import PackageNotFoundError, version

        try:
            print(f"dse {version('fullstack-dse')}")
        except PackageNotFoundError:
            print("dse, from a source tree that is not installed")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and leave.")
    ] = False,
) -> None:
    """Hold the options of `dse` itself."""


app.command("devices")(devices)
app.command("profile")(profile)
app.command("sweep")(sweep)
app.command("optimize")(optimize)
app.command("compress")(compress)
app.command("map")(map_command)
app.command("energy")(energy)
app.command("trends")(trends)
app.command("predict")(predict)
app.command("measure")(measure)
app.command("calibrate")(calibrate)
app.command("zoo")(zoo)


def run_command(arguments: Sequence[str] | None) -> int:
    """Run the command and give its exit status; `dse.cli.main` says which there are.

    Args:
        arguments: What follows `dse`; None: those of the process.
    """
    from workloads.errors import DseError

    try:
        outcome = app(args=arguments, standalone_mode=False, prog_name="dse")
        sys.stdout.flush()
    except DseError as error:
        return _fail(str(error))
    except BrokenPipeError:
        return _quiet_pipe()
    except OSError as error:
        return _fail(_file_message(error))
    except typer.Abort:
        return interrupted()
    except Exception as error:
        # Typer carries Click's exceptions under its own names, which moved between releases: known by what they can do.
        if not hasattr(error, "format_message"):
            raise
        message = _usage_message(error)
        return _fail(message) if message else USAGE_ERROR  # no message: the help was shown instead
    if outcome == INTERRUPTED:
        return interrupted()
    return outcome if isinstance(outcome, int) else 0


def _fail(message: str) -> int:
    print(f"error: {message}", file=sys.stderr)
    return USAGE_ERROR


def _quiet_pipe() -> int:
    """Leave quietly: the reader of our output is gone, and Python would complain once more when it flushes."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return BROKEN_PIPE


def _file_message(error: OSError) -> str:
    reason = (error.strerror or str(error) or type(error).__name__).lower()
    return f"{error.filename}: {reason}" if error.filename is not None else reason


def _usage_message(error: Any) -> str:
    """Say what is wrong with an option, and where help is."""
    context = getattr(error, "ctx", None)
    command = context.command_path if context is not None else "dse"
    message = str(error.format_message()).strip().rstrip(".")
    return f"{message}; see {command} --help" if message else ""
