"""What `dse map` prints: operators, levels, what is left over, what was proven."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from textwrap import wrap
from typing import TYPE_CHECKING, Any

from dse.cli.output import console, print_table, short
from dse.numbers import si

if TYPE_CHECKING:
    from dse.cli.mapping_settings import MapSettings
    from hwmodels.mapping import Result
    from hwmodels.mapping.network import MappedNetwork

__all__ = ["print_front", "print_network"]

WIDE = 130
"""Columns of a terminal from which a mapping takes one line."""

NARROW = 33
OBJECTIVES = {"edp": "least energy x cycles", "energy": "least energy", "latency": "fewest cycles"}
TENSORS = {"W": "W weights", "I": "I inputs", "O": "O outputs"}


def print_network(network: MappedNetwork, bind: Mapping[str, int], settings: MapSettings) -> None:
    """Print a mapped network.

    Args:
        network: What was mapped.
        bind: Sizes of its symbolic dims.
        settings: How.
    """
    from hwmodels.mapping.network_rows import operator_rows

    out = console()
    *rows, total = operator_rows(network)
    sizes = ", ".join(f"{name}={size}" for name, size in bind.items())
    where = f"{network.accelerator.name}{', relaxed' if settings.relaxed else ''}"
    what = f"{network.name}{f' ({sizes})' if sizes else ''} on {where}"
    _print_operators(rows, f"{what}: {OBJECTIVES[settings.objective]} of each operator, predicted")
    if len(network.operators) == 1:
        out.print(f"\n{network.operators[0].finding}", soft_wrap=True)
    out.print()
    _print_levels(network, total["energy_j"])
    if network.unmapped:
        out.print()
        _print_unmapped(network, 2.0 * total["macs"])
    out.print()
    for line in _notes(network, total):
        out.print(line, soft_wrap=True)


def _print_operators(rows: Sequence[dict[str, Any]], title: str) -> None:
    rows = [row | {"dims": _long_dims(row["dims"])} for row in rows]
    if console().width >= WIDE:
        header = ["operator", "block", "dims", "runs", "cycles", "bound", "utilization", "energy", "gap", "candidates"]
        cells = [
            [row["operator"], row["block"], row["dims"], f"{row['executions']:g}", si(row["cycles"]), row["bound"],
             f"{row['utilization']:.1%}", si(row["energy_j"], "J"), _gap(row["gap"]), si(row["candidates"])]
            for row in rows
        ]  # fmt: skip
        print_table(header, cells, left=(0, 1, 2, 5), cut=(0, 1), title=title)
        return
    header = ["block or operator\ndims", "cycles\nruns", "utilization\nbound", "energy", "gap, of\nmappings"]
    cells = [
        ["\n".join([short(row["block"] or row["operator"], NARROW), *wrap(row["dims"], NARROW)]),
         f"{si(row['cycles'])}\n{row['executions']:g}", f"{row['utilization']:.1%}\n{row['bound']}",
         si(row["energy_j"], "J"), f"{_gap(row['gap'])}\n{si(row['candidates'])}"]
        for row in rows
    ]  # fmt: skip
    print_table(header, cells, left=(0, 2), cut=(), title=title)


def _long_dims(dims: str) -> str:
    """Leave out the dims of size 1: there is nothing to walk."""
    return " ".join(part for part in dims.split() if not part.endswith("=1")) or dims


def _gap(gap: float) -> str:
    return "proven" if gap <= 0.0 else f"{gap:.2%}"


def _print_levels(network: MappedNetwork, whole_j: float) -> None:
    from hwmodels.mapping.network_rows import TOTAL, level_rows

    rows = [row for row in level_rows(network) if row["operator"] == TOTAL]
    cells = [
        [row["level"], TENSORS[row["tensor"]], *[si(row[name]) for name in ("reads", "fills", "updates")],
         si(row["energy_j"], "J"), f"{row['energy_j'] / whole_j:.1%}"]
        for row in rows
    ]  # fmt: skip
    macs_j = sum(item.executions * item.cost.mac_j for item in network.operators)
    other_j = sum(item.executions * float(item.cost.other_j[0]) for item in network.operators)
    for name, energy in (("MACs", macs_j), ("bias, static power", other_j)):
        if energy:
            cells.append([name, "", "", "", "", si(energy, "J"), f"{energy / whole_j:.1%}"])
    header = ["level", "tensor", "reads", "fills", "updates", "energy", "share"]
    print_table(header, cells, left=(0, 1), title="elements moved and energy, all runs together")


def _print_unmapped(network: MappedNetwork, mapped_flops: float) -> None:
    groups: dict[str, list[float]] = {}
    for item in network.unmapped:
        groups.setdefault(item.reason, []).append(item.flops)
    left = sum(item.flops for item in network.unmapped)
    cells = [[reason, str(len(flops)), si(sum(flops), "FLOP")] for reason, flops in groups.items()]
    title = f"not mapped and not in these numbers: {left / (left + mapped_flops):.1%} of the FLOPs"
    print_table(["reason", "operators", "work"], cells, left=(0,), wrap=(0,), title=title)


def _notes(network: MappedNetwork, total: Mapping[str, Any]) -> list[str]:
    count = len(network.operators)
    runs = f"{total['executions']:g} run{'' if total['executions'] == 1 else 's'}"
    ways = f"{count} mapping{'' if count == 1 else 's'}"
    costs = ", ".join([f"{si(total['cycles'])} cycles", si(total["latency_s"], "s"), si(total["energy_j"], "J")])
    notes = [f"{si(total['macs'], 'MAC')} in {runs} of {ways}: {costs}, utilization {total['utilization']:.1%}"]
    open_ = sum(item.finding.gap > 0 for item in network.operators)
    proof = "proven the best"
    if open_:
        proof = f"{count - open_} of {count} proven the best, the others within {total['gap']:.2%} of it"
    space = _space(network)
    notes.append(f"{proof}{f' among {space}' if space else ''}")
    if network.narrowed_from:
        notes.append(
            f"elements of {network.narrowed_from:g} bit count as the {network.accelerator.operand_bits} bit that "
            f"{network.accelerator.name} takes: quantize the model to run it so"
        )
    if network.waiting:
        notes.append(f"interrupted: {network.waiting} more mappings were not looked for and are in no number above")
    return notes


def _space(network: MappedNetwork) -> str:
    """Say what the searches ranged over, without what differs from one to the next."""
    from hwmodels.mapping import Result

    for item in network.operators:
        if isinstance(item.finding, Result):
            space = item.finding.space
            return (
                f"{space.factors} factors, {space.orders} loop orders, {space.spatial}; {space.conventions} conventions"
            )
    return ""


def print_front(text: str, result: Result, rows: Sequence[dict[str, Any]]) -> None:
    """Print the energy-latency front of an operator.

    Args:
        text: The operator.
        result: Of the search.
        rows: Its points.
    """
    from hwmodels.mapping import mapping_text

    out = console()
    header = ["point", "cycles", "latency", "energy", "energy [J]\nx cycles", "utilization", "bound"]
    cells = [
        [str(row["point"]), f"{row['cycles']:,.0f}", si(row["latency_s"], "s"), si(row["energy_j"], "J"),
         f"{row['edp_j_cycles']:.4g}", f"{row['utilization']:.1%}", row["bound"]]
        for row in rows
    ]  # fmt: skip
    title = f"{text} on {result.accelerator.name}: no mapping beats these in both cycles and energy, predicted"
    print_table(header, cells, left=(6,), cut=(), title=title)
    for name, number in (("fewest cycles", 0), ("least energy", len(result.points) - 1)):
        out.print(f"\npoint {number + 1}, {name}:", style="bold")
        out.print(mapping_text(result.points[number].mapping, result.operator.dims), soft_wrap=True)
        if len(result.points) == 1:
            break
    out.print()
    proof = "the whole front, proven" if result.gap <= 0 else f"not proven: gap {result.gap:.2%}"
    out.print(f"{proof}, among {result.space}", soft_wrap=True)
