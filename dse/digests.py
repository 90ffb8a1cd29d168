"""Digests of models: a stored run is resumed only with the model that it was started with."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass
from functools import partial
from types import CodeType, FunctionType, MethodType
from typing import Any

import numpy as np

__all__ = ["digest_of"]


def digest_of(value: Any) -> str:
    """Hash a function, a record or plain data (hex, 16 characters).

    A function is its name, its code, and what it captured; a record its fields. An object with a method `digest` says
    for itself. Of any other object only the type counts.

    Example:
        >>> digest_of(lambda p: 2 * p) == digest_of(lambda p: 3 * p)
        False
    """
    whole = hashlib.sha256()
    for part in _parts(value):
        whole.update(len(part).to_bytes(8, "big") + part)
    return whole.hexdigest()[:16]


def _parts(value: Any) -> Iterator[bytes]:
    if isinstance(value, FunctionType):
        captured = [cell.cell_contents for cell in value.__closure__ or ()]
        yield value.__qualname__.encode()
        yield from _code(value.__code__)
        yield from _parts([value.__defaults__, value.__kwdefaults__, captured])
    elif isinstance(value, MethodType):
        yield from _parts([value.__func__, value.__self__])
    elif isinstance(value, partial):
        yield from _parts([value.func, value.args, value.keywords])
    elif isinstance(value, np.ndarray):
        yield f"{value.dtype}{value.shape}".encode() + value.tobytes()
    elif isinstance(value, Mapping):
        for key, item in value.items():
            yield from _parts(key)
            yield from _parts(item)
    elif isinstance(value, tuple | list):
        yield str(len(value)).encode()
        for item in value:
            yield from _parts(item)
    elif isinstance(value, str | bytes | int | float | None):
        yield repr(value).encode()
    elif callable(getattr(value, "digest", None)) and not isinstance(value, type):
        yield value.digest().encode()
    elif is_dataclass(value) and not isinstance(value, type):
        yield type(value).__qualname__.encode()
        yield from _parts({field.name: getattr(value, field.name) for field in fields(value)})
    else:
        kind = value if isinstance(value, type) else type(value)
        yield f"{kind.__module__}.{kind.__qualname__}".encode()


def _code(code: CodeType) -> Iterator[bytes]:
    """Give what a function does: its instructions, names and constants, those of inner functions too."""
    yield code.co_code
    yield repr(code.co_names).encode()
    for constant in code.co_consts:
        yield from _code(constant) if isinstance(constant, CodeType) else [repr(constant).encode()]
