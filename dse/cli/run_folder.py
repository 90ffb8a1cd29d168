"""The folder of a run: batches on disk as they are costed, so that an interrupted sweep goes on where it was.

Resume is replay: the search is run again with the same seed, and every batch that is on disk is answered from there.
A batch is found by its genes, so a larger budget or another constraint continues a run too.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import tomllib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dse.cli.sweep_config import SweepConfig
from dse.files import atomic_write, output_folder
from workloads.errors import StoreError

__all__ = ["RunFolder", "open_run", "run_record", "to_toml"]


@dataclass(frozen=True, slots=True)
class RunFolder:
    """A run folder.

    Attributes:
        path: The folder.
    """

    path: Path

    def map(self, evaluate: Callable[[Any], Mapping[str, NDArray[Any]]], chunks: Iterable[Any]) -> Iterator[Any]:
        """Cost batches like the built-in `map`, but keep each on disk, and take it from there if it is."""
        for genes in chunks:
            name = hashlib.sha256(np.ascontiguousarray(genes).tobytes()).hexdigest()[:24]
            part = self.path / "parts" / f"{name}.npz"
            if part.is_file():
                with np.load(part) as stored:
                    yield dict(stored)
                continue
            columns = evaluate(genes)
            with atomic_write(part) as target:
                np.savez(target, allow_pickle=False, **columns)
            yield columns

    def write_record(self, record: Mapping[str, Any]) -> None:
        """Write run.toml."""
        with atomic_write(self.path / "run.toml") as part:
            part.write_text(to_toml(record), encoding="utf-8")

    def finish(self) -> None:
        """Remove the batches: the results hold them."""
        shutil.rmtree(self.path / "parts", ignore_errors=True)


def open_run(path: Path, config: SweepConfig, *, resume: bool) -> RunFolder:
    """Start a run in a folder, or go on with the one that is there.

    Raises:
        StoreError: The folder cannot be written; or there is nothing to resume, or it was another run.
    """
    record = path / "run.toml"
    identity = _identity(config)
    if resume:
        _check_same(record, identity)
    run = RunFolder(output_folder(path))
    if not resume:
        run.finish()
    run.write_record({"status": "running", "identity": identity})
    return run


def _check_same(record: Path, identity: Mapping[str, str]) -> None:
    if not record.is_file():
        raise StoreError(f"--resume: there is no run in {str(record.parent)!r}; leave out --resume to start one")
    try:
        before = tomllib.loads(record.read_text(encoding="utf-8"))["identity"]
    except (tomllib.TOMLDecodeError, KeyError):
        raise StoreError(f"--resume: {record} is no record of a run; start anew without --resume") from None
    changed = [name for name in identity if before.get(name) != identity[name]]
    if changed:
        was, now = before.get(changed[0], "nothing"), identity[changed[0]]
        raise StoreError(
            f"--resume: {changed[0]} changed since the run in {str(record.parent)!r}: it was {was}, it is {now}; "
            "change it back, or start anew with another --out"
        )


def _identity(config: SweepConfig) -> dict[str, str]:
    """Give what determines the columns of a batch: the model, every knob, every device."""
    from dse.cli.inputs import device

    identity = {"model": ", ".join(work.digest() for work in config.workloads.values())}
    for name, knob in config.space.to_dict().items():
        identity[f"space.{name}"] = json.dumps(knob)
    names = config.space.knobs["device"].values if "device" in config.space.knobs else ("h100-sxm",)
    for name in names:
        found = device(name)
        plain = [(entry.name, np.asarray(getattr(found, entry.name)).tolist()) for entry in fields(found)]
        identity[f"device.{found.name}"] = hashlib.sha256(repr(plain).encode()).hexdigest()[:16]
    return identity


def to_toml(record: Mapping[str, Any], path: str = "") -> str:
    """Write nested mappings of text, numbers and lists as TOML.

    Example:
        >>> print(to_toml({"seed": 1, "search": {"method": "random"}}))
        seed = 1
        <BLANKLINE>
        [search]
        method = "random"
        <BLANKLINE>
    """
    own = [f"{_key(key)} = {_value(item)}" for key, item in record.items() if not isinstance(item, Mapping)]
    text = "\n".join([*([f"[{path}]"] if path and own else []), *own, ""]) if own else ""
    for key, item in record.items():
        if isinstance(item, Mapping):
            below = to_toml(item, f"{path}.{_key(key)}" if path else _key(key))
            text += ("\n" if text and below else "") + below
    return text


def _key(name: str) -> str:
    return name if name.replace("_", "").replace("-", "").isalnum() and name.isascii() else json.dumps(name)


def _value(item: Any) -> str:
    if isinstance(item, list | tuple):
        return f"[{', '.join(_value(part) for part in item)}]"
    if isinstance(item, bool):
        return "true" if item else "false"
    return json.dumps(item, ensure_ascii=False) if isinstance(item, str) else repr(item)


def run_record(config: SweepConfig, points: int, on_front: int, seconds: float) -> dict[str, Any]:
    """Give what run.toml says of a finished sweep: settings, digests, versions, sources."""
    from datetime import UTC, datetime
    from importlib.metadata import PackageNotFoundError, version

    from dse.cli.inputs import device

    try:
        tool = version("fullstack-dse")
    except PackageNotFoundError:
        tool = "source tree"
    knobs = config.space.to_dict()
    sources = {
        found.name: {group: f"{citation.source} ({citation.origin})" for group, citation in found.sources.items()}
        for found in (device(name) for name in knobs.get("device", ["h100-sxm"]))
    }
    return {
        "status": "finished",
        "written": datetime.now(UTC).isoformat(timespec="seconds"),
        "version": tool,
        "numpy": version("numpy"),
        "points": points,
        "on_front": on_front,
        "seconds": round(seconds, 3),
        "model": {"path": config.source.path.name, "bind": dict(config.source.bind)},
        "search": {
            "method": config.method,
            "minimize": list(config.minimize),
            "budget": config.budget,
            "seed": config.seed,
        },
        "space": knobs,
        "constraints": {
            name: {end: value for end, value in zip(("min", "max"), bound, strict=True) if value is not None}
            for name, bound in config.bounds.items()
        },
        "identity": _identity(config),
        "sources": sources,
    }
