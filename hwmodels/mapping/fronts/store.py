"""Fronts on disk: an operator on a make of devices is solved once, in whatever run."""

from __future__ import annotations

import hashlib
import json
import zipfile
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from hwmodels.mapping.counting import count_moves
from hwmodels.mapping.fronts.answers import Opened
from hwmodels.mapping.fronts.chains import Chains
from hwmodels.mapping.fronts.costs import totals
from hwmodels.mapping.fronts.knobs import NUMBERS
from hwmodels.mapping.fronts.lookup import Front
from hwmodels.mapping.fronts.rows import Make, rows_of
from hwmodels.mapping.fronts.thinning import Box
from hwmodels.mapping.records import MappingBatch, Slot, Structure
from hwmodels.spatial import Accelerator
from workloads.errors import MappingError, StoreError
from workloads.operator import Operator
from workloads.zoo.fetch import write_by_rename

__all__ = ["front_key", "read_front", "write_front"]

EDITION = 2
"""Of fronts: raised when their rows or what they hold change."""

COUNTED = 4
"""Rows of the first mappings of a file that are counted anew when it is read: another cost model shows in any."""

BOX = ("least_j", "most_j", "least_rate", "even_j", "even_rate")


def front_key(operator: Operator, accelerator: Accelerator) -> str:
    """Give what a front is known by: the operator's signature, and the make of the devices with its largest capacities.

    Args:
        operator: Scalar.
        accelerator: With the largest capacities that are asked for.
    """
    device: dict[str, Any] = asdict(accelerator)
    for level in device["levels"]:
        for name in NUMBERS:
            level[name] = level[name] if name in ("capacity_words", "partitions") else level[name] is None
    kept = {name: device[name] for name in ("levels", "macs_per_cycle", "operand_bits", "acc_bits", "conventions")}
    asked = [EDITION, repr(operator.signature()), kept]
    return hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()[:32]


def write_front(path: Path, front: Front) -> None:
    """Write what was found of a front.

    Raises:
        StoreError: The folder cannot be written.
    """
    assert front.box is not None
    arrays: dict[str, Any] = {name: getattr(front.box, name) for name in BOX}
    parts: list[dict[str, Any]] = []

    def put(vector: int, part: int, **further: Any) -> None:
        number, chains = len(parts), front.parts[part]
        found = {"table": chains.table, "batch": chains.batch, "row": chains.row, **further}
        arrays.update({f"{number} {name}": array for name, array in found.items()})
        arrays.update({f"{number} steps {at}": batch.steps for at, batch in enumerate(chains.batches)})
        parts.append({"vector": vector, "structures": [asdict(batch.structure) for batch in chains.batches]})

    for vector, (opened, part) in front.opened.items():
        if opened.box is front.box:
            put(vector, part, kept=opened.kept, cover=opened.cover)
    for vector, looked in front.looked.items():
        for tiles, part in looked:
            put(vector, part, tiles=tiles)
    head = {"edition": EDITION, "parts": parts, "digest": _digest(arrays)}
    arrays["head"] = np.frombuffer(json.dumps(head).encode(), dtype=np.uint8)

    def write(part: Path) -> None:
        with part.open("wb") as file:
            np.savez_compressed(file, **arrays)

    try:
        write_by_rename(path, write)
    except OSError as error:
        raise StoreError(
            f"{path.parent}: cannot keep fronts there ({error.strerror}); name another folder, or none"
        ) from error


def read_front(path: Path, front: Front) -> bool:
    """Take what a file says into a front that nothing is solved of yet, if it is whole and the cost model agrees.

    Returns:
        Whether it was.
    """
    try:
        with path.open("rb") as opened_file, np.load(opened_file, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
        head = json.loads(arrays.pop("head").tobytes())
        if head["edition"] != EDITION or head["digest"] != _digest(arrays):
            return False
        box = Box(*(arrays[name] for name in BOX))
        found = [_chains(arrays, number, part["structures"]) for number, part in enumerate(head["parts"])]
        _count_some(found[0], front.make)
    except (OSError, ValueError, KeyError, TypeError, IndexError, EOFError, zipfile.BadZipFile, MappingError):
        return False
    front.box = box
    for number, (part, chains) in enumerate(zip(head["parts"], found, strict=True)):
        vector, place = int(part["vector"]), len(front.parts)
        front.parts.append(chains)
        if f"{number} tiles" in arrays:
            front.looked.setdefault(vector, []).append((arrays[f"{number} tiles"], place))
            continue
        kept, cover = arrays[f"{number} kept"], arrays[f"{number} cover"]
        front.opened[vector] = Opened(kept, cover, totals(front.make.layout, chains.table[kept]), box), place
    return True


def _chains(arrays: dict[str, Any], number: int, structures: list[dict[str, Any]]) -> Chains:
    """Give mappings."""
    batches = tuple(
        MappingBatch(
            Structure(
                tuple(one["levels"]),
                tuple(map(tuple, one["keeps"])),
                tuple(Slot(**slot) for slot in one["slots"]),
            ),
            arrays[f"{number} steps {at}"],
        )
        for at, one in enumerate(structures)
    )
    table, batch, row = (arrays[f"{number} {name}"] for name in ("table", "batch", "row"))
    return Chains(table, batches, batch, row)


def _count_some(chains: Chains, make: Make) -> None:
    """Count some mappings anew.

    Raises:
        ValueError: The file says something else.
    """
    for place in np.linspace(0, len(chains) - 1, min(COUNTED, len(chains))).astype(int):
        one = chains.batches[int(chains.batch[place])]
        steps = one.steps[int(chains.row[place])][None]
        counts = count_moves(make.problem, make.accelerator, make.rules, one.structure, steps)
        if not np.array_equal(rows_of(make, one.structure, counts)[0], chains.table[place]):
            raise ValueError("another cost model")


def _digest(arrays: dict[str, Any]) -> str:
    found = hashlib.sha256()
    for name in sorted(arrays):
        found.update(f"{name} {arrays[name].dtype} {arrays[name].shape}".encode())
        found.update(np.ascontiguousarray(arrays[name]).tobytes())
    return found.hexdigest()
