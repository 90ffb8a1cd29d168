"""Tables of measurements: columns as in the measured tables, files that appear whole, rows that are found again."""

from __future__ import annotations

import csv
import hashlib
import io
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from .signatures import Signature, family_of

__all__ = ["COLUMNS", "Table", "columns_of", "key_of", "key_of_entry", "write_whole"]

COLUMNS = (
    "device", "op", "name", "count", "batch", "m", "n", "k", "rows", "cols", "bytes", "q_len", "kv_len", "heads",
    "kv_heads", "head_dim", "causal", "page_size", "group", "a_dtype", "w_dtype", "kv_dtype", "framework", "kernel",
    "timing", "source", "latency_us", "lower_us", "upper_us", "best_us", "samples", "calls", "method", "copies",
    "rotating_bytes", "flops", "check_error", "check_ratio", "check_bound", "energy_j", "power_w", "energy_method",
    "energy_window_s", "sm_mhz", "memory_mhz", "temperature_c", "throttle", "gpu", "driver", "power_limit_w", "torch",
    "triton", "cuda", "date", "error", "key",
)  # fmt: skip
"""Of a row. `latency_us` is the median, `lower_us` and `upper_us` the quartiles; `check_ratio` is the largest error
over its bound (1 or less: right); `energy_j` of one execution; `error`: why there is no time; `key`: what a resumed run
knows a row by."""

SOURCE = "measured here"
SIZES = {
    "gemm": ("batch", "m", "n", "k"),
    "attention": ("batch", "q_len", "kv_len", "heads", "kv_heads", "head_dim", "causal", "page_size"),
    "elementwise": ("rows", "cols"),
}


def write_whole(path: Path, text: str) -> None:
    """Write a file beside its place and rename it: readers see the old one or the new one, never a part."""
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    part.write_text(text, encoding="utf-8")
    part.replace(path)


def key_of(signature: Signature, kernel: str) -> str:
    """Give a short name to a signature measured with a kernel, the same in every run."""
    return hashlib.sha256(repr((signature.key(), kernel)).encode()).hexdigest()[:16]


def key_of_entry(entry: Mapping[str, Any]) -> str:
    """Give a short name to an entry that is no signature: its operation has no kernel."""
    return hashlib.sha256(repr(sorted(entry.items())).encode()).hexdigest()[:16]


def columns_of(signature: Signature) -> dict[str, Any]:
    """Give a signature's columns, without sizes of other families."""
    family = family_of(signature.op)
    text = {name: getattr(signature, name) for name in ("op", "name", "count", "a_dtype", "w_dtype", "kv_dtype")}
    found = {**text, **{name: getattr(signature, name) for name in SIZES[family]}}
    if signature.w_dtype in ("int8", "int4", "int3") and signature.w_dtype != signature.a_dtype:
        found["group"] = signature.group
    if signature.op == "rope":
        found["head_dim"] = signature.head_dim
    return found


class Table:
    """A CSV that grows; it has state because a run is interrupted anywhere and must leave what it has.

    Args:
        path: Its file; what is there already is kept.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.rows: list[dict[str, str]] = []
        if path.is_file():
            with path.open(encoding="utf-8", newline="") as file:
                self.rows = list(csv.DictReader(file))

    def known(self) -> set[str]:
        """List what has been measured, or has failed."""
        return {row["key"] for row in self.rows}

    def forget_errors(self) -> None:
        """Take rows of failures out, so that they are tried again."""
        self.rows = [row for row in self.rows if not row["error"]]

    def add(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Append rows and write the file anew."""
        self.rows += [{name: _cell(row.get(name)) for name in COLUMNS} for row in rows]
        out = io.StringIO()
        writer = csv.DictWriter(out, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(self.rows)
        write_whole(self.path, out.getvalue())


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:.6g}"
    return " ".join(str(value).split())


def fields_of(record: Any, *names: str) -> dict[str, Any]:
    """Give some fields of a record as columns."""
    found = asdict(record)
    return {name: found[name] for name in names}
