"""Sections of `reports/case_study.py` about buffers, lengths and ResNet-50, and how a row is put beside the survey."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from hwmodels.machines import MachineRun
from hwmodels.machines.kinds import seconds_by_kind
from reports.case_study_runs import (
    BANDWIDTHS_GB,
    BUFFERS_KB,
    MOVER,
    Grid,
    Study,
    bert,
    best,
    gemmini,
    grid,
    printed,
    products,
    runtime,
)
from workloads import zoo
from workloads.survey import rounds_to


def table(header: Sequence[str], rows: Sequence[Sequence[str]], words: int = 1) -> str:
    """Write a table: numbers to the right, the first column and the last ones, of words, to the left."""
    rule = [":--", *["--:"] * (len(header) - 1 - words), *[":--"] * words]
    return "\n".join("| " + " | ".join(row) + " |" for row in (header, rule, *rows))


def verdict(stated: str, value: float) -> str:
    """Say how near a value is to a printed one.

    Args:
        stated: As printed.
        value: Ours, in the printed unit.
    """
    if rounds_to(value, stated) or abs(value / float(stated) - 1) <= 0.1:
        return "match"
    return "order" if 0.5 <= value / float(stated) <= 2 else "miss"


def beside(what: str, stated: str, value: float, why: str = "", unit: str = "") -> list[str]:
    """Give a row: what, printed, ours, verdict with its reason."""
    found = verdict(stated, value)
    return [what, f"{stated}{unit}", f"{value:.3g}{unit}", f"**{found}**{': ' if why else ''}{why}"]


def peak_macs(run: MachineRun, seconds: float) -> float:
    """Give the MACs that an array could do in a time."""
    return run.accelerator.mac_instances * run.accelerator.macs_per_cycle * run.accelerator.clock_hz * seconds


def stated_grid() -> Grid:
    """Read Fig. 13."""
    return {
        (int(row["accumulator_kb"]), int(row["scratchpad_kb"])): float(row["matmul_utilization_pct"]) / 100
        for row in printed("gemmini_buffer_utilization")
    }


def buffer_grids(study: Study) -> dict[str, dict[int, Grid]]:
    """Turn both buffers at each bandwidth, for mappings of the runtime and the best ones."""
    work = products(bert(512), gemmini())
    items = [(product, times) for product, times in work if product.points() > 1e6]  # the pooler's is one row
    return {
        how: {rate: grid(items, rate, find) for rate in BANDWIDTHS_GB}
        for how, find in {"runtime's tiles": runtime, "best mappings": best(study.memo)}.items()
    }


BUFFER_FACTS: dict[str, Callable[[Grid], float]] = {
    "accumulator 64 to 128 kB": lambda found: found[128, 64] - found[64, 64],
    "scratchpad 64 to 256 kB, accumulator of 64": lambda found: found[64, 256] - found[64, 64],
    "the same, of 256": lambda found: found[256, 256] - found[256, 64],
}
"""What a step brings [utilization]."""


def buffer_section(grids: Mapping[str, Mapping[int, Grid]]) -> str:
    """Put the utilization over both buffers beside Fig. 13, for a range of bandwidths."""
    stated = stated_grid()
    every = {"printed, Fig. 13": stated}
    every |= {f"{how}, {rate} GB/s": found for how, by_rate in grids.items() for rate, found in by_rate.items()}
    rows = []
    for name, found in every.items():
        triplets = [
            " / ".join(f"{100 * found[accumulator, scratchpad]:.0f}" for scratchpad in BUFFERS_KB)
            for accumulator in BUFFERS_KB
        ]
        gains = [f"{round(100 * fact(found)):+d}" for fact in BUFFER_FACTS.values()]
        near = sum(abs(found[pair] / value - 1) <= 0.1 for pair, value in stated.items())
        less = f"{100 * (1 - found[64, 256] / found[256, 64]):.0f} %"
        rows.append([name, *triplets, *gains, less, f"{near} of {len(stated)}"])
    header = ["", *(f"accumulator {size} kB" for size in BUFFERS_KB), *BUFFER_FACTS, "resizing saves",
              "within 10 % of Fig. 13"]  # fmt: skip
    saved = [
        100 * (1 - found[64, 256] / found[256, 64]) for found in (grids["runtime's tiles"][at] for at in (4, 6, 8))
    ]
    slow, fast = (100 * grids["runtime's tiles"][rate][64, 256] for rate in (6, 8))
    read = _BUFFERS_READ.format(least=min(saved), most=max(saved), slow=slow, fast=fast)
    return f"{_BUFFERS}\n\n{table(header, rows, 0)}\n\n{read}"


_BUFFERS = """\
Utilization of the array in the products of BERT-Base at 512 tokens [%], for scratchpads of 64 / 128 / 256 kB,
then what a step brings in points. *Runtime's tiles*: what Gemmini's own runtime picks
(`hwmodels.mapping.runtime_tiles`): an output tile in half the accumulator, the reduction innermost; *best mappings*:
those with the least latency. *Resizing saves*: latency of the products from 64 kB of accumulator and 256 kB of
scratchpad to the reverse; the survey's text says 36 %. The file has 16 GB/s, what Gemmini's bus carries at most. The
survey does not state what its memory system delivers, so the bandwidth is turned here; none is chosen."""

_BUFFERS_READ = """\
* **match, in trend**: the accumulator matters, the scratchpad does not, and 256 kB of accumulator are no better
  than 128: the runtime's tiles say so wherever memory is a bound, at 4, 6 and 8 GB/s. What resizing saves is
  {least:.0f} to {most:.0f} % there; the printed 36 % (text) and 24 % (figure) lie between. The text's 74 % for products
  on the baseline lie between its {slow:.0f} % at 6 GB/s and {fast:.0f} % at 8.
* **why**: the runtime reads both operands again for every output tile, so traffic goes with the side of that tile, and
  the side with the accumulator. A larger scratchpad makes a tile deeper, which saves nothing. The best mapping keeps a
  panel of an operand in a large scratchpad instead: for it, scratchpad stands in for accumulator, and with the same
  buffers and memory it wastes less than the runtime at every size: a mapper is worth what the resizing is.
* **miss**: with 16 GB/s, as the file has it, no pair of buffers loses a percent: bandwidth that arrives, commands and
  refills are what is not stated. The printed 88 to 91 % at which large accumulators saturate are no bandwidth: products
  reach 98 % and more here as soon as memory does not bind."""


def length_section(latency: Mapping[str, Mapping[int, float]], wide: Mapping[str, Mapping[int, float]]) -> str:
    """Put latency over the length beside Fig. 32, and Fig. 9 aside.

    Args:
        latency: By model and length [s].
        wide: The same of encoders, with what is no product reading wide sums [s].
    """
    stated = {
        (row["quantity"], row["model"], int(row["seq_len"])): row["value"] for row in printed("end_to_end_scaling")
    }
    base, rows = latency["BERT-Base"][128], []
    for name, found in latency.items():
        for tokens, seconds in found.items():
            text = stated["fig32_analytic_normalized_latency", name, tokens]
            sums = f"{wide[name][tokens] / wide['BERT-Base'][128]:.3g}" if name in wide else ""
            rows.append([
                f"{name}, {tokens}", text, f"{seconds / base:.3g}", sums,
                stated["fig9_cpu_normalized_latency", name, tokens],
                f"**{verdict(text, seconds / base)}**{_LENGTH_REASONS.get((name, tokens), '')}",
            ])  # fmt: skip
    header = ["", "Fig. 32", "here", "with 32-bit sums", "Fig. 9 (measured, Xeon)", ""]
    theirs, ours = ([float(row[at]) for row in rows] for at in (1, 2))
    pairs = [(a, b) for a, b in itertools.combinations(range(len(rows)), 2) if theirs[a] != theirs[b]]
    right = sum((ours[a] < ours[b]) == (theirs[a] < theirs[b]) for a, b in pairs)
    above = [100 * (float(row[1]) / float(row[2]) - 1) for row in rows if row[0].startswith("GPT-2")]
    read = _LENGTHS_READ.format(right=right, pairs=len(pairs), least=min(above), most=max(above))
    return f"{_LENGTHS.format(seconds=base)}\n\n{table(header, rows)}\n\n{read}"


_LENGTH_REASONS = {
    ("BERT-Base", 512): ": printed as one digit",
    ("BERT-Base", 1024): ": 10.3 with 32-bit sums would be a match",
    ("BERT-Base", 2048): ": 32-bit sums would be a match",
    ("BERT-Base", 4096): ": 32-bit sums would be a match",
    ("BERT-Large", 128): ": printed as one digit; the survey's BERT-Large leaves a projection out, which makes 3.2",
    ("BERT-Large", 4096): ": 32-bit sums would be a match",
    **{("GPT-2", tokens): ": a constant factor" for tokens in (128, 256, 512, 1024, 2048, 4096)},
}

_LENGTHS = """\
Latency on `survey-machine` relative to BERT-Base at 128 tokens ({seconds:.4f} s), mappings of the least
latency, every tensor through external memory. GPT-2 generates: its steps are costed at 16, 32, 64, 128, ..., 4096 keys,
lie on a line between those, and are summed from the first token on (shorter ones as that of 16); no head, as the survey
counts none. *With 32-bit sums*: what is no product reads the sums of products as wide as the accumulator holds them, as
the survey says of its intensities (`analytical_model_parameters.csv`); the verdict is of the column before."""

_LENGTHS_READ = """\
* **match, in trend**: encoders grow faster than linearly from 1024 tokens on, BERT-Large takes 3 to 3.5 times
  BERT-Base, and a generation takes 11 to 15 times a pass over as many tokens, at equal FLOPs: every step streams the
  weights through the 16 bytes a cycle of the local buffers. {right} of {pairs} pairs stand in the printed order.
* **stated, and moves it**: 32-bit sums before non-linear operators let the special function unit wait for L2 at long
  lengths, and carry half of the way to the printed 80 at 4096 tokens.
* **not stated**: how tiles overlap at 16 cycles of array latency, and the survey's square tiles in place of the best:
  printed generations lie {least:.0f} to {most:.0f} % above ours."""


def resnet_section(study: Study) -> str:
    """Put a network that the baseline was made for beside BERT."""
    base = gemmini()
    mover = replace(base, name="gemmini with its mover", engines=(MOVER, *base.engines))
    resnet = zoo.architecture("resnet-50")
    runs = {
        "ResNet-50, host adds and pools": study.run("resnet-50", resnet, base),
        "ResNet-50, Gemmini adds and pools": study.run("resnet-50", resnet, mover),
        "BERT-Base, 128 tokens": study.run("BERT-Base 128", bert(128), base),
        "BERT-Base, 512 tokens": study.run("BERT-Base 512", bert(512), base),
    }
    levels = ("DRAM", "Scratchpad", "Accumulator", "MACs", "Host")
    rows = []
    for name, run in runs.items():
        seconds = seconds_by_kind(run)
        beyond = 100 * (1 - seconds["product"] / sum(seconds.values()))
        alone = 100 * run.macs / peak_macs(run, seconds["product"])
        parts = [f"{100 * run.energy_by.get(level, 0.0) / run.energy_j:.0f}" for level in levels]
        rows.append([name, f"{run.macs / 1e9:.2f}", f"{run.latency_s * 1e3:,.1f}", f"{beyond:.1f} %", f"{alone:.1f} %",
                     f"{100 * run.utilization:.1f} %", f"{run.energy_j * 1e3:.1f}", " / ".join(parts)])  # fmt: skip
    header = ["", "GMAC", "latency [ms]", "not in products", "array in products", "array in all", "energy [mJ]",
              "% in DRAM / scratchpad / accumulator / MACs / host"]  # fmt: skip
    return f"{_RESNET}\n\n{table(header, rows, 0)}\n\n{_RESNET_READ}"


_RESNET = """\
On the baseline. Gemmini itself adds matrices and pools; its file leaves that out, since residuals of the
BERT baseline are floats on the host: so ResNet-50 is shown both ways. Counts beside Table 4: [survey.md](survey.md)."""

_RESNET_READ = """\
The survey prints no latency of ResNet-50 on Gemmini; what it says in words is **matched**: an accelerator for
CNNs is busy with products in a ResNet-50 and waits for its host in a BERT. Batch norm, bias and ReLU leave the array
with its results at no cost; adds and pools are what its mover has; softmax, GELU and LayerNorm are what it lacks."""
