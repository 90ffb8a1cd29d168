"""Ended runs of CACTI on disk: keyed by what was asked and by the binary, read only if whole."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path

from workloads.errors import MeasureError, StoreError
from workloads.zoo.fetch import sha256_of, write_by_rename

__all__ = ["Outcome", "digest_of", "keep", "kept"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """An ended run, as it was; readers of a later edition read it anew.

    Attributes:
        status: Exit status; negative: the signal.
        table: The `.out` file, "" if there was none.
        printed: Standard output.
        said: Standard error.
    """

    status: int
    table: str
    printed: str
    said: str


def digest_of(program: Path, technologies: Path, text: str) -> str:
    """Give the key of a run: the binary, its technology files and the input file decide the result.

    Args:
        program: The binary.
        technologies: Its folder `tech_params`; need not be there.
        text: The input file.

    Raises:
        MeasureError: The binary cannot be read.
    """
    try:
        parts = [sha256_of(program)]
        parts += [f"{file.name} {sha256_of(file)}" for file in sorted(technologies.glob("*.dat"))]
    except OSError as error:
        raise MeasureError(f"{error.filename}: cannot be read ({error.strerror})") from error
    return hashlib.sha256("\n".join([*parts, text]).encode()).hexdigest()[:32]


def keep(folder: Path, key: str, text: str, outcome: Outcome) -> None:
    """Write an ended run, under its name only when it is whole.

    Args:
        folder: Of the cache.
        key: Of the run.
        text: The input file, for people who look into the cache.
        outcome: How it ended.

    Raises:
        StoreError: The folder cannot be written.
    """
    data = {"input": text, **asdict(outcome)}
    whole = json.dumps({"sha256": _sum(data), **data}, indent=1)
    try:
        write_by_rename(folder / f"{key}.json", lambda part: part.write_text(whole, encoding="utf-8"))
    except OSError as error:
        raise StoreError(
            f"{folder}: cannot keep results of CACTI there ({error.strerror}); name another folder, or None"
        ) from error


def kept(folder: Path, key: str, text: str) -> Outcome | None:
    """Read an ended run; None if it is not there, not whole, or of another input.

    Args:
        folder: Of the cache.
        key: Of the run.
        text: The input file.
    """
    try:
        data = json.loads((folder / f"{key}.json").read_text(encoding="utf-8"))
        if data.pop("sha256") != _sum(data) or data.pop("input") != text:
            return None
        return Outcome(**data)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None


def _sum(data: dict[str, object]) -> str:
    return hashlib.sha256(json.dumps(data, sort_keys=True).encode()).hexdigest()
