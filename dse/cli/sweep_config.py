"""The file that `dse sweep` reads: model, space, search, constraints. Every fault names the file and the key."""

from __future__ import annotations

import math
import tomllib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dse.accelerating import COLUMNS as ACCELERATOR_COLUMNS
from dse.accelerating import AcceleratorModel
from dse.batches import Model
from dse.cli.inputs import whole_number
from dse.cli.sweep_accelerators import KEYS, accelerator_of, check_knob, model_of
from dse.cli.sweep_model import MODEL_KEYS, in_file, load_workloads, model_source
from dse.model import KNOBS, standard_model
from dse.space import Knob, Space, grid, log_uniform, per_layer, uniform
from hwmodels.spatial import Accelerator
from workloads.errors import DseError, SpaceError, nearest
from workloads.workload import Workload

__all__ = ["COLUMNS", "SweepConfig", "read_config"]

COLUMNS: dict[str, str] = {
    "latency_s": "s",
    "energy_j": "J",
    "flops": "FLOP",
    "dram_bytes": "B",
    "peak_bytes": "B",
    "size_bytes": "B",
}
"""Columns of the standard model: what may be minimised or bounded, and the unit."""

METHODS = ("exhaustive", "random", "nsga2")
MOST_POINTS = 5_000_000
"""Points that an exhaustive search takes on without being told a budget."""

_KEYS = {
    "": ("model", "space", "search", "constraints", "accelerator"),
    "model": MODEL_KEYS,
    "search": ("method", "minimize", "budget", "seed", "population"),
}
_PER_LAYER = ("weight_bits", "head_density", "neuron_density")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SweepConfig:
    """A sweep, ready to run.

    Attributes:
        path: The file.
        workloads: Batch size to workload; one entry where batch is no knob.
        space: The design space.
        method: exhaustive, random or nsga2.
        minimize: Objectives.
        budget: Most points to cost.
        seed: Of the search.
        population: Of NSGA-II.
        bounds: Column to (lower, upper).
        accelerator: The model where the device is a spatial one; None: the standard model.
    """

    path: Path
    workloads: Mapping[int, Workload]
    space: Space
    method: str
    minimize: tuple[str, ...]
    budget: int
    seed: int
    population: int
    bounds: Mapping[str, tuple[float | None, float | None]]
    accelerator: AcceleratorModel | None = None

    @property
    def model(self) -> Model:
        """Design points to columns."""
        return standard_model(self.workloads) if self.accelerator is None else self.accelerator

    @property
    def columns(self) -> Mapping[str, str]:
        """Columns of the model, and their units."""
        return COLUMNS if self.accelerator is None else ACCELERATOR_COLUMNS


def read_config(path: Path) -> SweepConfig:
    """Read and check a sweep file, load its model, and build its space.

    Raises:
        SpaceError: Naming the file, the key and what to write.
        DseError: The model or a device cannot be loaded.
    """
    try:
        data = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise SpaceError(f"{path}: no such file; give a TOML file, such as reports/examples/sweep_vit.toml") from None
    except IsADirectoryError:
        raise SpaceError(f"{path}: is a folder; give the TOML file in it") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SpaceError(f"{path}: not valid TOML: {error}") from None
    try:
        return _checked(data, path)
    except DseError as error:
        raise SpaceError(f"{path}: {in_file(str(error))}") from None


def _checked(data: Mapping[str, Any], path: Path) -> SweepConfig:
    _check_keys(data, "", _KEYS[""])
    model, search = _table(data, "model"), _table(data, "search", {})
    _check_keys(model, "model", _KEYS["model"])
    _check_keys(search, "search", _KEYS["search"])
    knobs = _table(data, "space")
    machine = accelerator_of(knobs.get("device"), path.parent)
    columns = COLUMNS if machine is None else ACCELERATOR_COLUMNS
    minimize = tuple(_names(search.get("minimize", ["latency_s", "energy_j"]), "search.minimize", columns))
    method = search.get("method", "exhaustive")
    if method not in METHODS:
        raise SpaceError(f"search.method: found {method!r}; {nearest(str(method), METHODS)}")
    _check_effects(search, method)
    bounds = {name: _bound(name, value, columns) for name, value in _table(data, "constraints", {}).items()}
    knobs = _checked_knobs(knobs, machine)
    source = model_source(model, path.parent)
    batches = [whole_number(size, "space.batch") for size in _values(knobs["batch"])] if "batch" in knobs else [None]
    if not batches:
        raise SpaceError("space.batch: an empty list; give at least one batch size, or leave the knob out")
    if "batch" in knobs and source.batch_name() in source.bind:
        raise SpaceError(f"model.bind.{source.batch_name()}: the knob space.batch sets it; leave one of them out")
    workloads = load_workloads(source, batches)
    blocks = _blocks(next(iter(workloads.values())))
    space = Space(**{name: _knob(name, value, blocks, path.parent) for name, value in knobs.items()})
    about = _table(data, "accelerator", {})
    _check_keys(about, "accelerator", KEYS if machine else ())
    seed = search.get("seed", 0)
    if isinstance(seed, bool) or not isinstance(seed, int) or seed < 0:
        raise SpaceError(f"search.seed: found {seed!r}; give a whole number of at least 0")
    return SweepConfig(
        path=path,
        workloads=workloads,
        space=space,
        method=method,
        minimize=minimize,
        budget=_budget(search, method, space),
        seed=seed,
        population=whole_number(search.get("population", 256), "search.population"),
        bounds=bounds,
        accelerator=None if machine is None else model_of(next(iter(workloads.values())), machine, about),
    )


def _checked_knobs(knobs: Mapping[str, Any], machine: Accelerator | None) -> Mapping[str, Any]:
    """Give the knobs that a space is made of; a spatial accelerator is none of them."""
    if machine is None:
        _check_keys(knobs, "space", KNOBS)
        known: Iterable[str] = KNOBS
    else:
        knobs = {name: value for name, value in knobs.items() if name != "device"}
        for name in knobs:
            check_knob(machine, name)
        known = ("array_rows", "array_columns", "clock_scale", "capacity_scale.LEVEL", "bandwidth_scale.LEVEL")
    if not knobs:
        raise SpaceError(f"space: has no knob; known: {', '.join(known)}")
    return knobs


def _check_keys(table: Mapping[str, Any], where: str, known: Iterable[str]) -> None:
    for key in table:
        if key not in known:
            raise SpaceError(f"{f'{where}.' if where else ''}{key}: unknown key; {nearest(key, known)}")


def _check_effects(search: Mapping[str, Any], method: str) -> None:
    """Refuse keys of [search] that the method does not read."""
    for key, methods in (("seed", ("random", "nsga2")), ("population", ("nsga2",))):
        if key in search and method not in methods:
            raise SpaceError(f"search.{key}: is for {' and '.join(methods)}, not for {method}; leave it out")


def _table(data: Mapping[str, Any], name: str, default: Mapping[str, Any] | None = None) -> Mapping[str, Any]:
    if name not in data and default is None:
        raise SpaceError(f"there is no table [{name}]; reports/examples shows every key")
    found = data.get(name, default)
    if not isinstance(found, Mapping):
        raise SpaceError(f"{name}: found {found!r}; it is a table: [{name}]")
    return found


def _names(value: Any, where: str, known: Iterable[str]) -> list[str]:
    if not isinstance(value, list) or not value:
        raise SpaceError(f'{where}: found {value!r}; give a list of columns: ["latency_s", "energy_j"]')
    for name in value:
        if name not in known:
            raise SpaceError(f"{where}: there is no column {name!r}; {nearest(str(name), known)}")
    return value


def _values(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _blocks(work: Workload) -> dict[str, tuple[str, ...]]:
    """Give the blocks that a per-layer knob has a gene for."""
    from workloads import compress

    def parents(part: str) -> tuple[str, ...]:
        names = (op.block.split(f".{part}.")[0] + f".{part}" for op in work.operators if f".{part}." in op.block)
        return tuple(dict.fromkeys(names))

    quantizable = tuple(dict.fromkeys(op.block for op in compress.quantizable(work)))
    return {"weight_bits": quantizable, "head_density": parents("attn"), "neuron_density": parents("ffn")}


def _knob(name: str, value: Any, blocks: Mapping[str, tuple[str, ...]], folder: Path) -> Any:
    """Turn a knob of the file into what `Space` takes."""
    if name == "device":
        return [_device_name(item, folder) for item in _values(value)]
    if not isinstance(value, Mapping):
        return _values(value)
    if set(value) == {"per_layer"}:
        if name not in _PER_LAYER:
            raise SpaceError(f"space.{name}: is no per-layer knob; these are: {', '.join(_PER_LAYER)}")
        if not blocks[name]:
            raise SpaceError(f"space.{name}: the model has no layer that it could act on")
        return per_layer(blocks[name], _values(value["per_layer"]))
    return _range(name, value)


_RANGES: dict[frozenset[str], Callable[..., Any]] = {
    frozenset({"from", "to", "steps"}): lambda v: grid(v["from"], v["to"], v["steps"]),
    frozenset({"low", "high"}): lambda v: uniform(v["low"], v["high"]),
    frozenset({"low", "high", "log"}): lambda v: (log_uniform if v["log"] else uniform)(v["low"], v["high"]),
}


def _range(name: str, value: Mapping[str, Any]) -> Knob | tuple[float, ...]:
    make = _RANGES.get(frozenset(value))
    if make is None:
        raise SpaceError(
            f"space.{name}: has the keys {', '.join(value) or '(none)'}; write a list, {{ from, to, steps }}, "
            "{ low, high, log } or { per_layer = [...] }"
        )
    ends = [value[key] for key in value if key not in ("steps", "log")]
    if not all(_is_number(end) for end in ends):
        raise SpaceError(f"space.{name}: its ends are finite numbers, not {ends[0]!r} and {ends[1]!r}")
    if not isinstance(value.get("log", False), bool):
        raise SpaceError(f"space.{name}.log: found {value['log']!r}; give true or false")
    if whole_number(value.get("steps", 1), f"space.{name}.steps") > MOST_POINTS:
        raise SpaceError(f"space.{name}.steps: {value['steps']:,} values are too many; give at most {MOST_POINTS:,}")
    found: Knob | tuple[float, ...] = make(value)
    return found


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _device_name(name: Any, folder: Path) -> str:
    """Check a device, so that an unknown one is refused before anything runs."""
    from dse.cli.inputs import device

    if not isinstance(name, str):
        raise SpaceError(f"space.device: found {name!r}; give names or TOML files")
    beside = folder / name
    text = str(beside) if name.endswith(".toml") and beside.is_file() else name
    try:
        device(text)
    except DseError as error:
        raise SpaceError(f"space.device: {error}") from None
    return text


def _bound(name: str, value: Any, columns: Mapping[str, str]) -> tuple[float | None, float | None]:
    """Read one constraint: { max = "1 ms" }, { min = 1e6, max = 2e6 }."""
    if name not in columns:
        raise SpaceError(f"constraints.{name}: there is no such column; {nearest(name, columns)}")
    if not isinstance(value, Mapping) or not value or not set(value) <= {"min", "max"}:
        raise SpaceError(f"constraints.{name}: found {value!r}; write {{ max = ... }}, {{ min = ... }}, or both")
    low, high = (_quantity(f"constraints.{name}.{end}", value.get(end), columns[name]) for end in ("min", "max"))
    if low is not None and high is not None and low > high:
        raise SpaceError(f"constraints.{name}: min {low:g} is above max {high:g}; nothing meets both")
    return low, high


def _quantity(where: str, value: Any, unit: str) -> float | None:
    """Read a number in the column's unit, or text with a unit."""
    from hwmodels import parse_quantity

    if value is None or (isinstance(value, int | float) and not isinstance(value, bool)):
        return None if value is None else float(value)
    try:
        return parse_quantity(str(value), unit)
    except DseError as error:
        raise SpaceError(f"{where}: {error}") from None


def _budget(search: Mapping[str, Any], method: str, space: Space) -> int:
    size = space.size()
    if "budget" in search:
        budget = whole_number(search["budget"], "search.budget")
    else:
        budget = MOST_POINTS if method == "exhaustive" else 20_000
    if method == "exhaustive" and size > budget:
        points = f"{size:,} points" if size != float("inf") else "a continuous knob"
        raise SpaceError(
            f'search: exhaustive, but the space has {points} (budget: {budget:,}); use method = "nsga2" or "random", '
            "or fewer values"
        )
    return budget
