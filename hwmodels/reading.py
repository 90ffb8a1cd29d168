"""From the text of a device file to its checked schema; every fault names the file, the field and the mend."""

from __future__ import annotations

import re
import sys
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import fields, is_dataclass
from typing import Any, TypeVar

from workloads.errors import SpecError, nearest

__all__ = ["read_toml", "validated"]

S = TypeVar("S")


def read_toml(text: str, origin: str) -> dict[str, Any]:
    """Read TOML.

    Args:
        text: The content of the file.
        origin: Name of the file, for messages.

    Raises:
        SpecError: Not TOML.

    Example:
        >>> read_toml('name = "t4"', "t4.toml")
        {'name': 't4'}
    """
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise SpecError(f"{origin}: not valid TOML: {error}") from None


def validated(data: Mapping[str, Any], schema: type[S], origin: str) -> S:
    """Check data against a schema of frozen dataclasses.

    Args:
        data: What the file holds.
        schema: The dataclass of the whole file.
        origin: Name of the file, for messages.

    Raises:
        SpecError: All faults of the file, one a line.
    """
    from pydantic import TypeAdapter, ValidationError

    try:
        return TypeAdapter(schema).validate_python(data)
    except ValidationError as error:
        faults = [_explain(dict(fault), schema) for fault in error.errors(include_url=False)]
        raise SpecError("\n".join(f"{origin}: {fault}" for fault in faults)) from None


def _explain(fault: Mapping[str, Any], schema: type[Any]) -> str:
    """Turn one of pydantic's faults into a sentence that says what to write."""
    where = ".".join(str(part) for part in fault["loc"])
    leaf = str(fault["loc"][-1]) if fault["loc"] else ""
    match fault["type"]:
        case "missing" | "blank_source" if leaf == "source":
            return f'field {where}: no source; every table of numbers needs one: source = "author, title, table"'
        case "missing" if leaf == "origin":
            return f'field {where}: no origin; add origin = "read", "derived", "recalled", "assumption" or "measured"'
        case "missing":
            return f"field {where}: missing; add it (specs/README.md shows every field)"
        case "unexpected_keyword_argument":
            return f"field {where}: unknown key; {nearest(leaf, _keys_beside(fault['loc'], schema))}"
        case "value_error":
            return f"field {where}: {str(fault['msg']).removeprefix('Value error, ')}"
        case _:
            return f"field {where}: {fault['msg']}"


def _keys_beside(location: Iterable[str | int], schema: Any) -> list[str]:
    """List the keys that the schema has where an unknown one was found."""
    tables = vars(sys.modules[schema.__module__])
    for part in list(location)[:-1]:
        if isinstance(part, str):
            hint = next((entry.type for entry in fields(schema) if entry.name == part), "")
            table = tables.get(re.sub(r"^list\[(.*)\]$|^(\w+) \| None$", r"\1\2", str(hint)))
            schema = table if is_dataclass(table) else schema
    return [entry.name for entry in fields(schema)]
