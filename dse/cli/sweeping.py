"""`dse sweep`: cost a space from a file, write the results and the front."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dse.cli.output import Bar, console, print_table, progress_bar, si
from dse.files import atomic_write
from workloads.errors import SpaceError

if TYPE_CHECKING:
    import numpy as np

    from dse.cli.run_folder import RunFolder
    from dse.cli.sweep_config import SweepConfig
    from dse.sweeps import Model, Result

__all__ = ["sweep"]

CSV_LIMIT = 100_000
"""More points are written as Parquet only: a million rows of CSV take ten seconds and nobody reads them."""

SHOWN = 20


def sweep(
    config: Annotated[Path, typer.Argument(help="TOML: [model], [space], [search], [constraints].")],
    out: Annotated[Path | None, typer.Option("--out", "-o", help="Folder for the results; default runs/NAME.")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with an interrupted run in the folder.")] = False,
    top: Annotated[int, typer.Option("--top", min=1, help="Points of the front to print.")] = SHOWN,
) -> None:
    """Cost every point of a design space, or search it; write the results, the front and a plot."""
    from dse.cli.run_folder import open_run
    from dse.cli.sweep_config import read_config

    settings = read_config(config)
    run = open_run(out or Path("runs") / config.stem, settings, resume=resume)
    start = time.perf_counter()
    with progress_bar(
        f"costing {settings.space.size():,} points" if settings.method == "exhaustive" else "searching"
    ) as bar:
        result = _searched(settings, run, bar)
    seconds = time.perf_counter() - start
    front, mask = _front(result, settings)
    _write(run, settings, result, front, mask, seconds)
    _print_front(front, settings, top)
    rate = len(result) / seconds
    console().print(
        f"{len(result):,} points in {seconds:.2f} s: {rate:,.0f} points per second; {len(front):,} on the front\n"
        f"written to {run.path}: {', '.join(sorted(item.name for item in run.path.iterdir() if item.is_file()))}",
        soft_wrap=True,
    )


def _searched(settings: SweepConfig, run: RunFolder, bar: Bar) -> Result:
    import numpy as np

    import dse
    from dse import search
    from dse.sweeps import evaluate_points

    model = SplitModel(dse.standard_model(settings.workloads))
    space, rng = settings.space, np.random.default_rng(settings.seed)
    if settings.method == "exhaustive":
        return dse.sweep(space, model, minimize=settings.minimize, map=run.map, progress=bar)
    if settings.method == "random":
        chosen = search.random_search(space, rng=rng)
    else:
        starts = None
        if space.size() != float("inf"):
            starts = search.additive_starts(space, partial(evaluate_points, space, model), settings.minimize, rng=rng)
        chosen = search.nsga2(space, rng=rng, population=settings.population, starts=starts)
    return dse.run(
        chosen, model, budget=settings.budget, minimize=settings.minimize, constraints=settings.bounds, map=run.map,
        progress=bar,
    )  # fmt: skip


@dataclass(frozen=True, slots=True)
class SplitModel:
    """The standard model for batches in which sizes that shape the graph vary: each size is costed apart.

    Attributes:
        model: What costs points that share these sizes.
    """

    model: Model

    def __call__(self, points: Any) -> Mapping[str, Any]:
        """Cost points; numbers in, arrays of shape (n_points,) out."""
        import numpy as np

        names = [name for name in ("batch", "group_size", "activation_bits") if name in points]
        names = [name for name in names if isinstance(getattr(points, name), np.ndarray)]
        if not names:
            outcome: Mapping[str, Any] = self.model(points)
            return outcome
        sizes = np.stack([getattr(points, name) for name in names], axis=1)
        distinct, group = np.unique(sizes, axis=0, return_inverse=True)
        columns: dict[str, Any] = {}
        for number in range(len(distinct)):
            index = np.flatnonzero(group.ravel() == number)
            # A batch has at least two rows.
            rows = index if len(index) > 1 else np.repeat(index, 2)
            for name, values in self.model(points.take(rows)).items():
                column = columns.setdefault(name, np.empty(len(points)))
                column[index] = np.broadcast_to(values, (len(rows),))[: len(index)]
        return columns


def _front(result: Result, settings: SweepConfig) -> tuple[Result, np.typing.NDArray[np.bool_]]:
    """Give the front among the points that meet the constraints, sorted by the first objective, and its mask.

    Raises:
        SpaceError: No point meets a constraint, or none fits its device.
    """
    import numpy as np

    from dse.constraints import check_feasible
    from dse.pareto import non_dominated, objective_matrix

    columns = result.columns
    if not np.isfinite(columns["latency_s"]).any():
        least = float(np.min(columns["peak_bytes"]))
        raise SpaceError(
            f"{settings.path}: no point fits its device's memory; the smallest needs {si(least, 'B', 4)}. "
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
    run: RunFolder,
    settings: SweepConfig,
    result: Result,
    front: Result,
    mask: np.typing.NDArray[np.bool_],
    seconds: float,
) -> None:
    from dse import plots
    from dse.cli.run_folder import run_record

    result.to_parquet(run.path / "results.parquet")
    if len(result) <= CSV_LIMIT:
        result.to_csv(run.path / "results.csv")
    front.to_csv(run.path / "pareto.csv")
    if len(settings.minimize) > 1:
        devices = settings.space.knobs["device"].values if "device" in settings.space.knobs else ()
        by = "device" if 1 < len(devices) <= len(plots.COLOURS) else None
        title = f"{next(iter(settings.workloads.values())).name}: {len(result):,} design points, predicted"
        x, y = settings.minimize[:2]
        plots.pareto(result, x, y, run.path / "pareto.png", front=mask, by=by, title=title)
    with atomic_write(run.path / settings.path.name) as part:
        part.write_bytes(settings.path.read_bytes())
    run.write_record(run_record(settings, len(result), len(front), seconds))
    run.finish()


def _print_front(front: Result, settings: SweepConfig, top: int) -> None:
    """Print points of the front, evenly spaced along it: the knobs that vary, then the columns."""
    import numpy as np

    from dse.cli.sweep_config import COLUMNS

    count = min(top, len(front))
    index = np.unique(np.linspace(0, len(front) - 1, count).round().astype(int))
    shown = front.take(index)
    knobs = {name: _cells(shown, name) for name, knob in settings.space.knobs.items() if _varies(knob)}
    names = list(dict.fromkeys([*settings.minimize, *settings.bounds, "latency_s", "energy_j", "size_bytes"]))
    columns = {name: [si(float(value), COLUMNS[name]) for value in shown.columns[name]] for name in names}
    header = [name.replace("_", "\n", 1) for name in (*knobs, *columns)]
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
