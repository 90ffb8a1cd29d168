"""`optimize`: from an ONNX file, a task and devices to a measured Pareto front, chosen models and a report."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

import hwmodels
from dse import search
from dse.accuracy import AccuracyCurve, Change, Measured, Scorer, Sensitivities, fit_curve, measure_sensitivities
from dse.batches import evaluate_points
from dse.choosing import in_order
from dse.constraints import check_feasible
from dse.model import StandardModel, device_of
from dse.pareto import non_dominated
from dse.proposals import key_of, loss_limits, loss_of, predicted_loss, techniques_of
from dse.reachable import UnmetError, check_reachable
from dse.results import Result
from dse.running import run
from dse.space import Space, per_layer
from workloads import compress, tasks
from workloads.compress import KEEP_BITS
from workloads.errors import SpaceError, TaskError, TechniqueError
from workloads.knobs import PerLayer
from workloads.onnx import load_onnx
from workloads.tasks import Score, Task
from workloads.workload import Workload

if TYPE_CHECKING:
    import onnx

__all__ = ["Design", "Optimized", "allowed_drop", "optimize"]

Progress = Callable[[str, int, int], None]

WEIGHT_BITS = (2, 3, 4, 5, 6, 8, 2 * KEEP_BITS)
ACTIVATION_BITS = (32, 8)
DENSITIES = (0.25, 0.5, 0.75, 1.0)
OBJECTIVES = ("latency_s", "energy_j", "size_bytes")
CALIBRATION_EXAMPLES = 192


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Design:
    """One compressed model: what was done, what was measured, what each device is predicted to make of it.

    Attributes:
        name: "fp32", "d01", ...
        techniques: Fitted, in order of application.
        measured: Its score on the whole test split.
        sizes: Packed bits, containers and file of the model as it was written.
        predicted_drop: Drop of the metric that the sensitivities predicted, before it was measured.
        columns: Device name to predicted latency_s, energy_j, peak_bytes, size_bytes.
    """

    name: str
    techniques: tuple[compress.Fitted, ...]
    measured: Measured
    sizes: compress.Sizes
    predicted_drop: float
    columns: Mapping[str, Mapping[str, float]]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Optimized:
    """What `optimize` found.

    Attributes:
        workload: The uncompressed model.
        model: Its ONNX form.
        task: What accuracy is measured on.
        reference: Its score.
        allowed: Largest drop that is allowed, in the metric's unit.
        designs: Every measured design, the uncompressed one first.
        fronts: Device name to names of the designs on its front: measured drop against predicted latency, energy, size.
        eligible: Device name to names of the designs that meet the limits, best first.
        chosen: Device name to the name of the design chosen for it.
        objective: What a chosen design has least of.
        curve: From predicted loss to predicted drop.
        sensitivities: What they were predicted from.
        units: Technique name to the number of heads or neurons of the uncompressed model.
        points: Design points that the search costed.
        seconds: Phase to wall time [s].
    """

    workload: Workload
    model: onnx.ModelProto
    task: Task
    reference: Score
    allowed: float
    designs: tuple[Design, ...]
    fronts: Mapping[str, tuple[str, ...]]
    eligible: Mapping[str, tuple[str, ...]]
    chosen: Mapping[str, str]
    objective: str
    curve: AccuracyCurve
    sensitivities: Sensitivities
    units: Mapping[str, int]
    points: int
    seconds: Mapping[str, float]

    def design(self, name: str) -> Design:
        """Give a design by name."""
        return next(design for design in self.designs if design.name == name)


def allowed_drop(text: str | float, reference: float) -> float:
    """Read a limit on the drop: absolute in the metric's worse direction, or "1%" relative to the reference.

    Example:
        >>> allowed_drop("0.01", 0.98), round(allowed_drop("1%", 0.98), 4)
        (0.01, 0.0098)

    Raises:
        TaskError: Not a number of at least zero.
    """
    written = str(text).strip()
    try:
        value = float(written.removesuffix("%"))
    except ValueError:
        value = -1.0
    if not 0 <= value < float("inf"):
        raise TaskError(f"max-drop {text!r} is not a limit; write 0.01 (absolute) or 1% (relative)")
    allowed = value / 100 * abs(reference) if written.endswith("%") else value
    if allowed > abs(reference) > 0:
        raise TaskError(
            f"max-drop {text!r} allows more than the whole metric, which is {reference:.4g}; an absolute limit is in "
            f"the metric's unit: write {text}% for a relative one"
        )
    return allowed


def optimize(
    model: str | Path,
    task: str | Task,
    devices: Sequence[str],
    *,
    max_drop: str | float = 0.01,
    bind: Mapping[str, int] | None = None,
    objective: str = "latency_s",
    constraints: Mapping[str, tuple[float | None, float | None]] | None = None,
    budget: int = 60_000,
    measured: int = 32,
    seed: int = 0,
    cache: Path | None = None,
    workers: int = 2,
    progress: Progress | None = None,
) -> Optimized:
    """Search per-layer bit widths and pruning for several devices; measure what the search proposes.

    Args:
        model: Path of an ONNX model with its weights.
        task: A task, or its name.
        devices: Names or TOML paths; the first is the one that `objective` is minimised on first.
        max_drop: Largest allowed drop of the metric, absolute or "1%".
        bind: Sizes of symbolic dims, such as batch.
        objective: latency_s, energy_j or size_bytes: what the chosen model has least of.
        constraints: Column to (lower, upper) bounds, on every device.
        budget: Design points to cost, over all devices.
        measured: Designs whose accuracy is measured on the whole test split.
        seed: Of the search.
        cache: Folder for sensitivities; None keeps none.
        workers: Threads that measure accuracy.
        progress: Called as progress(what, done, total).

    Raises:
        UnmetError: No measured design meets the limits on some device; its `found` holds all that was measured.
        DseError: Naming the file, device, task or constraint that cannot be used.
    """
    job = _Job(model, task, devices, bind or {}, objective, constraints or {}, seed, workers, progress)
    job.prepare(max_drop)
    sensitivities = job.measure_changes(cache)
    first, points = job.search(sensitivities, None, budget // 2, measured // 2)
    job.measure(first, sensitivities, None)
    curve = job.fit(sensitivities)
    second, more = job.search(sensitivities, curve, budget - budget // 2, measured - len(first))
    job.measure(second, sensitivities, curve)
    return job.finish(sensitivities, job.fit(sensitivities), points + more)


class _Job:
    """One optimisation; it gathers designs as they are measured."""

    def __init__(
        self,
        model: str | Path,
        task: str | Task,
        devices: Sequence[str],
        bind: Mapping[str, int],
        objective: str,
        constraints: Mapping[str, tuple[float | None, float | None]],
        seed: int,
        workers: int,
        progress: Progress | None,
    ) -> None:
        if objective not in OBJECTIVES:
            raise SpaceError(f"objective {objective!r} is not one of {', '.join(OBJECTIVES)}")
        self.path = Path(model)
        self.task_name = task
        self.devices = {name: device_of(name) for name in devices}
        self.bind: dict[str, Any] = dict(bind)
        self.objective = objective
        self.constraints = constraints
        self.rng = np.random.default_rng(seed)
        self.workers = workers
        self.progress = progress or (lambda what, done, total: None)
        self.designs: list[Design] = []
        self.knobs: list[dict[str, Any]] = []
        self.seconds: dict[str, float] = {}

    def prepare(self, max_drop: str | float) -> None:
        """Load the model and the task, score the uncompressed model, and check that it fits somewhere."""
        start = time.perf_counter()
        import onnx

        self.workload = load_onnx(self.path, **self.bind)
        self.model = onnx.load(str(self.path))
        task = self.task_name
        self.task = tasks.load(task, reference=self.model) if isinstance(task, str) else task
        self.blocks = tuple(dict.fromkeys(op.block for op in compress.quantizable(self.workload)))
        if not self.blocks:
            raise TechniqueError(f"{self.path}: found no layer with stored weights to quantize (attention, FFN)")
        self.heads = _prunable(compress.PruneHeads(), self.model)
        self.neurons = _prunable(compress.PruneNeurons(), self.model)
        self.base = StandardModel({0: self.workload})
        self._refuse_unreachable()
        self.scorer = Scorer(self.model, self.task)
        self.allowed = allowed_drop(max_drop, self.scorer.reference.value)
        self._refuse_too_large()
        self._add([], None, 0.0)
        self.seconds["load and score the uncompressed model"] = time.perf_counter() - start

    def _refuse_unreachable(self) -> None:
        """Refuse constraints that no design meets on some device, before anything is measured."""
        for name, device in self.devices.items():
            spaces = [self._space(name, activation) for activation in ACTIVATION_BITS]
            check_reachable(self.base, spaces, self.constraints, what=f"on {device.name}")

    def _refuse_too_large(self) -> None:
        """Refuse a device that not even the strongest compression fits; what is only too large as it is may shrink."""
        knobs = {"weight_bits": dict.fromkeys(self.blocks, float(min(WEIGHT_BITS))), "activation_bits": 32}
        knobs["head_density"] = dict.fromkeys(self.heads, min(DENSITIES))
        knobs["neuron_density"] = dict.fromkeys(self.neurons, min(DENSITIES))
        smallest = compress.cost(self.workload, *techniques_of(knobs))
        for name, device in self.devices.items():
            cost = hwmodels.evaluate(self.workload, device)
            if hwmodels.fits(cost, device) or hwmodels.fits(hwmodels.evaluate(smallest, device), device):
                continue
            largest = hwmodels.largest_batch(partial(_load_batch, self.path, self.bind), device)
            raise SpaceError(
                f"{self.path} does not fit {name}: it needs {cost.peak_bytes / 1e9:.4g} GB, the device has "
                f"{device.dram.capacity_bytes / 1e9:.4g} GB, and no compression makes it fit; the largest batch "
                f"that fits is {largest}"
            )

    def measure_changes(self, cache: Path | None) -> Sensitivities:
        """Measure what every single change costs, on the calibration split."""
        start = time.perf_counter()
        changes = [Change("weight_bits", block, bits) for block in self.blocks for bits in WEIGHT_BITS[:-1]]
        changes += [Change("activation_bits", block, 8) for block in self.blocks]
        changes += [Change("head_density", block, density) for block in self.heads for density in DENSITIES[:-1]]
        changes += [Change("neuron_density", block, density) for block in self.neurons for density in DENSITIES[:-1]]
        scorer = Scorer(self.model, self.task, "calibration", CALIBRATION_EXAMPLES)
        found = measure_sensitivities(scorer, changes, cache=cache, workers=self.workers, progress=self.progress)
        self.seconds["sensitivities"] = time.perf_counter() - start
        return found

    def search(
        self, sensitivities: Sensitivities, curve: AccuracyCurve | None, budget: int, number: int
    ) -> tuple[list[dict[str, Any]], int]:
        """Search every device and activation width; propose designs worth measuring, best first."""
        start = time.perf_counter()
        cases = [(device, activation) for device in self.devices for activation in ACTIVATION_BITS]
        proposals: list[tuple[float, dict[str, Any]]] = []
        points = 0
        for done, (device, activation) in enumerate(cases, start=1):
            space = self._space(device, activation)
            loss = partial(predicted_loss, sensitivities, activation)
            model = replace(self.base, estimates={"loss_rise": loss})
            minimize = (*OBJECTIVES, "loss_rise")
            starts = search.additive_starts(space, partial(evaluate_points, space, model), minimize, rng=self.rng)
            result = run(
                search.nsga2(space, rng=self.rng, starts=starts), model, budget=budget // len(cases), minimize=minimize
            )
            points += len(result)
            proposals += self._propose(result, activation, curve, device)
            self.progress("searching", done, len(cases))
        known = {key_of(knobs) for knobs in self.knobs}
        chosen: dict[str, dict[str, Any]] = {}
        if curve is None:  # nothing measured yet: any order, to cover the whole range
            proposals = [proposals[index] for index in self.rng.permutation(len(proposals))]
        else:
            proposals.sort(key=lambda item: item[0])
        for _, knobs in proposals:
            if techniques_of(knobs) and key_of(knobs) not in known and len(chosen) < number:
                chosen.setdefault(key_of(knobs), knobs)
        self.seconds["search"] = self.seconds.get("search", 0.0) + time.perf_counter() - start
        return list(chosen.values()), points

    def _space(self, device: str, activation: int) -> Space:
        knobs: dict[str, Any] = {"device": [device], "activation_bits": [activation]}
        knobs["weight_bits"] = per_layer(self.blocks, WEIGHT_BITS)
        if self.heads:
            knobs["head_density"] = per_layer(tuple(self.heads), DENSITIES)
        if self.neurons:
            knobs["neuron_density"] = per_layer(tuple(self.neurons), DENSITIES)
        return Space(**knobs)

    def _propose(
        self, result: Result, activation: int, curve: AccuracyCurve | None, device: str
    ) -> list[tuple[float, dict[str, Any]]]:
        """Pick, for several allowed drops, the point with the least of each objective (rank, knobs)."""
        columns = result.columns
        loss = np.asarray(columns["loss_rise"])
        limits = loss_limits(loss, curve, self.allowed)
        proposals = []
        for order, limit in enumerate(limits):
            inside = np.flatnonzero((loss <= limit) & np.isfinite(columns["latency_s"]))
            if not inside.size:
                continue
            for second, name in enumerate(self._objectives()):
                values = np.asarray(columns[name])[inside]
                ties = inside[values <= values.min() * 1.001]
                best = (
                    ties[np.argmin(loss[ties])] if curve is not None else ties[np.argmin(columns["size_bytes"][ties])]
                )
                rank = order + 0.1 * second + 0.01 * list(self.devices).index(device)
                proposals.append((rank, self._knobs_of(result, int(best), activation)))
        return proposals

    def _objectives(self) -> tuple[str, ...]:
        return (self.objective, *(name for name in OBJECTIVES if name != self.objective))

    def _knobs_of(self, result: Result, row: int, activation: int) -> dict[str, Any]:
        point = result.points.row(row)
        knobs: dict[str, Any] = {"activation_bits": activation}
        for name in ("weight_bits", "head_density", "neuron_density"):
            layers = getattr(point, name, None) if name in self._space("", 32).names else None
            if isinstance(layers, PerLayer):
                knobs[name] = dict(zip(layers.blocks, np.asarray(layers.values).tolist(), strict=True))
        return knobs

    def measure(
        self, proposals: Sequence[dict[str, Any]], sensitivities: Sensitivities, curve: AccuracyCurve | None
    ) -> None:
        """Apply designs to the real weights and run the task on the whole test split."""
        start = time.perf_counter()
        designs = [techniques_of(knobs) for knobs in proposals]
        self.scorer.measure_all(designs, workers=self.workers, progress=self.progress)
        for knobs, techniques in zip(proposals, designs, strict=True):
            loss = float(loss_of(knobs, sensitivities))
            self._add(techniques, knobs, float("nan") if curve is None else float(curve.predict(loss)))
        key = "accuracy on the test split"
        self.seconds[key] = self.seconds.get(key, 0.0) + time.perf_counter() - start

    def _add(self, techniques: Sequence[compress.Technique], knobs: dict[str, Any] | None, predicted: float) -> None:
        """Record a design with its predicted cost on every device."""
        measured = self.scorer.measure(techniques)
        fitted: list[compress.Fitted] = []
        model = self.model
        for technique in techniques:
            fitted.append(technique.fit(model))
            model = fitted[-1].apply(model)
        small = compress.cost(self.workload, *fitted)
        columns = {}
        for name, device in self.devices.items():
            cost = hwmodels.evaluate(small, device, enforce_capacity=True)
            columns[name] = {
                "latency_s": float(cost.latency_s),
                "energy_j": float(cost.energy_j),
                "peak_bytes": float(cost.peak_bytes),
                "size_bytes": float(small.weight_bytes()),
            }
        design = Design(
            name=f"d{len(self.designs):02d}" if techniques else "uncompressed",
            techniques=tuple(fitted),
            measured=measured,
            sizes=compress.sizes(model),
            predicted_drop=predicted,
            columns=columns,
        )
        self.designs.append(design)
        self.knobs.append(knobs or {})

    def fit(self, sensitivities: Sensitivities) -> AccuracyCurve:
        """Fit the curve from predicted loss to measured drop on every design measured so far."""
        pairs = [
            (float(loss_of(knobs, sensitivities)), design.measured.drop.value)
            for knobs, design in zip(self.knobs, self.designs, strict=True)
            if knobs
        ]
        return fit_curve([rise for rise, _ in pairs], [drop for _, drop in pairs])

    def finish(self, sensitivities: Sensitivities, curve: AccuracyCurve, points: int) -> Optimized:
        """Find the fronts, choose a design for every device, and hand everything over.

        Raises:
            UnmetError: No measured design meets the limits on some device; it holds what was found.
        """
        fronts: dict[str, tuple[str, ...]] = {}
        eligible: dict[str, tuple[str, ...]] = {}
        unmet: list[str] = []
        for device in self.devices:
            table = self._table(device)
            costs = np.stack([table[name] for name in ("drop", *OBJECTIVES)], axis=1)
            front = non_dominated(costs)
            fronts[device] = tuple(d.name for d, on in zip(self.designs, front, strict=True) if on)
            try:
                eligible[device] = self._eligible(device, table)
            except SpaceError as error:
                unmet.append(str(error))
        found = Optimized(
            workload=self.workload,
            model=self.model,
            task=self.task,
            reference=self.scorer.reference,
            allowed=self.allowed,
            designs=tuple(self.designs),
            fronts=fronts,
            eligible=eligible,
            chosen={device: names[0] for device, names in eligible.items()},
            objective=self.objective,
            curve=curve,
            sensitivities=sensitivities,
            units={"PruneHeads": sum(self.heads.values()), "PruneNeurons": sum(self.neurons.values())},
            points=points,
            seconds=self.seconds,
        )
        if unmet:
            raise UnmetError("; ".join(unmet), found)
        return found

    def _table(self, device: str) -> dict[str, Any]:
        table = {
            name: np.array([d.columns[device][name] for d in self.designs]) for name in (*OBJECTIVES, "peak_bytes")
        }
        return table | {"drop": np.array([d.measured.drop.value for d in self.designs])}

    def _eligible(self, device: str, table: Mapping[str, Any]) -> tuple[str, ...]:
        """Name the designs whose measured drop is allowed and that meet the constraints, least of the objective first.

        Raises:
            SpaceError: None does.
        """
        memory = {"peak_bytes": (None, self.devices[device].capacity_bytes)}
        limits = {"drop": (None, self.allowed), **memory, **self.constraints}
        allowed = check_feasible(table, limits, what=f"on {device}, of {len(self.designs)} measured designs")
        return tuple(self.designs[i].name for i in in_order(table[self.objective], table["size_bytes"], allowed))


def _load_batch(path: Path, bind: Mapping[str, Any], batch: int) -> Workload:
    return load_onnx(path, **{**bind, "batch": batch})


def _prunable(technique: compress.PruneHeads | compress.PruneNeurons, model: onnx.ModelProto) -> dict[str, int]:
    """Count the heads or neurons of every prunable block; none where the graph has none that can be cut."""
    try:
        return {block: len(units) for block, units in technique.fit(model).kept.items()}
    except TechniqueError:
        return {}
