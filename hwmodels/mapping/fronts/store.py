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

EDITION = 1
"""Of fronts: raised when their rows or what they hold change."""

COUNTED = 32
"""Rows of a file that are counted anew: they have to agree with the cost model of today."""

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
    """Write the spatial vectors of a front that are solved as a whole.

    Raises:
        StoreError: The folder cannot be written.
    """
    assert front.box is not None
    solved = {vector: pair for vector, pair in front.opened.items() if pair[0].box is front.box}
    arrays: dict[str, Any] = {name: getattr(front.box, name) for name in BOX}
    structures = []
    for vector, (opened, part) in solved.items():
        chains = front.parts[part]
        arrays |= {
            f"{vector} table": chains.table,
            f"{vector} batch": chains.batch,
            f"{vector} row": chains.row,
            f"{vector} kept": opened.kept,
            f"{vector} cover": opened.cover,
        }
        arrays |= {f"{vector} steps {number}": batch.steps for number, batch in enumerate(chains.batches)}
        structures.append([vector, [asdict(batch.structure) for batch in chains.batches]])
    head = {"edition": EDITION, "vectors": structures, "digest": _digest(arrays)}
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
        found = [_vector(arrays, int(vector), structures, front.make, box) for vector, structures in head["vectors"]]
    except (OSError, ValueError, KeyError, TypeError, IndexError, EOFError, zipfile.BadZipFile, MappingError):
        return False
    front.box = box
    for (vector, _), (opened, chains) in zip(head["vectors"], found, strict=True):
        front.parts.append(chains)
        front.opened[int(vector)] = opened, len(front.parts) - 1
    return True


def _vector(
    arrays: dict[str, Any], vector: int, structures: list[dict[str, Any]], make: Make, box: Box
) -> tuple[Opened, Chains]:
    batches = tuple(
        MappingBatch(
            Structure(
                tuple(one["levels"]),
                tuple(map(tuple, one["keeps"])),
                tuple(Slot(**slot) for slot in one["slots"]),
            ),
            arrays[f"{vector} steps {number}"],
        )
        for number, one in enumerate(structures)
    )
    table, batch, row, kept, cover = (arrays[f"{vector} {name}"] for name in ("table", "batch", "row", "kept", "cover"))
    chains = Chains(table, batches, batch, row)
    for place in np.linspace(0, len(chains) - 1, min(COUNTED, len(chains))).astype(int):
        one = batches[int(batch[place])]
        steps = one.steps[int(row[place])][None]
        counts = count_moves(make.problem, make.accelerator, make.rules, one.structure, steps)
        if not np.array_equal(rows_of(make, one.structure, counts)[0], table[place]):
            raise ValueError("another cost model")
    return Opened(kept, cover, totals(make.layout, table[kept]), box), chains


def _digest(arrays: dict[str, Any]) -> str:
    found = hashlib.sha256()
    for name in sorted(arrays):
        found.update(f"{name} {arrays[name].dtype} {arrays[name].shape}".encode())
        found.update(np.ascontiguousarray(arrays[name]).tobytes())
    return found.hexdigest()
