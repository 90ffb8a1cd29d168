"""A mutated file for every seed: the same one, always."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import onnx
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]

from tests.fuzz.bases import BASES, Base, model_bytes
from tests.fuzz.bombs import BOMBS
from tests.fuzz.operators import OPERATORS
from tests.fuzz.structured import STRUCTURED

__all__ = ["KINDS", "Case", "case_of"]


@dataclass(frozen=True, slots=True)
class Case:
    """One file.

    Attributes:
        seed: That makes it.
        base: What it was.
        kinds: Mutations that made it what it is, in order.
        content: The file.
    """

    seed: int
    base: Base
    kinds: tuple[str, ...]
    content: bytes


def _flip(content: bytes, rng: np.random.Generator) -> bytes:
    damaged = bytearray(content)
    for at in rng.integers(len(damaged), size=int(rng.integers(1, 9))):
        damaged[at] ^= 1 << int(rng.integers(8))
    return bytes(damaged)


def _overwrite(content: bytes, rng: np.random.Generator) -> bytes:
    at, length = int(rng.integers(len(content))), int(rng.integers(1, 33))
    return content[:at] + rng.bytes(length) + content[at + length :]


def _truncate(content: bytes, rng: np.random.Generator) -> bytes:
    return content[: int(rng.integers(len(content) + 1))]


def _insert(content: bytes, rng: np.random.Generator) -> bytes:
    at = int(rng.integers(len(content) + 1))
    return content[:at] + rng.bytes(int(rng.integers(1, 65))) + content[at:]


def _delete(content: bytes, rng: np.random.Generator) -> bytes:
    at = int(rng.integers(len(content)))
    return content[:at] + content[at + int(rng.integers(1, 65)) :]


def _repeat(content: bytes, rng: np.random.Generator) -> bytes:
    """Write a piece again: messages merge, lists grow."""
    at, length = int(rng.integers(len(content))), int(rng.integers(1, 4097))
    piece = content[at : at + length]
    return content[: at + length] + piece * int(rng.integers(1, 4)) + content[at + length :]


def _splice(content: bytes, rng: np.random.Generator) -> bytes:
    """Put a piece of another model in: the end of it parses as fields of this one."""
    other = model_bytes(BASES[int(rng.integers(10))])
    at, start = int(rng.integers(len(content))), int(rng.integers(len(other)))
    return content[:at] + other[start : start + 2000] + content[at:]


def _nest(content: bytes, rng: np.random.Generator) -> bytes:
    """Wrap bytes in messages inside messages, as field 7 (the graph) of each."""
    inner = content[:200]
    for _ in range(int(rng.integers(1, 300))):
        inner = b"\x3a" + _varint(len(inner)) + inner
    return inner


def _nest_bodies(content: bytes, rng: np.random.Generator) -> bytes:
    """Append a node with a body in a body in a body to the graph, past what a parser takes."""
    graph = b""
    for _ in range(int(rng.choice([2, 10, 30, 33, 34, 100]))):
        attribute = _field(1, b"then_branch") + _field(6, graph) + b"\xa0\x01\x05"  # name, g, type = GRAPH
        other = _field(1, b"else_branch") + _field(6, b"") + b"\xa0\x01\x05"
        node = _field(1, b"flag") + _field(4, b"If") + _field(5, attribute) + _field(5, other)
        graph = _field(1, node)
    return content + _field(7, graph)


def _field(number: int, content: bytes) -> bytes:
    return bytes([number << 3 | 2]) + _varint(len(content)) + content


def _varint(number: int) -> bytes:
    out = b""
    while number > 127:
        out += bytes([number & 127 | 128])
        number >>= 7
    return out + bytes([number])


RAW: dict[str, Callable[[bytes, np.random.Generator], bytes]] = {
    "bit flips": _flip,
    "deleted bytes": _delete,
    "inserted bytes": _insert,
    "nested bodies": _nest_bodies,
    "nested messages": _nest,
    "overwritten bytes": _overwrite,
    "repeated piece": _repeat,
    "splice": _splice,
    "truncated": _truncate,
}

KINDS: tuple[str, ...] = (*RAW, *STRUCTURED, *BOMBS, *OPERATORS)
"""Names of all mutations."""

_WEIGHTS = np.array([base.weight for base in BASES])
# Most files with damaged bytes end in the parser: most files are mutated as messages.
_KIND_WEIGHTS = np.concatenate(
    [
        np.full(len(group), share / len(group))
        for group, share in ((RAW, 0.15), (STRUCTURED, 0.35), (BOMBS, 0.25), (OPERATORS, 0.25))
    ]
)


def case_of(seed: int) -> Case:
    """Give the case of a seed: one to three mutations of a base, drawn from its own generator."""
    rng = np.random.default_rng([seed, 20_26])
    base = BASES[int(rng.choice(len(BASES), p=_WEIGHTS / _WEIGHTS.sum()))]
    kinds = tuple(
        KINDS[int(at)] for at in rng.choice(len(KINDS), size=int(rng.choice([1, 1, 1, 2, 3])), p=_KIND_WEIGHTS)
    )
    content = model_bytes(base)
    done = []
    for kind in sorted(kinds, key=lambda kind: kind in RAW):  # bytes last: what is damaged may not parse
        if kind in RAW:
            content = RAW[kind](content or b"\0", rng)
        else:
            model = onnx.ModelProto.FromString(content)
            try:
                (STRUCTURED | BOMBS | OPERATORS)[kind](model, rng)
            except (ArithmeticError, DecodeError, TypeError, ValueError):
                continue  # onnx's helpers refuse what another mutation made
            content = bytes(model.SerializeToString())
        done.append(kind)
    return Case(seed, base, tuple(done), content)
