"""Writes `reports/case_study.md`: the survey's studies of accelerators beside what the models here say.

    python -m reports.case_study [FOLDER]

FOLDER: where pictures go, if they are wanted. Mappings are remembered in the user's cache; without any it takes three
minutes of one core.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from pathlib import Path

from dse import plots
from dse.files import atomic_write
from hwmodels.energy.bill import Bill
from hwmodels.energy.pricing import price
from hwmodels.machines import MachineRun
from hwmodels.machines.kinds import seconds_by_kind
from hwmodels.machines.rows import vector_units
from reports.case_study_runs import LENGTHS, Grid, Study, bert, case_study, gemmini, printed, scaling, variants, wide_s
from reports.case_study_tables import (
    beside,
    buffer_grids,
    buffer_section,
    length_section,
    peak_macs,
    resnet_section,
    stated_grid,
    table,
)

HERE = Path(__file__).resolve().parent

HEAD = """# The survey's studies on accelerators

Written by `python -m reports.case_study`: Kim et al., *Full Stack Optimization of Transformer Inference: a Survey*,
arXiv 2302.14017, beside `hwmodels.machines` and `hwmodels.mapping`. Printed numbers stand in
`tests/golden/reference/survey`; the story in pictures is [accelerators.ipynb](accelerators.ipynb).

Nothing is fitted: machines are the files `gemmini`, `gemmini-ibert` and `survey-machine`, whose numbers all have
sources; every tensor goes through the outermost memory, as in the survey; mappings are proven optima (of EDP, where no
line says otherwise) with perfect factors. **match**: the printed digits, or within 10 %; **order**: within a factor of
two; **miss**: neither.
"""

NAMES = {
    "product": "matmul",
    "softmax": "softmax",
    "layernorm": "LayerNorm",
    "add": "residual add",
    "conversion": "(de)quantization",
    "gelu": "GELU",
}
"""What Fig. 14 calls the kinds of work."""

AFTER = "matmul + GELU"


def shares(run: MachineRun) -> dict[str, float]:
    """Give the share of each kind of work in the time, under the names of Fig. 14 [%]."""
    seconds = seconds_by_kind(run)
    total = sum(seconds.values())
    found = {name: 100 * seconds[kind] / total for kind, name in NAMES.items()}
    return {**found, "other": max(0.0, 100 - sum(found.values()))}


def stated_shares(which: str) -> dict[str, str]:
    """Read the printed shares of Fig. 14: "baseline" or "ibert"."""
    start = f"fig14_{which}_share_"
    names = {"layernorm": "LayerNorm", "de_quantization": "(de)quantization", "gelu": "GELU",
             "residual_add": "residual add", "matmul_gelu": AFTER}  # fmt: skip
    found = {name.removeprefix(start): value for name, value in case_study().items() if name.startswith(start)}
    return {names.get(name, name): value for name, value in found.items()}


def case_section(runs: Mapping[str, MachineRun]) -> str:
    """Put the baseline, its changes and what they gain beside sections 3.4.2 to 3.4.4."""
    case, base, both = case_study(), runs["baseline"], runs["both"]
    ours, seconds = shares(base), seconds_by_kind(base)
    alone = 100 * base.macs / peak_macs(base, seconds["product"])
    cut = 100 * (1 - seconds_by_kind(both)["product"] / seconds["product"])
    gains = {name: base.latency_s / run.latency_s for name, run in runs.items()}
    by_one = ", ".join(f"{name} {gains[name]:.3g}x" for name in list(runs)[1:3])
    rows = [
        beside("time in operators that are no product", case["baseline_time_share_non_matmul"], 100 - ours["matmul"],
               "from instruction counts of the host", " %"),
        beside("latency gained by both", case["end_to_end_latency_improvement_ibert_plus_resizing"], gains["both"],
               f"{by_one}; products do not shrink here, the survey's do by a third", "x"),
        beside("utilization of the array in products", case["baseline_matmul_utilization"], alone,
               "16 GB/s that always arrive: see Buffers", " %"),
        beside("utilization of the array in all, at most", case["baseline_overall_utilization_upper"],
               100 * base.utilization, "the printed 4 % of the time times 74 % are 3 % as well", " %"),
        beside("latency of products saved by buffers", case["matmul_latency_reduction_from_resizing"], cut,
               "memory is no bound at 16 GB/s: see Buffers, where it is", " %"),
        beside("the same, as Fig. 13 implies", case["latency_cut_implied_by_fig13_69_to_91_percent"], cut,
               "the same", " %"),
    ]  # fmt: skip
    head = f"BERT-Base, 512 tokens: baseline {base.latency_s:.3g} s, with both changes {both.latency_s:.3g} s."
    text = f"{head}\n\n{table(['', 'survey', 'here', ''], rows)}\n\nShares of the time (Fig. 14):"
    return f"{text}\n\n{_shares_table(runs)}\n\n{_SHARES_READ}"


_REASONS = {
    "baseline: matmul": "16 GB/s that always arrive; the text's 96 % leave 4 %, not 1",
    "baseline: softmax": "an exponential in scalar double precision, and the mask: 512 x 512 a head",
    "baseline: LayerNorm": "",
    "baseline: residual add": "caches always hit here",
    "baseline: (de)quantization": "a tensor is converted once for all that read it",
    "baseline: GELU": "an error function in scalar double precision; the survey's code is not published",
    f"both: {AFTER}": "",
    "both: softmax": "three passes of 16 lanes, with the mask",
    "both: LayerNorm": "three passes of 16 lanes; the row of residuals is in there too",
    "both: residual add": "LayerNorm takes it along: its sum is never written",
}


def _shares_table(runs: Mapping[str, MachineRun]) -> str:
    """Put the shares of the time beside Fig. 14."""
    rows = []
    for name, which in (("baseline", "baseline"), ("both", "ibert")):
        ours = shares(runs[name])
        ours[AFTER] = ours["matmul"] + ours["GELU"]
        for kind, stated in stated_shares(which).items():
            what = f"{name}: {kind}"
            rows.append(beside(what, stated, ours[kind], _REASONS[what], " %"))
    return table(["", "survey", "here", ""], rows)


_SHARES_READ = """\
**Match**: products are a few percent of the baseline and nine tenths after; softmax, conversions and GELU take
nearly all of the rest. **Miss**: how that rest is split, by factors of 2 to 3. Each kind is cycles per element of a
scalar host times its elements; the elements follow from the network, the cycles are code that the survey does not
show. Its six printed shares sum to 94 %."""


def unit_section(runs: Mapping[str, MachineRun]) -> str:
    """Put area, power and latency of the integer units beside section 3.4.4."""
    case, both = case_study(), runs["both"]
    device = both.accelerator
    bill = price(device, vector_units=vector_units(device))
    unit = next(engine.name for engine in device.engines if engine.kind == "vector")
    area = float(bill.component(unit).area_mm2.value)
    share = 100 * area / (float(bill.area_mm2.value) - area)
    chip = {name: joules for name, joules in both.energy_by.items() if name not in ("DRAM", "Host")}
    power = 100 * chip[unit] / (sum(chip.values()) - chip[unit])
    seconds = seconds_by_kind(both)
    beyond = 100 * (sum(seconds.values()) / seconds["product"] - 1)
    rows = [
        beside("area of the units over the rest", case["area_overhead_normalizer_and_activation_units"], share,
               "of what `hwmodels.energy.price` counts at 45 nm, arithmetic of 16 lanes; the survey synthesized in "
               "ASAP7, so the second digit is luck", " %"),
        beside("power of the units over the rest", case["power_overhead_nonlinear_units"], power,
               "energy of their arithmetic in a run of BERT, over an accumulator of 256 kB at every MAC; a synthesis "
               "has clocks and registers that never rest", " %"),
        beside("latency of what is no product over products", case["latency_overhead_nonlinear"], beyond,
               "Fig. 14 prints 14 % beside products and GELU", " %"),
    ]  # fmt: skip
    return f"{table(['', 'survey', 'here', ''], rows)}\n\n{_bill_text(bill)}"


def _bill_text(bill: Bill) -> str:
    parts = ", ".join(f"{part.name} {float(part.area_mm2.value):.3f}" for part in bill.components)
    return f"Area of `gemmini-ibert` [mm2 at 45 nm]: {parts}. Not counted: {', '.join(bill.not_counted)}."


def other_section() -> str:
    """Point to the studies that have reports of their own, and repeat their first tables."""
    parts = []
    for name, what in (("mapspace", "Random mappings (section 5.5.1)"), ("fusion", "Fusion (section 5.5.2)")):
        path = HERE / f"{name}.md"
        if not path.is_file():
            parts.append(f"{what}: `reports/{name}.py`.")
            continue
        lines = path.read_text(encoding="utf-8").splitlines()
        start = next((at for at, line in enumerate(lines) if line.startswith("|")), len(lines))
        end = next((at for at in range(start, len(lines)) if not lines[at].startswith("|")), len(lines))
        rows = "\n".join(lines[start : min(end, start + 16)])
        parts.append(f"{what}: [{name}.md]({name}.md). Its first table:\n\n{rows}")
    return "\n\n".join(parts)


def _counted(body: str) -> str:
    """Count the verdicts in tables."""
    rows = [line for line in body.splitlines() if line.startswith("|")]
    match, order, miss = (sum(f"**{word}**" in row for row in rows) for word in ("match", "order", "miss"))
    return (
        f"Of {match + order + miss} printed numbers that are compared one by one below, {match} are a match, {order} "
        f"come in order, {miss} are missed; one of the matches, BERT-Base at 128 tokens, is the point that Fig. 32 is "
        "relative to. Fig. 13 is compared as a whole: where nothing binds, rows of 100 % come within 10 % of a "
        "printed 91."
    )


def pictures(
    folder: Path,
    runs: Mapping[str, MachineRun],
    grids: Mapping[str, Mapping[int, Grid]],
    latency: Mapping[str, Mapping[int, float]],
) -> None:
    """Draw what the report says."""
    folder.mkdir(parents=True, exist_ok=True)
    bars = {name: shares(runs[name]) for name in ("baseline", "both")}
    stated = {
        name: {kind: float(value) for kind, value in stated_shares(which).items()}
        for name, which in (("baseline", "baseline"), ("both", "ibert"))
    }
    plots.time_shares(folder / "shares.png", bars, stated)
    drawn = {"printed, Fig. 13": stated_grid()}
    for how, rates in (("runtime's tiles", (6, 16)), ("best mappings", (4, 6, 16))):
        drawn |= {f"{how}, {rate} GB/s": grids[how][rate] for rate in rates}
    plots.buffer_grids(folder / "buffers.png", drawn)
    scale: dict[str, dict[int, float]] = {}
    for row in printed("end_to_end_scaling"):
        if row["quantity"] == "fig32_analytic_normalized_latency":
            scale.setdefault(row["model"], {})[int(row["seq_len"])] = float(row["value"])
    plots.normalized_latency(folder / "lengths.png", latency, scale, "survey-machine; printed: Fig. 32")


def main() -> None:
    """Write the report, and the pictures if a folder is named."""
    study, started = Study(), time.process_time()
    work = bert(512)
    runs = {name: study.run("BERT-Base 512", work, device) for name, device in variants().items()}
    grids = buffer_grids(study)
    latency, machine = scaling(study), gemmini("survey-machine")
    wide = {
        name: {tokens: wide_s(bert(tokens, name), machine, study.memo) for tokens in LENGTHS}
        for name in ("BERT-Base", "BERT-Large")
    }
    sections = {
        "Non-linear operators on a host, integer units, buffers": case_section(runs),
        "Buffers": buffer_section(grids),
        "Integer units": unit_section(runs),
        "Latency over the length": length_section(latency, wide),
        "ResNet-50 beside BERT": resnet_section(study),
        "Mappings and fusion": other_section(),
    }
    body = "\n\n".join(f"## {title}\n\n{text}" for title, text in sections.items())
    with atomic_write(HERE / "case_study.md") as part:
        part.write_text(f"{HEAD}\n{_counted(body)}\n\n{body}\n", encoding="utf-8")
    if sys.argv[1:]:
        pictures(Path(sys.argv[1]), runs, grids, latency)
    print(f"written; {time.process_time() - started:.0f} CPU seconds, {study.memo.hits} searches known")


if __name__ == "__main__":
    main()
