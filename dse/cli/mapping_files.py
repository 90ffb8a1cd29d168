"""Files of `dse map --out`: tables, mappings in text that parses back, pictures."""

from __future__ import annotations

import csv
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dse.files import atomic_write

if TYPE_CHECKING:
    from hwmodels.mapping import Mapping, Traffic
    from hwmodels.mapping.network import MappedNetwork
    from workloads.operator import Operator

__all__ = ["file_stem", "write_mapping", "write_network", "write_rows"]

MAPPINGS = "mappings"
"""Folder of the mappings, below that of the tables."""


def write_rows(rows: Sequence[dict[str, Any]], path: Path, columns: Sequence[str] = ()) -> None:
    """Write a CSV file by rename.

    Args:
        rows: All with the same keys.
        path: Where.
        columns: Default: the keys of the first row.
    """
    with atomic_write(path) as part, part.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, columns or list(rows[0] if rows else ()), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def file_stem(number: int, name: str) -> str:
    """Give the name of a mapping's files, without suffix.

    Example:
        >>> file_stem(3, "/encoder/layer.0/MatMul")
        '03-encoder_layer.0_MatMul'
    """
    words = re.sub(r"[^\w.-]+", "_", name).strip("_.")
    return f"{number:02}-{words[-80:] or 'operator'}"


def write_mapping(folder: Path, stem: str, operator: Operator, mapping: Mapping, cost: Traffic, draw: bool) -> None:
    """Write one mapping as text, and draw it.

    Args:
        folder: That of the tables.
        stem: Of its files.
        operator: What is mapped.
        mapping: How.
        cost: Of this mapping alone.
        draw: Whether to draw its loop nest and its traffic.
    """
    from dse import plots
    from hwmodels.mapping import mapping_text

    with atomic_write(folder / MAPPINGS / f"{stem}.txt") as part:
        part.write_text(mapping_text(mapping, operator.dims) + "\n", encoding="utf-8")
    if draw:
        plots.loop_nest(operator, mapping, cost, folder / MAPPINGS / f"{stem}-nest.png")
        title = f"{operator.name}: traffic of one execution"
        plots.level_traffic(cost, folder / MAPPINGS / f"{stem}-traffic.png", title)


def write_network(folder: Path, network: MappedNetwork) -> None:
    """Write the tables of a network, and draw the traffic of all of it.

    Args:
        folder: Where.
        network: What was mapped.
    """
    from dse import plots
    from hwmodels.mapping.network_rows import level_rows, operator_rows

    *rows, total = operator_rows(network)
    files = [f"{MAPPINGS}/{file_stem(number, row['operator'])}.txt" for number, row in enumerate(rows, start=1)]
    named = [{**row, "mapping": file} for row, file in zip(rows, files, strict=True)]
    write_rows([*named, {**total, "mapping": ""}], folder / "operators.csv")
    write_rows(level_rows(network), folder / "levels.csv")
    left = [
        {"operator": item.name, "op_type": item.op_type, "flops": item.flops, "reason": item.reason}
        for item in network.unmapped
    ]
    write_rows(left, folder / "unmapped.csv", ("operator", "op_type", "flops", "reason"))
    plots.network_traffic(network, folder / "traffic.png")
