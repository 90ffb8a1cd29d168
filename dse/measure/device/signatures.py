"""What is to be measured: one kernel's sizes and formats, with the names that the measured tables have for them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

__all__ = ["FAMILIES", "KernelError", "Signature", "family_of", "merged", "read_signatures", "signature_of"]


class KernelError(Exception):
    """A kernel, a signature or an option that cannot be used; the message says which one, and what to change.

    This folder runs where the rest of the project is not installed, so the error is no `DseError`.
    """


FAMILIES: Mapping[str, tuple[str, ...]] = {
    "gemm": ("batch", "m", "n", "k"),
    "attention": ("batch", "q_len", "kv_len", "heads", "kv_heads", "head_dim"),
    "elementwise": ("rows", "cols"),
}
"""Sizes that a signature of a family needs."""

OPS: Mapping[str, str] = {
    **dict.fromkeys(("gemm", "bgemm"), "gemm"),
    **dict.fromkeys(("attention_prefill", "attention_decode"), "attention"),
    **dict.fromkeys(
        ("add", "mul", "relu", "tanh", "gelu", "silu_mul", "rope", "softmax", "layernorm", "rmsnorm"), "elementwise"
    ),
    **dict.fromkeys(("i_softmax", "i_gelu", "i_layernorm"), "elementwise"),
}
"""Family of each operation; `i_` are the integer-only functions of I-BERT."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Signature:
    """One kernel to measure. Columns as in the measured tables; sizes of other families are 0.

    Attributes:
        op: Key of `OPS`.
        batch: Products of a `bgemm`, sequences of an attention.
        m: Rows of the activations.
        n: Output features.
        k: Input features.
        rows: Of an element-wise tensor; of rope tokens.
        cols: Of an element-wise tensor; of rope the heads of queries and keys times `head_dim`.
        q_len: Queries of a sequence.
        kv_len: Keys of a sequence, the new ones included.
        heads: Query heads.
        kv_heads: Key heads.
        head_dim: Elements of a head.
        causal: 1: a query sees only what is before it.
        page_size: Tokens of a page of the cache; 0: the cache is one piece.
        group: Input features that share a scale of a 3- or 4-bit weight.
        a_dtype: Of activations: "bf16", "fp8", "int8", "int32".
        w_dtype: Of weights: also "int4", "int3", "lut4", "lut3", "lut4+csr", "bf16_2:4".
        kv_dtype: Of the cache: also "int8", "fp8".
        name: Where it comes from: "bert-base l=128 b=8: ffn up".
        count: How often the workload runs it.
    """

    op: str
    batch: int = 1
    m: int = 0
    n: int = 0
    k: int = 0
    rows: int = 0
    cols: int = 0
    q_len: int = 0
    kv_len: int = 0
    heads: int = 0
    kv_heads: int = 0
    head_dim: int = 0
    causal: int = 0
    page_size: int = 0
    group: int = 128
    a_dtype: str = "bf16"
    w_dtype: str = ""
    kv_dtype: str = ""
    name: str = ""
    count: float = 1.0

    @property
    def second(self) -> str:
        """Format of the weights or of the cache; "": none."""
        return self.w_dtype or self.kv_dtype

    def key(self) -> tuple[Any, ...]:
        """Give what tells two signatures apart: all but name and count."""
        return tuple(value for field, value in asdict(self).items() if field not in ("name", "count"))


def family_of(op: str) -> str:
    """Give the family of an operation.

    Raises:
        KernelError: There is no kernel for it.

    Example:
        >>> family_of("bgemm")
        'gemm'
    """
    if op not in OPS:
        raise KernelError(f"no kernel for op {op!r}; there are {', '.join(OPS)}")
    return OPS[op]


def signature_of(columns: Mapping[str, Any]) -> Signature:
    """Make a signature of a mapping; columns that it does not know are left out, absent formats follow `a_dtype`.

    Raises:
        KernelError: An unknown operation, or a size that is missing or no whole number above zero.

    Example:
        >>> signature_of({"op": "gemm", "m": 16, "n": 64, "k": 32, "a_dtype": "fp16", "source": "mine"}).w_dtype
        'fp16'
    """
    family = family_of(str(columns.get("op", "")))
    known: dict[str, Any] = {}
    for field in fields(Signature):
        value = columns.get(field.name)
        if value is None or value == "" or value != value:  # an empty cell of a table reads as NaN
            continue
        try:
            known[field.name] = float(value) if field.type == "float" else int(value) if field.type == "int" else value
        except (TypeError, ValueError):
            raise KernelError(f"{columns['op']}: {field.name}={value!r} is no number") from None
    a_dtype = known.get("a_dtype", "bf16")
    if family == "gemm":
        known.setdefault("w_dtype", a_dtype)
    if family == "attention":
        known.setdefault("kv_dtype", a_dtype)
        known.setdefault("kv_heads", known.get("heads", 0))
        known.setdefault("q_len", 1)
    known.setdefault("batch", 1)
    missing = [name for name in FAMILIES[family] if known.get(name, 0) < 1]
    if missing:
        raise KernelError(f"{columns['op']}: give whole numbers above zero for {', '.join(missing)}")
    return Signature(**known)


def read_signatures(path: str | Path) -> tuple[list[Signature], list[dict[str, Any]]]:
    """Read a JSON list of signatures; equal ones become one, with their counts added.

    Returns:
        The signatures; and the entries whose operation has no kernel, with the reason as `error`.

    Raises:
        KernelError: No such file, no JSON list, or sizes that cannot be used; the message gives the entry's place.
    """
    try:
        content = json.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise KernelError(f"cannot read signatures from {str(path)!r}: {error}") from None
    if not isinstance(content, list) or not all(isinstance(item, dict) for item in content):
        raise KernelError(f"{path}: signatures are a JSON list of objects with op and sizes")
    found, unknown = [], []
    for place, item in enumerate(content):
        try:
            if item.get("op") in OPS:
                found.append(signature_of(item))
            else:
                family_of(str(item.get("op", "")))
        except KernelError as error:
            if item.get("op") in OPS:
                raise KernelError(f"{path}, entry {place}: {error}") from None
            unknown.append({**item, "error": str(error)})
    return merged(found), unknown


def merged(signatures: Iterable[Signature]) -> list[Signature]:
    """Make equal signatures one, with their counts added; the first name stays.

    Example:
        >>> one = Signature(op="add", rows=2, cols=2, name="a")
        >>> [item.count for item in merged([one, one])]
        [2.0]
    """
    kept: dict[tuple[Any, ...], dict[str, Any]] = {}
    for item in signatures:
        if item.key() in kept:
            kept[item.key()]["count"] += item.count
        else:
            kept[item.key()] = asdict(item)
    return [Signature(**columns) for columns in kept.values()]
