"""Write what `optimize` found: models, tables, figures and `report.md`."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import hwmodels
from dse import plots
from dse.files import atomic_write
from dse.measure import Timing
from dse.model import device_of
from dse.numbers import gain, si
from dse.pipeline import Design, Optimized
from dse.report.figures import pareto_figure, prediction_figure
from dse.report.speed import gain_text, timing_section
from dse.report.tables import markdown_table
from workloads import compress

__all__ = ["write_chosen", "write_designs", "write_report"]

CITATIONS = {
    "Quantize": "Gholami et al., A Survey of Quantization Methods for Efficient Neural Network Inference, 2021",
    "PruneHeads": "Michel et al., Are Sixteen Heads Really Better than One?, 2019; magnitude: Han et al., 2015",
    "PruneNeurons": "Han et al., Learning both Weights and Connections for Efficient Neural Networks, 2015",
}
METHODS = (
    "Roofline: Williams, Waterman, Patterson, CACM 52(4), 2009",
    "NSGA-II: Deb et al., IEEE TEC 6(2), 2002",
    "Additive sensitivities: Dong et al., HAWQ-V2, NeurIPS 2020",
    "Isotonic regression: Barlow et al., 1972",
)


def write_chosen(found: Optimized, out: Path) -> dict[str, Path]:
    """Write the model chosen for every device as an ONNX file, by rename.

    Returns:
        Design name to path; `chosen.onnx` is the first device's.
    """
    for stale in out.glob("chosen*.onnx"):  # of an earlier run into this folder
        stale.unlink()
    paths: dict[str, Path] = {}
    for number, name in enumerate(dict.fromkeys(found.chosen.values())):
        design = found.design(name)
        model = compress.apply(found.model, *design.techniques)
        entry = model.metadata_props.add()
        entry.key, entry.value = "dse.techniques", json.dumps([item.to_dict() for item in design.techniques])
        paths[name] = out / ("chosen.onnx" if number == 0 else f"chosen-{name}.onnx")
        with atomic_write(paths[name]) as part:
            Path(part).write_bytes(model.SerializeToString())
    return paths


def write_report(found: Optimized, out: Path, timings: Mapping[str, Timing], models: Mapping[str, Path]) -> Path:
    """Write report.md with its figures and tables.

    Args:
        found: The result.
        out: Folder.
        timings: Design name to its timing on this machine.
        models: Design name to the ONNX file written.
    """
    first = next(iter(found.chosen))
    chosen = found.design(found.chosen[first])
    small = compress.cost(found.workload, *chosen.techniques)
    pareto_figure(found, out / "pareto.png")
    prediction_figure(found, out / "prediction.png")
    plots.roofline(small, device_of(first), out / "roofline.png")
    write_designs(found, out)
    sections = [
        _summary(found, models, timings),
        timing_section(found, timings),
        _front_section(found),
        _accuracy_section(found),
        _operator_section(found, first, chosen, out),
        _search_section(found),
        _sources(found),
    ]
    path = out / "report.md"
    with atomic_write(path) as part:
        Path(part).write_text("\n\n".join(sections) + "\n")
    return path


def _points(value: float, error: float | None = None) -> str:
    text = f"{100 * value:+.2f}"
    return text if error is None else f"{text} ± {100 * error:.2f}"


def _summary(found: Optimized, models: Mapping[str, Path], timings: Mapping[str, Timing]) -> str:
    reference = found.designs[0]
    rows = []
    for device, name in found.chosen.items():
        design = found.design(name)
        before, after = reference.columns[device], design.columns[device]
        rows.append(
            [
                Path(device).stem,
                f"{name} (`{models[name].name}`)",
                _points(design.measured.drop.value, design.measured.drop.standard_error),
                gain(before["latency_s"], after["latency_s"]),
                gain_text(found, timings, device),
                gain(before["energy_j"], after["energy_j"]),
                f"{reference.sizes.packed_bytes / design.sizes.packed_bytes:.2f}x",
                f"{reference.sizes.file_bytes / design.sizes.file_bytes:.2f}x",
            ]
        )
    header = [
        "device",
        "chosen design",
        "drop, points (measured)",
        "latency gain (predicted)",
        "latency gain (measured)",
    ]
    header += ["energy gain (predicted)", "packed size gain (measured)", "file gain (measured)"]
    bound = ", ".join(f"{name}={size}" for name, size in found.workload.bindings.items()) or "no symbolic dims"
    return (
        f"# {found.workload.name} on {found.task.name}\n\n"
        f"Written {datetime.now(UTC):%Y-%m-%d %H:%M} UTC. {bound}. "
        f"Uncompressed {found.reference.metric} (measured): {found.reference.value:.4f} ± "
        f"{found.reference.standard_error:.4f} on {found.reference.count} examples; allowed drop "
        f"{100 * found.allowed:.3g} points.\n\n"
        "Every number is marked *measured* (run on this machine) or *predicted* (cost models and sensitivities). "
        "Standard errors of drops are paired, over examples. Designs are chosen on the examples that their drop is "
        "measured on, so a chosen drop is slightly optimistic.\n\n" + markdown_table(header, rows)
    )


def _front_section(found: Optimized) -> str:
    opening = (
        "## Fronts\n\nEvery design below was applied to the real weights and measured on the whole test split. A front "
        "holds the designs that no other beats in drop, latency, energy and size at once.\n\n![fronts](pareto.png)"
    )
    parts = [opening]
    for device, names in found.fronts.items():
        designs = sorted((found.design(name) for name in names), key=lambda item: item.measured.drop.value)
        rows = [_front_row(found, design, device) for design in designs]
        header = ["design", "drop, points (measured)", "latency (predicted)", "energy (predicted)"]
        header += ["packed (measured)", "file (measured)", "what was done"]
        parts.append(f"### {Path(device).stem}\n\n" + markdown_table(header, rows))
    return "\n\n".join(parts)


def _front_row(found: Optimized, design: Design, device: str) -> list[str]:
    columns = design.columns[device]
    mark = " **chosen**" if found.chosen[device] == design.name else ""
    return [
        design.name + mark,
        _points(design.measured.drop.value, design.measured.drop.standard_error),
        si(columns["latency_s"], "s"),
        si(columns["energy_j"], "J"),
        si(design.sizes.packed_bytes, "B"),
        si(design.sizes.file_bytes, "B"),
        describe(design, found.units),
    ]


def describe(design: Design, units: Mapping[str, int]) -> str:
    """Say in a few words what was done to a model that had so many heads and neurons."""
    words = []
    for technique in design.techniques:
        plain = technique.to_dict()
        if plain["technique"] == "Quantize":
            bits = [value for value in plain["weight_bits"].values() if value < compress.KEEP_BITS]
            kind = "W8A8" if plain["activation_bits"] == 8 and set(bits) == {8.0} else "weights"
            kind = "dynamic int8, weights" if plain["activation_bits"] == 8 and kind == "weights" else kind
            layers = f"{len(bits)} of {len(plain['weight_bits'])} layers"
            mean = sum(bits) / max(len(bits), 1)
            words.append(f"{kind} at {mean:.1f} bits in {layers}" if kind != "W8A8" else f"W8A8 in {layers}")
        else:
            what = "heads" if plain["technique"] == "PruneHeads" else "neurons"
            words.append(f"{sum(map(len, plain['kept'].values()))} of {units[plain['technique']]} {what}")
    return ", ".join(words) or "nothing"


def _accuracy_section(found: Optimized) -> str:
    steepest = sorted(found.sensitivities.rise.items(), key=lambda item: -item[1])[:12]
    rows = [
        [
            change.block,
            change.knob,
            f"{change.value:g}",
            f"{rise:.4f} ± {found.sensitivities.standard_error[change]:.4f}",
        ]
        for change, rise in steepest
    ]
    foretold = [d for d in found.designs[1:] if d.predicted_drop == d.predicted_drop]
    miss = sum(abs(d.predicted_drop - d.measured.drop.value) for d in foretold) / max(len(foretold), 1)
    first = len(found.designs) - 1 - len(foretold)
    return (
        "## What accuracy depends on\n\nThe twelve single changes that cost most, as the rise of the mean loss on the "
        "calibration split (measured); the rises of a combination are added and turned into a drop by a monotone "
        f"curve, fitted on the first {first} designs. It predicted the other {len(foretold)} "
        f"before they were measured, with a mean error of {100 * miss:.2f} points (figure below).\n\n"
        + markdown_table(["block", "knob", "value", "rise of the loss (measured)"], rows)
        + "\n\n![predicted and measured drops](prediction.png)"
    )


def _operator_section(found: Optimized, device: str, chosen: Design, out: Path) -> str:
    small = compress.cost(found.workload, *chosen.techniques)
    rows = [record.columns() for record in hwmodels.breakdown_records(small, device_of(device))]
    _write_csv(rows, out / "operators.csv")
    top = sorted(rows, key=lambda row: -row["latency_s"])[:20]
    body = [
        [
            row["name"][:40],
            row["block"],
            row["op_type"],
            si(row["flops"], "FLOP"),
            si(row["dram_bytes"], "B"),
            f"{row['intensity']:.3g}",
            row["bound"],
            si(row["latency_s"], "s"),
            f"{row['share']:.1%}",
        ]
        for row in top
    ]
    header = ["operator", "block", "type", "work", "traffic", "FLOP/B", "bound by", "latency", "share"]
    return (
        f"## Where the time goes\n\nDesign {chosen.name} on {Path(device).stem}, all predicted; the 20 longest of "
        f"{len(rows)} operators ([all of them](operators.csv)).\n\n"
        + markdown_table(header, body)
        + "\n\n![roofline](roofline.png)"
    )


def _search_section(found: Optimized) -> str:
    rows = [[phase, f"{seconds:.1f} s"] for phase, seconds in found.seconds.items()]
    return (
        f"## The search\n\n{found.points} design points costed, {len(found.designs) - 1} measured. Per-layer bit "
        "widths, head and neuron densities, weight-only or dynamic int8, on every device.\n\n"
        + markdown_table(["phase", "wall time (measured)"], rows)
    )


def _sources(found: Optimized) -> str:
    lines = ["## Sources"]
    for device in found.fronts:
        spec = device_of(device)
        lines.append(f"\n**{spec.name}**\n")
        lines += [f"- {group}: {citation.source} ({citation.origin})" for group, citation in spec.sources.items()]
    used = dict.fromkeys(item.to_dict()["technique"] for design in found.designs for item in design.techniques)
    lines.append("\n**Methods**\n")
    lines += [f"- {name}: {CITATIONS[name]}" for name in used]
    lines += [f"- {method}" for method in METHODS]
    return "\n".join(lines)


def write_designs(found: Optimized, out: Path) -> None:
    """Write every measured design on every device as designs.csv, and what was done to each as designs.json."""
    rows = [
        {
            "design": design.name,
            "device": Path(device).stem,
            "on_front": design.name in front,
            "chosen": found.chosen.get(device) == design.name,
            "drop_measured": design.measured.drop.value,
            "drop_standard_error": design.measured.drop.standard_error,
            "drop_predicted": design.predicted_drop,
            **{f"{name}_predicted": value for name, value in design.columns[device].items()},
            "packed_bytes_measured": design.sizes.packed_bytes,
            "file_bytes_measured": design.sizes.file_bytes,
            "what": describe(design, found.units),
        }
        for device, front in found.fronts.items()
        for design in found.designs
    ]
    _write_csv(rows, out / "designs.csv")
    with atomic_write(out / "designs.json") as part:
        plain = {design.name: [item.to_dict() for item in design.techniques] for design in found.designs}
        Path(part).write_text(json.dumps(plain, indent=1))


def _write_csv(rows: Sequence[Mapping[str, Any]], path: Path) -> None:
    with atomic_write(path) as part, Path(part).open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
