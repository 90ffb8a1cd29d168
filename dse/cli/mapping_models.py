"""`dse map MODEL` and `dse map OPERATOR`: search, write, print; an interrupt leaves what is finished."""

from __future__ import annotations

import json
from collections.abc import Collection, Set
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dse.cli.mapping_engines import whole_run
from dse.cli.mapping_files import file_stem, write_mapping, write_network, write_rows
from dse.cli.mapping_operators import parse_operator
from dse.cli.mapping_records import front_rows, network_record
from dse.cli.mapping_tables import print_front, print_network
from dse.cli.output import console, progress_bar
from dse.cli.profiling_machines import plain, print_engines
from dse.files import reserved_folder
from workloads.errors import MappingError, nearest

if TYPE_CHECKING:
    from dse.cli.mapping_settings import MapSettings
    from hwmodels.mapping.network import MappedNetwork
    from workloads.workload import Program, Workload

__all__ = ["map_network_of", "map_operator"]


def map_operator(text: str, settings: MapSettings) -> None:
    """Map one operator: the best mapping, or the whole front.

    Args:
        text: gemm:M=512,N=768,K=768.
        settings: How.

    Raises:
        MappingError: It is no operator, or nothing fits.
    """
    from workloads.workload import Workload

    operator = parse_operator(text)
    if settings.objective == "pareto":
        _map_front(text, settings)
    else:
        map_network_of(Workload(name=text, operators=(operator,)), settings)


def map_network_of(work: Workload | Program, settings: MapSettings) -> None:
    """Map every matrix operator of a network; write and print what was found, also if interrupted.

    Args:
        work: Scalar.
        settings: How.

    Raises:
        MappingError: Nothing can be mapped, or there is no such operator to draw.
        KeyboardInterrupt: After what is finished has been written.
    """
    drawn = _to_draw(work, settings.draw)
    with nullcontext() if settings.out is None else reserved_folder(settings.out) as folder:
        found: list[MappedNetwork] = []
        try:
            _search(work, settings, folder, drawn, found)
        except KeyboardInterrupt:
            if not found or not found[-1].operators:
                raise
            _finish(work, settings, folder, found[-1])
            raise
        _finish(work, settings, folder, found[-1])


def _search(
    work: Workload | Program,
    settings: MapSettings,
    folder: Path | None,
    drawn: Set[str],
    found: list[MappedNetwork],
) -> None:
    """Map the operators one after another, and write each mapping; append the network as far as it is finished."""
    from hwmodels.mapping.network import partly_mapped

    with progress_bar("mapping operators") as bar:
        for done, network in enumerate(partly_mapped(work, settings.accelerator, settings.finder()), start=1):
            number, before = len(network.operators), len(found[-1].operators) if found else 0
            found.append(network)
            if folder is not None and number > before:
                item = network.operators[-1]
                stem = file_stem(number, item.names[0])
                draw = not drawn.isdisjoint(item.names)
                write_mapping(folder, stem, item.operator, item.finding.mapping, item.cost, draw)
            bar(done, done + network.waiting)


def _to_draw(work: Workload | Program, draw: str) -> Set[str]:
    """Give the names of the operators whose mappings are drawn."""
    from hwmodels.mapping.network import PRODUCTS

    products = [op for op in work.operators if op.kind in PRODUCTS]
    if draw in ("all", "none"):
        return {op.name for op in products} if draw == "all" else set()
    chosen = {op.name for op in products if draw in (op.name, op.block)}
    if not chosen:
        raise MappingError(
            f"--draw {draw!r}: no matrix operator of {work.name} has this name or block; "
            f"{nearest(draw, [op.name for op in products], 'dse map without --draw lists them')}"
        )
    return chosen


def _finish(work: Workload | Program, settings: MapSettings, folder: Path | None, network: MappedNetwork) -> None:
    from hwmodels.machines.rows import engine_rows, task_rows

    run, why = whole_run(work, network, settings)
    files = ["operators.csv", "levels.csv", "unmapped.csv", "traffic.png", "mappings/"]
    if folder is not None:
        write_network(folder, network)
        if run is not None:
            write_rows(task_rows(run), folder / "tasks.csv")
            write_rows(engine_rows(run), folder / "engines.csv")
            files += ["tasks.csv", "engines.csv"]
    if settings.as_json:
        record = network_record(network, work.bindings, settings)
        record["engines"] = [] if run is None else plain(engine_rows(run))
        print(json.dumps(record, indent=1, allow_nan=False))
        return
    print_network(network, work.bindings, settings)
    if run is not None:
        console().print()
        print_engines(engine_rows(run), "whole network by engine (dse profile: tensors on chip, traffic, energy, area)")
    elif why:
        console().print(f"whole network: {why}", soft_wrap=True)
    if folder is not None:
        _say_written(folder, files)


def _map_front(text: str, settings: MapSettings) -> None:
    from dse import plots
    from hwmodels.mapping import narrowed

    operator, bits = parse_operator(text), settings.accelerator.operand_bits
    result = settings.finder()(operator if bits is None else narrowed(operator, bits))
    rows = front_rows(result)
    if settings.out is not None:
        with reserved_folder(settings.out) as folder:
            for number, point in enumerate(result.points, start=1):
                draw = settings.draw in ("all", operator.name)
                write_mapping(folder, file_stem(number, operator.name), operator, point.mapping, point.cost, draw)
            write_rows(rows, folder / "front.csv")
            columns = {name: [row[name] for row in rows] for name in ("cycles", "energy_j")}
            title = f"{text} on {settings.accelerator.name}: no mapping beats these in both"
            plots.pareto(columns, "cycles", "energy_j", folder / "front.png", title=title)
    if settings.as_json:
        record: dict[str, Any] = {"operator": text, "device": settings.accelerator.name, "objective": "pareto"}
        record |= {"gap": result.gap, "space": str(result.space), "points": rows}
        print(json.dumps(record, indent=1, allow_nan=False))
        return
    print_front(text, result, rows)
    if settings.out is not None:
        _say_written(settings.out, ["front.csv", "front.png", "mappings/"])


def _say_written(folder: Path, files: Collection[str]) -> None:
    console().print(f"written to {folder}: {', '.join(files)}", soft_wrap=True)
