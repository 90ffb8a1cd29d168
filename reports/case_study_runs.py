"""What `reports/case_study.py` runs: machines, networks and mappings of the survey's studies, and their figures."""

from __future__ import annotations

import csv
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

import hwmodels
from hwmodels import resized
from hwmodels.engines import Engine
from hwmodels.machines import MachineRun, run
from hwmodels.machines.costing import Coster
from hwmodels.machines.lowering import lower
from hwmodels.machines.running import finder
from hwmodels.machines.scheduling import schedule
from hwmodels.machines.tasks import Task, Use
from hwmodels.mapping import Accelerator, evaluate, problem_on
from hwmodels.mapping.mapper.goals import Objective
from hwmodels.mapping.mapper.memo import Memo, mapping_cache
from hwmodels.mapping.runtime_tiles import runtime_mapping
from hwmodels.mapping.traffic import Traffic
from reports.survey import config_of
from workloads import Workload, survey, zoo
from workloads.operator import Operator

REFERENCE = Path(__file__).resolve().parent.parent / "tests" / "golden" / "reference" / "survey"
LENGTHS = (128, 256, 512, 1024, 2048, 4096)
BUFFERS_KB = (64, 128, 256)
BANDWIDTHS_GB = (2, 4, 6, 8, 16)

MOVER = Engine(
    name="Mover", kind="vector", level="Accumulator", lanes=16, clock_hz=1e9, cycles={"add": 1, "max": 1, "relu": 1},
    cycle_j=0.1e-12,
)  # fmt: skip
"""What Gemmini does beside its array and its file leaves out, as residuals of the BERT baseline are floats on its host:
it adds matrices in the accumulator, pools and clamps on the way out (ucb-bar/gemmini: tiled_resadd, pooling of mvout);
an int32 addition takes 0.1 pJ (Horowitz, ISSCC 2014)."""


@dataclass(frozen=True, slots=True)
class Study:
    """Searches that are shared by all sections.

    Attributes:
        memo: What was searched before.
        done: Runs by network, machine and objective.
    """

    memo: Memo = field(default_factory=lambda: Memo(mapping_cache()))
    done: dict[tuple[str, str, str], MachineRun] = field(default_factory=dict)

    def run(self, name: str, work: Workload, device: Accelerator, objective: Objective = "edp") -> MachineRun:
        """Run a network; every tensor goes through the outermost memory, as in the survey."""
        key = (name, device.name, objective)
        if key not in self.done:
            self.done[key] = run(work, device, objective, find=finder(objective, self.memo), keep=False)
        return self.done[key]


def gemmini(name: str = "gemmini") -> Accelerator:
    """Load an accelerator."""
    device = hwmodels.load(name)
    assert isinstance(device, Accelerator)
    return device


def variants() -> dict[str, Accelerator]:
    """Give the case study's four machines: the baseline, each change alone, both."""
    base, both = gemmini(), gemmini("gemmini-ibert")
    return {
        "baseline": base,
        "integer units alone": replace(base, name="gemmini + units", engines=both.engines),
        "buffers alone": replace(both, name="gemmini, resized", engines=base.engines),
        "both": both,
    }


def printed(name: str) -> list[dict[str, str]]:
    """Read a table of the survey."""
    with (REFERENCE / f"{name}.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def case_study() -> dict[str, str]:
    """Read `gemmini_case_study.csv`: quantity to printed value."""
    return {row["quantity"]: row["value"] for row in printed("gemmini_case_study")}


def bert(tokens: int, name: str = "BERT-Base") -> Workload:
    """Give an encoder of the survey."""
    return zoo.architecture(config_of(survey.architecture(name)), seq=tokens)


def products(work: Workload, device: Accelerator) -> list[tuple[Operator, float]]:
    """Give the different products of a network, and how often each runs."""
    found: dict[object, tuple[Operator, float]] = {}
    for task in lower(work, device):
        if task.product is not None:
            product, times = found.get(task.product.signature(), (task.product, 0.0))
            found[task.product.signature()] = (product, times + task.executions)
    return list(found.values())


Find = Callable[[Operator, Accelerator], Traffic]


def utilization(items: Sequence[tuple[Operator, float]], device: Accelerator, find: Find) -> float:
    """Give the MACs of products over those that the array could do while they run."""
    costs = [(times, find(product, device)) for product, times in items]
    cycles = sum(times * float(cost.cycles[0]) for times, cost in costs)
    return sum(times * cost.macs for times, cost in costs) / cycles / device.mac_instances


def runtime(product: Operator, device: Accelerator) -> Traffic:
    """Cost a product as Gemmini's runtime maps it."""
    problem = problem_on(product, device, device.conventions)
    cost = evaluate(problem, device, runtime_mapping(product, device), device.conventions)
    cost.require_fit()
    return cost


def best(memo: Memo) -> Find:
    """Give a mapper: the mapping with the least latency."""
    return lambda product, device: memo.search(product, device, "latency").cost


Grid = dict[tuple[int, int], float]
"""Accumulator and scratchpad [kB] to utilization."""


def grid(items: Sequence[tuple[Operator, float]], bandwidth_gb: float, find: Find) -> Grid:
    """Turn both buffers of Gemmini, at a bandwidth of its memory."""
    base = gemmini()
    return {
        (accumulator, scratchpad): utilization(
            items,
            resized(
                base,
                capacity={"Scratchpad": f"{scratchpad} KiB", "Accumulator": f"{accumulator} KiB"},
                bandwidth={"DRAM": bandwidth_gb * 1e9},
            ),
            find,
        )
        for accumulator in BUFFERS_KB
        for scratchpad in BUFFERS_KB
    }


def generation_s(step_s: Mapping[int, float], tokens: int) -> float:
    """Add up the steps of a generation: the n-th reads n keys; between the lengths that are known, on a line.

    Args:
        step_s: Keys to latency of a step [s].
        tokens: How many.
    """
    known = sorted(step_s)
    return float(np.interp(np.arange(1, tokens + 1), known, [step_s[keys] for keys in known]).sum())


def decode_step(keys: int) -> Workload:
    """Give a step of GPT-2 that reads so many keys, its own among them, without the head: the survey counts none."""
    work = zoo.architecture(config_of(survey.architecture("GPT-2")), phase="decode", context=keys - 1)
    body = work.operators[:-1]
    return replace(work, operators=body, outputs=tuple(tensor.name for tensor in body[-1].outputs))


def scaling(study: Study) -> dict[str, dict[int, float]]:
    """Give the latency of the survey's models on its machine over the length [s]."""
    machine = gemmini("survey-machine")
    found: dict[str, dict[int, float]] = {}
    for name in ("BERT-Base", "BERT-Large"):
        found[name] = {tokens: study.run(f"{name} {tokens}", bert(tokens, name), machine, "latency").latency_s
                       for tokens in LENGTHS}  # fmt: skip
    steps = {keys: study.run(f"GPT-2 {keys}", decode_step(keys), machine, "latency").latency_s
             for keys in (16, 32, 64, *LENGTHS)}  # fmt: skip
    found["GPT-2"] = {tokens: generation_s(steps, tokens) for tokens in LENGTHS}
    return found


def wide_s(work: Workload, device: Accelerator, memo: Memo) -> float:
    """Give a network's latency when what is no product reads a product's sums, wide as the accumulator makes them.

    Args:
        work: The network.
        device: Where it runs; nothing stays on chip.
        memo: Searches.
    """
    coster = Coster(device, finder("latency", memo))
    return schedule([coster.cost(task, {}, {}) for task in with_wide_sums(lower(work, device), device)])[1]


def with_wide_sums(tasks: Sequence[Task], device: Accelerator) -> list[Task]:
    """Widen the results of products that functions read."""
    made = {use.name for task in tasks if task.kind == "product" for use in task.writes}
    asked = {use.name for task in tasks if task.kind == "function" for use in task.reads}
    bits = float(device.acc_bits or 32)

    def widened(use: Use) -> Use:
        return replace(use, bytes=use.bytes * bits / use.bits, bits=bits) if use.name in made & asked else use

    def one(task: Task) -> Task:
        product = task.product
        if product is not None and task.writes[0].name in asked:
            product = replace(product, outputs=(replace(product.outputs[0], bits=bits),))
        return replace(task, product=product, reads=tuple(map(widened, task.reads)),
                       writes=tuple(map(widened, task.writes)))  # fmt: skip

    return [one(task) for task in tasks]
