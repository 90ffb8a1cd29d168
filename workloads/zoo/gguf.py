"""Reading GGUF files: metadata, and tensors one by one, their blocks of few bits given back as floats.

Source: ggml, docs/gguf.md (versions 2 and 3) and ggml-common.h (`block_q4_0`, `block_q4_1`, `block_q8_0`).
"""

from __future__ import annotations

import math
import struct
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from workloads.errors import WorkloadError

__all__ = ["Gguf", "read_gguf"]

_MAGIC = b"GGUF"
_VERSIONS = (2, 3)
_ALIGNMENT = 32  # where general.alignment does not say otherwise
_LONGEST_SHAPE = 4  # GGML_MAX_DIMS
_STRING, _ARRAY = 8, 9
_SCALARS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
_BLOCK = 32
"""Values that share a scale, in each of the formats below."""

Bytes: TypeAlias = NDArray[np.uint8]
Floats: TypeAlias = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class _Format:
    """How a type of tensor is stored: bytes of a block, its values, and how they become floats.

    Attributes:
        name: As ggml calls it.
        block_bytes: Size of a block [B].
        block: Values of a block.
        floats: Bytes [blocks, block_bytes] to values [blocks, block].
    """

    name: str
    block_bytes: int
    block: int
    floats: Callable[[Bytes], Floats]


def _half(blocks: Bytes, at: int) -> Floats:
    """Give the fp16 number at a place of every block, [blocks, 1]."""
    return blocks[:, at : at + 2].copy().view("<f2").astype(np.float32)


def _nibbles(packed: Bytes) -> Floats:
    """Give [blocks, 32] from [blocks, 16]: the first half of a block lies in the lower four bits, the second above."""
    return np.concatenate([packed & 0x0F, packed >> 4], axis=1).astype(np.float32)


def _q4_0(blocks: Bytes) -> Floats:
    return (_nibbles(blocks[:, 2:]) - np.float32(8)) * _half(blocks, 0)


def _q4_1(blocks: Bytes) -> Floats:
    return _nibbles(blocks[:, 4:]) * _half(blocks, 0) + _half(blocks, 2)


def _q8_0(blocks: Bytes) -> Floats:
    return blocks[:, 2:].view(np.int8).astype(np.float32) * _half(blocks, 0)


_FORMATS = {
    0: _Format("F32", 4, 1, lambda blocks: blocks.copy().view("<f4")),
    1: _Format("F16", 2, 1, lambda blocks: _half(blocks, 0)),
    2: _Format("Q4_0", 18, _BLOCK, _q4_0),
    3: _Format("Q4_1", 20, _BLOCK, _q4_1),
    8: _Format("Q8_0", 34, _BLOCK, _q8_0),
}
"""By ggml's number of the type."""


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a tensor lies and what it is."""

    shape: tuple[int, ...]
    kind: _Format
    start: int

    @property
    def size_bytes(self) -> int:
        return math.prod(self.shape) // self.kind.block * self.kind.block_bytes


@dataclass(frozen=True, slots=True, eq=False)
class Gguf(Mapping[str, NDArray[np.float32]]):
    """A GGUF file: its metadata, and its tensors by the names that the file has, as float32, read when asked for.

    Attributes:
        path: Of the file.
        metadata: Numbers, texts and lists by key.
    """

    path: Path
    metadata: Mapping[str, Any]
    _data: Bytes
    _places: Mapping[str, _Place]

    def __getitem__(self, name: str) -> Floats:
        """Read one tensor, its last axis the one that runs fastest in the file."""
        place = self._places[name]
        raw = self._data[place.start : place.start + place.size_bytes]
        blocks: Bytes = np.asarray(raw).reshape(-1, place.kind.block_bytes)
        return place.kind.floats(blocks).reshape(place.shape)

    def __contains__(self, name: object) -> bool:
        """Say whether there is such a tensor, without reading it."""
        return name in self._places

    def __iter__(self) -> Iterator[str]:
        """List the names."""
        return iter(self._places)

    def __len__(self) -> int:
        """Count the tensors."""
        return len(self._places)

    def shape_of(self, name: str) -> tuple[int, ...]:
        """Give the shape of a tensor, without reading it."""
        return self._places[name].shape

    def format_of(self, name: str) -> str:
        """Say how a tensor is stored, in ggml's words: "Q4_1"."""
        return self._places[name].kind.name


def read_gguf(path: str | Path) -> Gguf:
    """Read the metadata of a GGUF file and where its tensors are; no tensor is read yet.

    Args:
        path: The file.

    Raises:
        WorkloadError: No such file, no GGUF file of version 2 or 3, a tensor that is stored in another way than F32,
            F16, Q4_0, Q4_1 or Q8_0, or a file that ends too early.
    """
    source = Path(path)
    try:
        data: Bytes = np.memmap(source, np.uint8, mode="r")
    except (OSError, ValueError) as error:  # NumPy's word for an empty file
        raise WorkloadError(f"{source}: not a readable GGUF file ({error}); give the path of one") from None
    try:
        return _read(source, data)
    except (struct.error, UnicodeDecodeError, KeyError, TypeError) as error:
        raise WorkloadError(f"{source}: a damaged GGUF file ({error}); download it again") from None


class _Cursor:
    """A place in the file that moves on with every read: where one entry ends tells where the next begins."""

    def __init__(self, data: memoryview) -> None:
        self.data, self.at = data, 0

    def scalar(self, code: str) -> Any:
        """Read one little-endian number."""
        (value,) = struct.unpack_from(f"<{code}", self.data, self.at)
        self.at += struct.calcsize(f"<{code}")
        return value

    def text(self) -> str:
        """Read a length and as many bytes of UTF-8."""
        length = self.scalar("Q")
        if length > len(self.data) - self.at:
            raise struct.error(f"a text of {length} bytes at byte {self.at}")
        self.at += length
        return bytes(self.data[self.at - length : self.at]).decode()

    def value(self, kind: int) -> Any:
        """Read a number, a text or a list of them."""
        if kind == _STRING:
            return self.text()
        if kind != _ARRAY:
            return self.scalar(_SCALARS[kind])
        inner, count = self.scalar("I"), self.scalar("Q")
        if inner == _ARRAY:
            raise TypeError("a list of lists")
        if count > len(self.data) - self.at:  # an element has one byte at least
            raise struct.error(f"a list of {count} at byte {self.at}")
        return [self.value(inner) for _ in range(count)]


def _read(path: Path, data: Bytes) -> Gguf:
    cursor = _Cursor(data.data)
    magic = bytes(data[:4])
    if magic != _MAGIC:
        raise WorkloadError(f"{path}: begins with {magic!r}, not {_MAGIC!r}; give a GGUF file")
    cursor.at = 4
    version = cursor.scalar("I")
    if version not in _VERSIONS:
        raise WorkloadError(f"{path}: GGUF version {version}; versions 2 and 3 are read, convert it again")
    tensors, keys = cursor.scalar("Q"), cursor.scalar("Q")
    metadata = {}
    for _ in range(keys):
        key = cursor.text()
        metadata[key] = cursor.value(cursor.scalar("I"))
    listed = [_entry(cursor, path) for _ in range(tensors)]
    alignment = int(metadata.get("general.alignment", _ALIGNMENT))
    if alignment < 1:
        raise WorkloadError(f"{path}: general.alignment is {alignment}; it is at least 1. Download the file again")
    begin = -(-cursor.at // alignment) * alignment
    places = {name: _Place(shape, kind, begin + offset) for name, shape, kind, offset in listed}
    for name, place in places.items():
        if place.start + place.size_bytes > len(data):
            raise WorkloadError(f"{path}: tensor {name!r} ends beyond the file; it is cut short, download it again")
    return Gguf(path, metadata, data, places)


def _entry(cursor: _Cursor, path: Path) -> tuple[str, tuple[int, ...], _Format, int]:
    """Read the name, the shape (slowest axis first), the format and the offset of one tensor."""
    name, rank = cursor.text(), cursor.scalar("I")
    if rank > _LONGEST_SHAPE:
        raise TypeError(f"tensor {name!r} of {rank} axes")
    shape = tuple(cursor.scalar("Q") for _ in range(rank))[::-1]
    number, offset = cursor.scalar("I"), cursor.scalar("Q")
    kind = _FORMATS.get(number)
    if kind is None:
        known = ", ".join(item.name for item in _FORMATS.values())
        raise WorkloadError(
            f"{path}: tensor {name!r} is of ggml's type {number}; {known} are read. Convert it to one of them"
        )
    if shape and shape[-1] % kind.block:
        raise TypeError(f"tensor {name!r}: rows of {shape[-1]} are no whole blocks of {kind.block}")
    return name, shape, kind, offset
