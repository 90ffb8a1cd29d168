"""Runs that survive a crash: a directory with `run.toml` and Parquet parts, each written by rename.

Resume is replay: the search runs again from the same seed, and what it proposes is answered from the parts as far as
they reach. A part holds the genes of one batch next to its columns, so a search that proposes other points is noticed.
"""

from __future__ import annotations

import platform
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dse.files import atomic_write, output_folder
from dse.knobs import Genes
from workloads.errors import StoreError

__all__ = ["Part", "load_part", "open_run", "read_run", "save_part"]

RUN_FILE = "run.toml"
_GENE = "gene[{}]"
NOT_COMPARED = ("sources", "versions")
"""What `run.toml` tells a reader but does not hold a resumed run to."""
Columns = dict[str, NDArray[Any]]


@dataclass(frozen=True, slots=True, eq=False)
class Part:
    """One stored batch.

    Attributes:
        genes: Shape (n_points, genes).
        columns: Column name to values, shape (n_points,) each.
    """

    genes: Genes
    columns: Columns


def open_run(folder: Path, description: Mapping[str, Any]) -> dict[str, Any]:
    """Start a run directory, or check that one belongs to the same search.

    Args:
        folder: Made if it is not there.
        description: What determines the run: strings, numbers, and tables and lists of them.

    Returns:
        The description as it is stored: of the first start, with the versions of that time.

    Raises:
        StoreError: The directory belongs to another run; the message names the field that changed.
    """
    path = folder / RUN_FILE
    if path.exists():
        stored = read_run(folder)
        for name in dict.fromkeys([*description, *stored]):
            before, now = stored.get(name), _plain(description.get(name))
            if name not in NOT_COMPARED and before != now:
                raise StoreError(_changed(folder, name, before, now))
        return stored
    output_folder(folder)
    if any(folder.glob("part-*.parquet")):
        raise StoreError(f"{folder} holds parts but no {RUN_FILE}; give another directory, or remove the parts")
    whole: dict[str, Any] = {name: _plain(value) for name, value in description.items()}
    whole["versions"] = {"python": platform.python_version(), "numpy": np.__version__}
    with atomic_write(path) as part:
        part.write_text(_toml(whole), encoding="utf-8")
    return whole


def read_run(folder: Path) -> dict[str, Any]:
    """Read the description of a run.

    Raises:
        StoreError: There is none, or it is not TOML.
    """
    path = folder / RUN_FILE
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise StoreError(f"cannot read {path}: {error.strerror or error}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise StoreError(f"{path} is damaged: {error}; remove the directory to start anew") from error


def save_part(folder: Path, number: int, part: Part) -> None:
    """Write one batch: genes as gene[0], gene[1], ..., then its columns."""
    import pyarrow
    from pyarrow import parquet

    genes = dict(zip(map(_GENE.format, range(part.genes.shape[1])), np.ascontiguousarray(part.genes.T), strict=True))
    taken = genes.keys() & part.columns.keys()
    if taken:
        raise StoreError(f"the model's column {min(taken)!r} has the name of a stored gene; give it another")
    with atomic_write(_path(folder, number)) as path:
        parquet.write_table(pyarrow.table({**genes, **part.columns}), path)


def load_part(folder: Path, number: int, genes: int) -> Part | None:
    """Read one batch; None where the run has not come so far.

    Args:
        folder: Of the run.
        number: Of the batch.
        genes: Number of genes of the space.

    Raises:
        StoreError: The file is damaged.
    """
    path = _path(folder, number)
    if not path.exists():
        return None
    from pyarrow import ArrowException, parquet

    try:
        table = parquet.read_table(path)
        columns = {name: table.column(name).to_numpy() for name in table.column_names}
        stored = np.stack([columns.pop(_GENE.format(index)) for index in range(genes)], axis=1)
    except (OSError, ArrowException, KeyError) as error:
        raise StoreError(f"{path} is damaged: {error}; remove it, and its points are costed again") from error
    return Part(stored, columns)


def _path(folder: Path, number: int) -> Path:
    return folder / f"part-{number:06d}.parquet"


def _changed(folder: Path, name: str, before: Any, now: Any) -> str:
    if isinstance(before, Mapping) and isinstance(now, Mapping):
        key = next(key for key in {**before, **now} if before.get(key) != now.get(key))
        return _changed(folder, f"{name}.{key}", before.get(key), now.get(key))
    return (
        f"{folder} holds another run: {name} was {_short(before)} and is now {_short(now)}. Give another directory, or "
        "what it was started with"
    )


def _short(value: Any) -> str:
    text = "absent" if value is None else repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."


def _plain(value: Any) -> Any:
    """Turn a value into what TOML gives back."""
    if isinstance(value, Mapping):
        return {str(name): _plain(item) for name, item in value.items() if item is not None}
    if isinstance(value, tuple | list):
        return [_plain(item) for item in value]
    return value.item() if isinstance(value, np.generic) else value


def _toml(table: Mapping[str, Any]) -> str:
    """Write TOML: one key a line, tables inline."""
    return "".join(f"{_key(name)} = {_toml_value(value)}\n" for name, value in table.items() if value is not None)


def _toml_value(value: Any) -> str:
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{_key(name)} = {_toml_value(item)}" for name, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_toml_value, value)) + "]"
    if isinstance(value, bool):
        return "true" if value else "false"
    return _key(value) if isinstance(value, str) else repr(value)


def _key(text: str) -> str:
    """Quote a string as TOML's basic strings do."""
    escaped = (f"\\u{ord(c):04x}" if ord(c) < 32 or ord(c) == 127 or c in '"\\' else c for c in text)
    return f'"{"".join(escaped)}"'
