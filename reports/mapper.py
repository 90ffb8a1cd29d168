"""Writes `reports/mapper.md`: what the mapper finds, how long it takes, and what others found.

    python -m reports.mapper

Optima are held against `best_found.csv` of the reference set (its README says how each peer counts and how its times
were taken); times are CPU seconds of one thread on the machine that ran this, best of three.
"""

from __future__ import annotations

import csv
import itertools
import resource
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from dse.files import atomic_write
from hwmodels.mapping import REFERENCE, SILICON, Accelerator, MeshAxis, Result, check_certificate, search
from hwmodels.mapping.case_tables import case_tables
from hwmodels.mapping.cases import conv_operator, gemm_operator, read_architectures, read_cases
from hwmodels.mapping.certificate import certificate
from hwmodels.mapping.network import map_network
from workloads import zoo
from workloads.operator import Operator

HERE = Path(__file__).resolve().parent
GOLDEN = HERE.parent / "tests" / "golden" / "reference" / "mapping"

GEMMS = {
    "bert_qkvo": (512, 768, 768),
    "bert_ffn1": (512, 3072, 768),
    "bert_ffn2": (512, 768, 3072),
    "bert_qk": (512, 512, 64),
    "bert_av": (512, 64, 512),
}
CONVS = {
    "rn50_conv1": ((7, 7, 112, 112, 3, 64, 1), 2),
    "rn50_c2_3x3": ((3, 3, 56, 56, 64, 64, 1), 1),
    "rn50_c2_1x1_256_64": ((1, 1, 56, 56, 256, 64, 1), 1),
    "rn50_c3_3x3": ((3, 3, 28, 28, 128, 128, 1), 1),
    "rn50_c4_3x3": ((3, 3, 14, 14, 256, 256, 1), 1),
    "rn50_c5_3x3": ((3, 3, 7, 7, 512, 512, 1), 1),
    "rn50_c5_1x1_512_2048": ((1, 1, 7, 7, 512, 2048, 1), 1),
}
MESH = {
    "X": MeshAxis(name="X", size=16, distinct=("W", "O"), shared=("I",)),
    "Y": MeshAxis(name="Y", size=16, distinct=("W", "I"), shared=("O",)),
}
"""What gemmini_ws can wire, as the README of the reference set says."""

EDGES = [(197, 768, 768), (197, 64, 197), (511, 768, 768), (49, 768, 768), (49, 49, 64)]

HEAD = """# The mapper

Written by `python -m reports.mapper`. Energies and traffic follow the reference set's conventions unless a line says
otherwise. Times are CPU seconds of one thread, the best of three, on a shared two-core machine on which a loop of a
million `s += i * i` took {loop:.0f} ms; the whole report took {rss:.0f} MB at most.
"""


def layer(name: str) -> Operator:
    """Give a layer of the reference set."""
    if name in GEMMS:
        return gemm_operator(name, dict(zip("MNK", GEMMS[name], strict=True)))
    bounds, stride = CONVS[name]
    return conv_operator(name, dict(zip("RSPQCKN", bounds, strict=True)), stride)


def devices() -> dict[str, Accelerator]:
    """Give the architectures of the reference set, gemmini_ws with the mesh that can be built."""
    known = read_architectures(GOLDEN / "architectures.yaml")
    return known | {"gemmini_ws": known["gemmini_ws"].wired(MESH)}


def fixed(device: Accelerator) -> Accelerator:
    """Give a device on which every tensor stays at every level that keeps it."""
    return replace(device, levels=tuple(replace(level, bypass=()) for level in device.levels))


def timed(run: Callable[[], Any], rounds: int = 3) -> tuple[Any, float]:
    """Give a result and the least CPU time of some rounds [s]."""
    best = float("inf")
    for _ in range(rounds):
        start = time.process_time()
        result = run()
        best = min(best, time.process_time() - start)
    return result, best


def loop_ms() -> float:
    """Time a loop of a million steps: a yardstick for the machine [ms]."""

    def loop() -> int:
        total = 0
        for i in range(1_000_000):
            total += i * i
        return total

    return timed(loop)[1] * 1e3


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Write a table: the first column to the left, numbers to the right."""
    rule = ["---", *["---:"] * (len(header) - 1)]
    return "\n".join("| " + " | ".join(row) + " |" for row in (header, rule, *rows))


def read(name: str) -> list[dict[str, str]]:
    """Read a table of the reference set."""
    with (GOLDEN / name).open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def golden_section() -> str:
    """Count the reference's numbers that come out, by column."""
    cases = read_cases(GOLDEN / "cases.yaml", read_architectures(GOLDEN / "architectures.yaml"))
    counts, summary = case_tables(cases)
    rows = []
    for name, ours, keys, columns in (
        ("counts.csv", counts, ("case", "level", "tensor"), COUNT_COLUMNS),
        ("summary.csv", summary, ("case",), ("cycles", "energy_pJ")),
    ):
        theirs = {tuple(row[key] for key in keys): row for row in read(name)}
        for column in columns:
            right = sum(
                _agrees(column, row[column], theirs[tuple(str(row[key]) for key in keys)][column]) for row in ours
            )
            rows.append([f"{name}, {column}", f"{right:,}", f"{len(theirs):,}"])
    note = (
        f"{len(cases)} cases: integers exact, cycles within 1, energy to 1e-6. `dse map --cases DIR --out OUT` does it "
        "for any folder."
    )
    return f"## Reference cases\n\n{note}\n\n{table(['column', 'right', 'of'], rows)}\n"


COUNT_COLUMNS = ("instances_used", "tile_words_per_instance", "partition_words_per_instance", "reads_total",
                 "fills_total", "updates_total", "energy_pJ")  # fmt: skip


def _agrees(column: str, ours: Any, theirs: str) -> bool:
    mine, other = float(ours), float(theirs)
    if column == "energy_pJ":
        return abs(mine - other) <= 1e-6 * abs(other)
    return abs(mine - other) <= (1.0 if column == "cycles" else 0.0)


def optima_section(known: dict[str, Accelerator]) -> str:
    """Hold every optimum against what peers found for the layer."""
    rows = []
    for name, (layer_name, operator) in itertools.product(known, ((key, layer(key)) for key in (*GEMMS, *CONVS))):
        peers = [row for row in read("best_found.csv") if (row["architecture"], row["layer"]) == (name, layer_name)]
        peers = [row for row in peers if row["edp_pJ_cycles"]]
        if name != "gemmini_ws" and not peers:
            continue
        slow = name == "eyeriss168" and layer_name in CONVS
        found, seconds = timed(lambda: search(operator, known[name]), 1 if slow else 3)  # noqa: B023
        rows.append(_optimum_row(name, layer_name, found, seconds, peers))
        print(rows[-1], flush=True)
    header = ["accelerator, layer", "cycles", "energy [uJ]", "CPU s", "priced", "bounded", "vectors opened", "gap",
              "best of each peer: its EDP / ours (its s)"]  # fmt: skip
    note = (
        "EDP optima over all perfect factors, orders, bypass patterns and spatial vectors that the mesh can wire. "
        "*priced*: mappings whose cost was computed; *bounded*: classes of mappings with one bound; *vectors opened*: "
        "of all spatial vectors times bypass patterns. Peers do not share one model (the reference's README): a ratio "
        "below 1 would be worse than a peer, within 3 % is a tie. Their times are wall seconds on two cores."
    )
    return f"## Optima\n\n{note}\n\n{table(header, rows)}\n"


def _optimum_row(
    name: str, layer_name: str, found: Result, seconds: float, peers: Sequence[dict[str, str]]
) -> list[str]:
    cost = found.cost
    edp = float(cost.energy_j[0] * cost.cycles[0]) * 1e12
    best: dict[str, dict[str, str]] = {}
    for row in peers:
        held = best.setdefault(row["peer"].split(" (")[0], row)
        if float(row["edp_pJ_cycles"]) < float(held["edp_pJ_cycles"]):
            best[row["peer"].split(" (")[0]] = row
    beside = [f"{peer} {float(row['edp_pJ_cycles']) / edp:.3f} ({row['wall_s'] or row['cpu_s'] + ' CPU'})"
              for peer, row in sorted(best.items())]  # fmt: skip
    vectors = found.space.spatial_vectors * found.space.bypass
    return [f"{name}, {layer_name}", f"{int(cost.cycles[0]):,}", f"{cost.energy_j[0] * 1e6:,.2f}", f"{seconds:.3f}",
            f"{found.candidates:,}", f"{found.bounded:,}", f"{found.opened} of {vectors:,}", f"{found.gap:.0%}",
            "; ".join(beside)]  # fmt: skip


def network_section(known: dict[str, Accelerator]) -> str:
    """Map whole networks, unique operators once."""
    import hwmodels

    rows = []
    plans = [
        ("resnet-50", zoo.architecture("resnet-50"), replace(known["gemmini_ws"], operand_bits=8)),
        ("resnet-50", zoo.architecture("resnet-50"), hwmodels.load("gemmini")),
        ("bert-base, 128 tokens", zoo.architecture("bert-base", seq=128), hwmodels.load("gemmini")),
    ]
    for name, work, device in plans:
        assert isinstance(device, Accelerator)
        found, seconds = timed(lambda: map_network(work, device, lambda op: search(op, device)), 1)  # noqa: B023
        cycles = sum(item.executions * float(item.cost.cycles[0]) for item in found.operators)
        macs = sum(item.executions * item.cost.macs for item in found.operators)
        gap = max(float(item.finding.gap) for item in found.operators)
        rows.append([f"{name} on {device.name}, {device.conventions.name}", str(len(found.operators)), f"{seconds:.2f}",
                     f"{cycles:,.0f}", f"{macs / cycles / device.mac_instances:.1%}", f"{gap:.1%}"])  # fmt: skip
        print(rows[-1], flush=True)
    header = ["network", "unique operators", "CPU s", "cycles", "utilization", "largest gap"]
    return f"## Networks\n\n{table(header, rows)}\n"


def physics_section(known: dict[str, Accelerator]) -> str:
    """Say what the reference's simplifications hide, one at a time."""
    device = fixed(known["gemmini_ws"])
    levels = tuple(replace(level, buffering="shadow") if level.name == "WReg" else level for level in device.levels)
    device = replace(device, levels=levels)
    options = {
        "half the capacity": replace(REFERENCE, name="half", device_buffering=True),
        "4-byte partial sums": replace(REFERENCE, name="bits", bit_true=True),
        "both": replace(REFERENCE, name="both", bit_true=True, device_buffering=True),
        "silicon": SILICON,
    }
    rows = []
    for name in GEMMS:
        base = search(layer(name), device)
        cells = []
        for rules in options.values():
            cost = search(layer(name), device, conventions=rules).cost
            energy, cycles = cost.energy_j[0] / base.cost.energy_j[0] - 1, cost.cycles[0] / base.cost.cycles[0] - 1
            cells.append(f"{energy:+.1%}, {cycles:+.1%}")
        rows.append([name, *cells])
    note = (
        "The EDP optimum of each GEMM on gemmini_ws with one simplification of the reference taken back: energy and "
        "cycles against the reference's optimum (every tensor at every level; the weight register has its shadow)."
    )
    return f"## What simplifications hide\n\n{note}\n\n{table(['GEMM', *options], rows)}\n"


def certificates_section(known: dict[str, Accelerator]) -> str:
    """Have the checker, which knows nothing of the mapper, go through the spaces again."""
    parts = []
    for name in (*GEMMS, "rn50_conv1", "rn50_c2_3x3", "rn50_c2_1x1_256_64"):
        claim = certificate(search(layer(name), known["gemmini_ws"]))
        report, seconds = timed(lambda: check_certificate(claim), 1)  # noqa: B023
        parts.append(f"{name}, {seconds:.2f} CPU s:\n\n```\n{report}\n```\n")
        print(parts[-1], flush=True)
    head = "`hwmodels.mapping.check_certificate` on the EDP optima of gemmini_ws; it shares no code with the mapper."
    return "\n".join(["## Certificates", "", head, "", *parts])


def edges_section(known: dict[str, Accelerator]) -> str:
    """Compare perfect factors with edge tiles."""
    device = known["gemmini_ws"]
    rows = []
    for sizes in EDGES:
        operator = gemm_operator("edge", dict(zip("MNK", sizes, strict=True)))
        perfect = search(operator, device)
        found, seconds = timed(lambda: search(operator, device, factors="imperfect"), 1)  # noqa: B023
        rows.append([" x ".join(map(str, sizes)), f"{perfect.cost.utilization[0]:.1%}",
                     f"{found.cost.utilization[0]:.1%}", f"{perfect.value / found.value:.2f}", f"{found.gap:.1%}",
                     f"{seconds:.2f}"])  # fmt: skip
    header = ["M x N x K", "utilization, perfect", "with edge tiles", "EDP, perfect / edge", "gap stated", "CPU s"]
    return f"## Dims that do not divide\n\ngemmini_ws, EDP.\n\n{table(header, rows)}\n"


def main() -> None:
    """Write the report."""
    known = devices()
    loop = loop_ms()
    sections = [golden_section(), optima_section(known), network_section(known), physics_section(known),
                edges_section(known), certificates_section(known)]  # fmt: skip
    head = HEAD.format(loop=loop, rss=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
    path = HERE / "mapper.md"
    with atomic_write(path) as part:
        part.write_text("\n".join([head, *sections]), encoding="utf-8")
    print(f"written to {path}")


if __name__ == "__main__":
    main()
