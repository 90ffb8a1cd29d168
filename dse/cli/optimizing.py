"""`dse optimize`: read the arguments, call `dse.optimize`, write what it found."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dse.cli import inputs
from dse.cli.inputs import ModelSource
from dse.cli.output import console, print_table, progress_bar
from dse.files import reserved_folder
from dse.numbers import gain
from workloads.errors import MeasureError, SpaceError

if TYPE_CHECKING:
    from dse.measure.timing import Timing
    from dse.pipeline import Optimized

__all__ = ["optimize"]

TIMING_LIMIT_S = 30.0
"""Longest time that designs are timed for [s]."""


def optimize(
    model: Annotated[str, typer.Argument(help="An .onnx file with its weights, or a name such as vit-mnist.")],
    task: Annotated[
        str, typer.Option("--task", help="mnist, wordnet-retrieval, agreement:inputs.npz, or file.py:Task.")
    ],
    device: Annotated[
        list[str], typer.Option("--device", "-d", help="A name, a TOML file, or local; may be repeated.")
    ],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for the report and the chosen models.")],
    max_drop: Annotated[
        str, typer.Option("--max-drop", help="Allowed drop of the metric: 0.01 (absolute) or 1% (relative).")
    ] = "0.01",
    batch: Annotated[int | None, typer.Option("--batch", min=1, help="Batch size; default 1 where it is open.")] = None,
    bind: Annotated[list[str] | None, typer.Option("--bind", "-b", help="Sizes of symbolic dims: seq=128.")] = None,
    objective: Annotated[
        str, typer.Option("--objective", help="What the chosen model has least of: latency_s, energy_j, size_bytes.")
    ] = "latency_s",
    constraint: Annotated[
        list[str] | None, typer.Option("--constraint", "-c", help="Such as 'energy_j<=1e-3'; may be repeated.")
    ] = None,
    budget: Annotated[int, typer.Option("--budget", min=100, help="Design points to cost.")] = 60_000,
    measured: Annotated[int, typer.Option("--measured", min=2, help="Designs to measure on the task.")] = 32,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Of the search.")] = 0,
    workers: Annotated[int, typer.Option("--workers", min=1, help="Threads that measure accuracy.")] = 2,
    no_timing: Annotated[bool, typer.Option("--no-timing", help="Do not time designs on this CPU.")] = False,
) -> None:
    """Search compression per layer for devices, measure real accuracy, write a report and the chosen models."""
    import dse
    from dse.choosing import choose_by_speed, warnings_of
    from dse.constraints import parse_constraints
    from dse.report.optimization import write_chosen, write_report
    from workloads.zoo.fetch import cache_folder

    path = inputs.model_path(model)
    sizes = ModelSource(path=path, bind=inputs.parse_bind(bind or ())).with_batch(batch).bind
    limits = parse_constraints(constraint or ())
    if batch is not None and "batch" in inputs.parse_bind(bind or ()):
        raise SpaceError("the batch size is given twice, by --batch and by --bind batch=; keep one")
    names = [inputs.device(name).name for name in device]
    if len(set(names)) != len(names):
        raise SpaceError(f"--device gives one device twice: {', '.join(names)}; name each device once")
    with reserved_folder(out), progress_bar() as bar, _kept(out):
        found = dse.optimize(
            path,
            task,
            device,
            max_drop=max_drop,
            bind=sizes,
            objective=objective,
            constraints=limits,
            budget=budget,
            measured=measured,
            seed=seed,
            cache=cache_folder() / "sensitivities",
            workers=workers,
            progress=bar.phase,
        )
    timings = {} if no_timing else _timed(found, sizes)
    found = choose_by_speed(found, timings)
    report = write_report(found, out, timings, write_chosen(found, out))
    _print_chosen(found, timings)
    for line in warnings_of(found, timings):
        console().print(line, soft_wrap=True)
    console().print(f"report: {report}", soft_wrap=True)


@contextmanager
def _kept(out: Path) -> Iterator[None]:
    """Keep the designs that were measured where none of them meets the limits, and say where they are."""
    from dse.reachable import UnmetError
    from dse.report.optimization import write_designs

    try:
        yield
    except UnmetError as error:
        write_designs(error.found, out)
        raise SpaceError(f"{error}; what was measured is in {out / 'designs.csv'}") from None


def _timed(found: Optimized, sizes: Mapping[str, int]) -> Mapping[str, Timing]:
    """Time the uncompressed model and the best designs on this CPU; models that it cannot run are said and left out."""
    import numpy as np

    from dse.choosing import time_designs
    from dse.measure.feeds import random_feeds

    try:
        feeds = random_feeds(found.model, np.random.default_rng(0), **sizes)
        return time_designs(found, feeds, TIMING_LIMIT_S)
    except MeasureError as error:
        console(stderr=True).print(f"not timed: {error}", soft_wrap=True)
        return {}


def _print_chosen(found: Optimized, timings: Mapping[str, Timing]) -> None:
    from dse.report.speed import gain_text

    base = found.designs[0]
    rows = []
    for device, name in found.chosen.items():
        design = found.design(name)
        before, after = base.columns[device], design.columns[device]
        drop = design.measured.drop
        rows.append(
            [
                Path(device).stem,
                name,
                f"{drop.value:+.4f} ± {drop.standard_error:.4f}",
                gain(before["latency_s"], after["latency_s"]),
                gain_text(found, timings, device),
                gain(before["energy_j"], after["energy_j"]),
                f"{base.sizes.packed_bytes / design.sizes.packed_bytes:.2f}x",
            ]
        )
    reference = found.reference
    score = f"{reference.value:.4f} ± {reference.standard_error:.4f}"
    console().print(
        f"{reference.metric} of the uncompressed model, measured: {score}; "
        f"{found.points} design points costed, {len(found.designs) - 1} designs measured",
        soft_wrap=True,
    )
    header = ["device", "design", "drop\nmeasured", "latency\ngain\npredicted", "latency\ngain\nmeasured"]
    header += ["energy\ngain\npredicted", "size\ngain\nmeasured"]
    print_table(header, rows, left=(0, 1))
