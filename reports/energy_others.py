"""The sections of `reports.energy` beside SRAM: arithmetic, technology, DRAM, wires, tables of CACTI, chips."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

import hwmodels
from dse.report.tables import markdown_table
from hwmodels.cited import cited_rows
from hwmodels.energy import (
    LAWS,
    Estimate,
    arithmetic_deviations,
    circuit_spread,
    dram_deviations,
    dram_energy,
    leave_one_out,
    mac_energy,
    node_range,
    peak_power,
    published_checks,
    published_wires,
    scaling,
)
from hwmodels.energy.arithmetic_law import Measure, anchors
from hwmodels.energy.dram.published import technologies
from hwmodels.energy.log_tables import build_table, look_up
from hwmodels.roofline import RooflineDevice
from workloads.errors import SpecError

NODES = (180, 130, 90, 65, 45, 28, 16, 7, 5, 3)
RATES = (0.0, 0.25, 0.5, 0.75, 0.9, 1.0)
PARTS = ("activate", "array", "io")
FORMATS = ("int4", "int8", "int16", "int32", "fp8_e4m3", "fp8_e5m2", "fp16", "bf16", "tf32", "fp32")
MAC_NODES = (45, 28, 16, 7, 5)


def _span(estimate: Estimate, scale: float = 1.0) -> str:
    value, low, high = (float(number) * scale for number in (estimate.value, estimate.low, estimate.high))
    return f"{value:.3g} ({low:.3g} to {high:.3g})"


def arithmetic_section() -> str:
    """Write how far the arithmetic law is from figures that it did not see."""
    parts = ["## Arithmetic"]
    measures: tuple[tuple[Measure, str, float], ...] = (("energy", "pJ", 1e12), ("area", "um2", 1e6))
    for measure, unit, scale in measures:
        left = leave_one_out(measure)
        body = [
            [f"{each.anchor.operation} {each.anchor.format}, {each.anchor.node_nm:g} nm",
             f"{each.anchor.value * scale:.4g}", f"{each.predicted * scale:.4g}", f"{each.error:+.1%}"]
            for each in left
        ]  # fmt: skip
        errors = 100 * np.abs([each.error for each in left])
        found = f"median {np.median(errors):.1f} %, 95th percentile {np.percentile(errors, 95):.1f} %."
        note = f"### {measure.title()}: each anchor left out and predicted from the others\n\n`leave_one_out`: {found}"
        parts += [note, markdown_table(["anchor", f"published [{unit}]", "predicted", "error"], body)]
        body = [
            [each.what, each.scope, f"{each.published * scale:.4g}", _span(each.estimate, scale), f"{each.ratio:.2f}",
             "yes" if each.inside else "no", each.source.split(",")[0]]
            for each in arithmetic_deviations(measure)
        ]  # fmt: skip
        spread = circuit_spread(measure)
        title = f"### {measure.title()}: other published figures, never fitted to"
        makes = f"{float(spread.low):.2g} to {float(spread.high):.2g}"
        note = (
            f"`arithmetic_deviations`. The band is that of the two anchored sets; other makes lie at {makes} times "
            "the law (`circuit_spread`)."
        )
        header = ["figure", "scope", f"published [{unit}]", "law (band)", "law / published", "in band", "source"]
        parts += [title, note, markdown_table(header, body)]
    return "\n\n".join([*parts, *_between_nodes(), *_macs()]) + "\n"


def _between_nodes() -> list[str]:
    """Show how far 45 and 7 nm are apart, operation by operation, beside the general law."""
    old, new = (
        {(each.operation, each.format): each.value for each in anchors("energy") if each.node_nm == node}
        for node in (45.0, 7.0)
    )
    body = [[f"{operation} {name}", f"{old[operation, name] * 1e12:.3g}", f"{new[operation, name] * 1e12:.3g}",
             f"{old[operation, name] / new[operation, name]:.2f}"]
            for operation, name in old if (operation, name) in new]  # fmt: skip
    laws = [
        f"{law} {1 / float(scaling('logic energy', 45, 7, law=law).value):.2f}"
        for law in LAWS["logic energy"]
        if node_range("logic energy", law)[0] >= 45 and node_range("logic energy", law)[1] <= 7
    ]
    note = f"### From 45 to 7 nm, operation by operation\n\nThe general laws of logic energy: {', '.join(laws)}."
    return [note, markdown_table(["operation", "45 nm [pJ]", "7 nm [pJ]", "ratio"], body)]


def _macs() -> list[str]:
    body = [
        [name, *(f"{_span(mac_energy(name, node_nm=node), 1e12)} {mac_energy(name, node_nm=node).origin}"
                 for node in MAC_NODES)]
        for name in FORMATS
    ]  # fmt: skip
    note = "### Multiply-add by format and node [pJ]\n\n`mac_energy(format, node_nm=node)`, with the error band."
    return [note, markdown_table(["format", *(f"{node} nm" for node in MAC_NODES)], body)]


def technology_section() -> str:
    """Write the factors from 45 nm by law."""
    body = []
    for quantity, laws in LAWS.items():
        for place, law in enumerate(laws):
            largest, smallest = node_range(quantity, law)
            start = min(45.0, largest)
            cells = [
                f"{float(scaling(quantity, start, node, law=law).value):.3g}" if smallest <= node <= largest else "-"
                for node in NODES
            ]
            name = f"{quantity}, {law}{' (default)' if place == 0 else ''}"
            body.append([name + (f", from {start:g} nm" if start < 45 else ""), *cells])
    note = (
        '`scaling(quantity, 45, node, law=law)`. "-": the law does not reach that node; one that does not reach 45 nm '
        "says where it starts."
    )
    table = markdown_table(["factor from 45 nm", *(f"{node} nm" for node in NODES)], body)
    return f"## Technology\n\n{note}\n\n{table}\n"


def dram_section() -> str:
    """Write the DRAM tables: parts, row-hit rates, deviations."""
    body, curve = [], []
    for name in technologies():
        try:
            found = dram_energy(name)
        except SpecError:
            continue
        parts = [f"{float(found.parts[part].value) * 1e12:.2f}" if part in found.parts else "-" for part in PARTS]
        rate = f"{found.reference_row_hit_rate:.2f}" if found.parts else "-"
        body.append([name, _span(found.total, 1e12), found.total.origin, *parts, rate])
        if "activate" in found.parts:
            totals = [dram_energy(name, row_hit_rate=rate).total for rate in RATES]
            curve.append([name, *(f"{float(total.value) * 1e12:.2f}" for total in totals)])
    order = sorted(body, key=lambda row: row[0])
    split = markdown_table(
        ["technology", "device + I/O [pJ/bit]", "origin", *PARTS, "row-hit rate of the split"], order
    )
    hits = markdown_table(["pJ/bit at a row-hit rate of", *(f"{rate:g}" for rate in RATES)], sorted(curve))
    against = markdown_table(
        ["compared", "ours", "published", "unit", "ours / published", "note"],
        [[each.what, f"{each.ours:.3g}", f"{each.published:.3g}", each.unit, f"{each.ratio:.2f}", each.note]
         for each in dram_deviations()],
    )  # fmt: skip
    return (
        f'## DRAM\n\n`dram_energy(technology)`, scope "device+io"; "-": nobody published a split.\n\n{split}\n\n'
        f"### Over the row-hit rate\n\n`dram_energy(technology, row_hit_rate=rate)`\n\n{hits}\n\n"
        f"### Figures that nothing was made from\n\n`dram_deviations()`\n\n{against}\n"
    )


def wires_section() -> str:
    """Write the wires beside published ones."""
    body = []
    for each in published_wires():
        node = f"{each.node_nm:g} nm" if each.node_nm else "no node stated"
        model = "-" if each.model is None else f"{float(each.model.value) * 1e15:.0f}"
        deviation = "-" if each.deviation is None else f"{each.deviation:+.0%}"
        source = each.published.source.split(",")[0]
        body.append([f"{node}, {source}", f"{float(each.published.value) * 1e15:.0f}", model, deviation,
                     "yes" if each.comparable else "no", each.note])  # fmt: skip
    header = ["wire", "published [fJ/bit/mm]", "ours", "deviation", "compares", "note"]
    return f"## Wires\n\n`published_wires()`\n\n{markdown_table(header, body)}\n"


def checks_section() -> str:
    """Write chips with published area and power beside the models, and peak power over TDP."""
    body = [
        [f"{each.chip}: {each.item}", f"{each.published:g}", _span(each.predicted), each.unit or "-",
         f"{each.deviation:+.0%}", "yes" if each.inside else "no"]
        for each in published_checks()
    ]  # fmt: skip
    inside = sum(row[-1] == "yes" for row in body)
    table = markdown_table(["chip: item", "published", "predicted (band)", "unit", "deviation", "in band"], body)
    peaks = []
    for name in hwmodels.names():
        power = peak_power(hwmodels.load(name, kind=RooflineDevice))
        watts = (float(each.value) for each in (power.compute, power.memory, power.static))
        peaks.append([name, *(f"{watt:.0f}" for watt in watts), f"{power.tdp_w:g}", f"{power.one_w / power.tdp_w:.2f}",
                      f"{power.both_w / power.tdp_w:.2f}"])  # fmt: skip
    header = ["device", "compute at peak [W]", "memory at peak [W]", "constant [W]", "TDP [W]", "larger one / TDP",
              "both / TDP"]  # fmt: skip
    totals = (
        f"`published_checks()`: {inside} of {len(body)} published figures lie in the band. Nothing is fitted to them. "
        "What a bill does not count (`Bill.not_counted`) is not in the predicted numbers."
    )
    bound = (
        "`peak_power(device)`, fp16 products, dense. TDP is a bound and feeds nothing: a device throttles where both "
        "resources at their peaks would exceed it. One resource alone must not: the memories of the B200 and the "
        "MI300X do, so the pJ/bit of a GH200, which they have for want of a measurement, are too high for them, and "
        "those of the H200 leave no room."
    )
    parts = ("## Chips with published totals", totals, table, "### Peak power of GPUs and CPUs", bound,
             markdown_table(header, peaks))  # fmt: skip
    return "\n\n".join(parts) + "\n"


TABLES: Mapping[str, tuple[tuple[str, ...], frozenset[str], tuple[str, ...], str, tuple[str, ...]]] = {
    "edram": (("node_nm", "size_bytes", "width_bytes"), frozenset(), ("size_bytes", "width_bytes", "node_nm"),
              "size_bytes", ("read_pj", "area_mm2", "access_ns", "cycle_ns", "leak_mw_total")),
    "dram_dies": (("node_nm", "size_bytes", "output_bits", "page_bits"), frozenset({"output_bits", "page_bits"}),
                  ("size_bytes", "node_nm"), "size_bytes",
                  ("activate_nj", "read_burst_nj", "area_mm2", "access_ns", "cycle_ns", "refresh_mw")),
    "dram_stacks": (("node_nm", "die_gbit", "io_bits"), frozenset({"io_bits"}), ("die_gbit",), "die_gbit",
                    ("activate_nj", "read_nj", "area_per_die_mm2", "trc_ns", "tcas_ns")),
}  # fmt: skip
"""By table: axes, those that only take values of rows, those to leave out, the capacity, columns."""

CACHE_COLUMNS = ("read_pj", "write_pj", "area_mm2", "access_ns", "cycle_ns", "leak_mw_total")


def tables_section() -> str:
    """Write leave-out errors of the caches, eDRAM and DRAM dies: inner levels of an axis, one at a time."""
    body = []
    for name, (axes, fixed, left, capacity, columns) in TABLES.items():
        rows = [row for row in cited_rows(name) if row["feasible"] == "1"]
        for axis in left:
            body += _left_out(name, rows, axes, fixed, axis, capacity, columns)
    series: dict[tuple[str, ...], list[Mapping[str, str]]] = {}
    for row in cited_rows("caches"):
        if row["feasible"] == "1":
            series.setdefault((row["line_bytes"], row["associativity"], row["node_nm"]), []).append(row)
    found: dict[str, list[list[float]]] = {}
    for rows in series.values():
        for column, errors in _errors(
            "caches", rows, ("size_bytes",), frozenset(), "size_bytes", "size_bytes", CACHE_COLUMNS
        ):
            known = found.setdefault(column, [[], []])
            known[0] += errors[0]
            known[1] += errors[1]
    body += [_line("caches", "size_bytes", column, errors) for column, errors in found.items()]
    note = (
        "Inner levels of an axis are left out, one at a time, and read from the spline through the rest: median / 95th "
        "percentile of the relative error in percent; beside it constant x sqrt(capacity), with a constant for every "
        "combination of the other axes, where the capacity is left out."
    )
    table = markdown_table(["table, axis left out, quantity", "points", "ours", "square-root law"], body)
    return f"## Caches, eDRAM, DRAM dies\n\n{note}\n\n{table}\n"


def _left_out(
    name: str, rows: Sequence[Mapping[str, str]], axes: tuple[str, ...], fixed: frozenset[str], axis: str,
    capacity: str, columns: tuple[str, ...],
) -> list[list[str]]:  # fmt: skip
    return [
        _line(name, axis, column, errors)
        for column, errors in _errors(name, rows, axes, fixed, axis, capacity, columns)
    ]


def _errors(
    name: str, rows: Sequence[Mapping[str, str]], axes: tuple[str, ...], fixed: frozenset[str], axis: str,
    capacity: str, columns: tuple[str, ...],
) -> Iterator[tuple[str, tuple[list[float], list[float]]]]:  # fmt: skip
    """Give for every column the relative errors of the spline, and of the square-root law."""
    levels = sorted({float(row[axis]) for row in rows})[1:-1]
    found: dict[str, tuple[list[float], list[float]]] = {column: ([], []) for column in columns}
    others = [each for each in axes if each != capacity]
    for level in levels:
        rest = [row for row in rows if float(row[axis]) != level]
        table = build_table(name, rest, axes=axes, columns=columns, fixed=fixed)
        for gone in (row for row in rows if float(row[axis]) == level):
            read = look_up(table, {each: float(gone[each]) for each in axes}, where=name, fixes={})
            peers = [row for row in rest if all(row[each] == gone[each] for each in others)]
            for column in columns:
                true = float(gone[column])
                found[column][0].append(abs(float(read.values[column]) / true - 1))
                if axis == capacity and peers:
                    constant = np.median([float(row[column]) / math.sqrt(float(row[capacity])) for row in peers])
                    found[column][1].append(abs(float(constant) * math.sqrt(float(gone[capacity])) / true - 1))
    yield from found.items()


def _line(name: str, axis: str, column: str, errors: Sequence[Sequence[float]]) -> list[str]:
    cells = [
        f"{100 * np.median(each):.1f} / {100 * np.percentile(each, 95):.1f}" if len(each) else "-" for each in errors
    ]
    return [f"{name}, {axis}, {column}", str(len(errors[0])), *cells]
