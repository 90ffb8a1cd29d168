"""`dse sweep`: cost a space from a file, write the results and the front."""

from __future__ import annotations

import json
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dse.cli.output import Bar, console, print_table, progress_bar
from dse.files import atomic_write, output_folder
from dse.numbers import si
from workloads.errors import SpaceError, StoreError

if TYPE_CHECKING:
    import numpy as np

    from dse.batches import Model
    from dse.cli.sweep_config import SweepConfig
    from dse.results import Result
    from dse.search import Search

__all__ = ["sweep"]

CSV_LIMIT = 100_000
"""More points are written as Parquet only: a million rows of CSV take ten seconds and nobody reads them."""

SHOWN = 20
RESULTS = "results.parquet"
FILES = (RESULTS, "run.toml", "results.csv", "pareto.csv", "pareto.png", "summary.json")
"""What a run leaves in its folder, beside its parts and a copy of its configuration."""


def sweep(
    config: Annotated[Path, typer.Argument(help="TOML file with the tables model, space, search and constraints.")],
    out: Annotated[Path | None, typer.Option("--out", "-o", help="Folder for the results; default runs/NAME.")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the run in the folder.")] = False,
    top: Annotated[int, typer.Option("--top", min=1, help="Points of the front to print.")] = SHOWN,
) -> None:
    """Cost every point of a design space, or search it; write the results, the front and a plot."""
    from dse.cli.sweep_checks import check_effects, check_values
    from dse.cli.sweep_config import read_config

    settings = read_config(config)
    check_effects(settings.space, config)
    check_values(settings.space, settings.model, config)
    folder = out or Path("runs") / config.stem
    replaced = _prepare(folder, resume)
    start = time.perf_counter()
    with progress_bar("costing design points") as bar:
        result = _searched(settings, folder, bar)
    seconds = time.perf_counter() - start
    front, mask = _front(result, settings)
    written = _write(folder, settings, result, front, mask, seconds)
    _print_front(front, settings, top)
    whole = ", all of the space," if len(result) == settings.space.size() else ""
    console().print(
        f"{len(result):,} points{whole} in {seconds:.2f} s: {len(result) / seconds:,.0f} points per second; "
        f"{len(front):,} on the front\nwritten to {folder}: {', '.join(sorted(written))}"
        + ("; the results of an earlier run were replaced" if replaced else ""),
        soft_wrap=True,
    )


def _prepare(folder: Path, resume: bool) -> bool:
    """Make the folder ready: an unfinished run in it is never thrown away, a finished one is done again.

    Returns:
        Whether there was a finished run, whose results go.

    Raises:
        StoreError: The folder cannot be written to, there is nothing to resume, or an unfinished run is in the way.
    """
    record = folder / "run.toml"
    if resume and not record.is_file():
        raise StoreError(f"--resume: there is no run in {str(folder)!r}; leave out --resume to start one")
    output_folder(folder)
    if resume or not record.is_file():
        return False
    if not (folder / RESULTS).is_file():
        raise StoreError(
            f"{str(folder)!r} holds an unfinished run; go on with --resume, give another --out, or remove the folder"
        )
    for old in (*(folder / name for name in FILES), *folder.glob("part-*.parquet")):
        old.unlink(missing_ok=True)
    return True


def _searched(settings: SweepConfig, folder: Path, bar: Bar) -> Result:
    import dse

    model = settings.model
    search = _search(settings, model)
    # Only NSGA-II looks at constraints; for the others they may change between a run and its resumption.
    bounds = settings.bounds if settings.method == "nsga2" else None
    size = settings.space.size()
    budget = int(size) if settings.method == "exhaustive" else settings.budget
    return dse.run(
        search, model, budget=budget, minimize=settings.minimize, constraints=bounds, store=folder, progress=bar
    )


def _search(settings: SweepConfig, model: Model) -> Search:
    import numpy as np

    from dse import search
    from dse.batches import evaluate_points

    space, rng = settings.space, np.random.default_rng(settings.seed)
    if settings.method == "exhaustive":
        return search.exhaustive(space)
    if settings.method == "random":
        return search.random_search(space, rng=rng)
    starts = None
    if space.size() != float("inf"):
        starts = search.additive_starts(space, partial(evaluate_points, space, model), settings.minimize, rng=rng)
    return search.nsga2(space, rng=rng, population=settings.population, starts=starts)


def _front(result: Result, settings: SweepConfig) -> tuple[Result, np.typing.NDArray[np.bool_]]:
    """Give the front among the points that meet the constraints, sorted by the first objective, and its mask.

    Raises:
        SpaceError: No point meets a constraint, or none fits its device.
    """
    import numpy as np

    from dse.constraints import check_feasible
    from dse.pareto import non_dominated, objective_matrix

    columns = result.columns
    if not np.isfinite(columns["latency_s"]).any() and settings.accelerator is not None:
        raise SpaceError(f"{settings.path}: nothing of the space fits all operators; give its buffers more capacity")
    if not np.isfinite(columns["latency_s"]).any():
        least = float(np.min(columns["peak_bytes"]))
        raise SpaceError(
            f"{settings.path}: no point fits its device's memory; the smallest needs {si(least, 'B', digits=4)}. "
            "Take a smaller batch, fewer bits, or a larger device"
        )
    try:
        inside = np.flatnonzero(check_feasible(columns, settings.bounds))
    except SpaceError as error:
        raise SpaceError(f"{settings.path}: constraints: {error}") from None
    costs = objective_matrix(columns, settings.minimize)[inside]
    index = inside[non_dominated(costs)]
    index = index[np.argsort(np.asarray(columns[settings.minimize[0]])[index], kind="stable")]
    mask = np.zeros(len(result), dtype=bool)
    mask[index] = True
    return result.take(index), mask


def _write(
    folder: Path,
    settings: SweepConfig,
    result: Result,
    front: Result,
    mask: np.typing.NDArray[np.bool_],
    seconds: float,
) -> set[str]:
    """Write results, front, plot and summary; give the names of the run's files."""
    from dse import plots

    if len(result) <= CSV_LIMIT:
        result.to_csv(folder / "results.csv")
    front.to_csv(folder / "pareto.csv")
    if len(settings.minimize) > 1:
        devices = settings.space.knobs["device"].values if "device" in settings.space.knobs else ()
        by = "device" if 1 < len(devices) <= len(plots.COLOURS) else None
        title = f"{next(iter(settings.workloads.values())).name}: {len(result):,} design points, predicted"
        x, y = settings.minimize[:2]
        plots.pareto(result, x, y, folder / "pareto.png", front=mask, by=by, title=title)
    with atomic_write(folder / settings.path.name) as part:
        part.write_bytes(settings.path.read_bytes())
    summary = {
        "points": len(result),
        "on_front": len(front),
        "seconds": seconds,
        "points_per_s": len(result) / seconds,
        "constraints": {name: list(bound) for name, bound in settings.bounds.items()},
    }
    with atomic_write(folder / "summary.json") as part:
        part.write_text(json.dumps(summary, indent=1) + "\n", encoding="utf-8")
    result.to_parquet(folder / RESULTS)  # last: it says that the run is finished
    return {settings.path.name, *(name for name in FILES if (folder / name).is_file())}


def _print_front(front: Result, settings: SweepConfig, top: int) -> None:
    """Print points of the front, evenly spaced along it: the knobs that vary, then the columns."""
    import numpy as np

    count = min(top, len(front))
    index = np.unique(np.linspace(0, len(front) - 1, count).round().astype(int))
    shown = front.take(index)
    knobs = {name: _cells(shown, name) for name, knob in settings.space.knobs.items() if _varies(knob)}
    names = list(
        dict.fromkeys([*settings.minimize, *settings.bounds, "latency_s", "energy_j", "size_bytes", "area_mm2"])
    )
    names = [name for name in names if name in settings.columns]
    columns = {name: [si(float(value), settings.columns[name]) for value in shown.columns[name]] for name in names}
    header = [
        *(name.replace("_scale.", "\n").replace("_", "\n", 1) for name in knobs),
        *(name.rpartition("_")[0] or name for name in columns),
    ]
    rows = [list(row) for row in zip(*knobs.values(), *columns.values(), strict=True)]
    some = f", {len(shown)} of {len(front)} evenly along it" if len(shown) < len(front) else ""
    left = (0,) if "device" in knobs and next(iter(knobs)) == "device" else ()
    print_table(header, rows, left=left, cut=left, title=f"front of {', '.join(settings.minimize)}{some}; predicted")


def _varies(knob: Any) -> bool:
    return knob.is_range or len(knob.values) > 1


def _cells(shown: Result, name: str) -> list[str]:
    """Write the values of a knob; a per-layer one as its mean."""
    from workloads.knobs import PerLayer

    value = getattr(shown.points, name)
    if isinstance(value, PerLayer):
        return [f"mean {row.mean():.3g}" for row in value.values]
    if name == "device":
        return [Path(item).stem if str(item).endswith(".toml") else str(item) for item in value]
    return [item if isinstance(item, str) else f"{float(item):.4g}" for item in value]
