"""Devices as data: reading, checking and writing the TOML files of `specs/`.

Every fault of a file names the file, the field, what was found and how to write it.
"""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import fields, is_dataclass
from functools import lru_cache
from importlib import resources
from pathlib import Path
from typing import Any

from hwmodels.build import build_device
from hwmodels.roofline import RooflineDevice
from hwmodels.schema import DeviceSpec
from workloads.errors import SpecError, nearest

__all__ = ["load", "names", "read_spec", "spec_text"]


def names() -> tuple[str, ...]:
    """List the devices that come with the package, sorted.

    Example:
        >>> "h100-sxm" in names()
        True
    """
    found = (resources.files("hwmodels") / "specs").iterdir()
    return tuple(sorted(item.name.removesuffix(".toml") for item in found if item.name.endswith(".toml")))


def load(name: str | os.PathLike[str], calibrated: bool = True) -> RooflineDevice:
    """Load a device by name, by alias, or from a TOML file.

    Args:
        name: "h100-sxm", another spelling ("h100_sxm_80gb"), or the path of a TOML file.
        calibrated: Attach the calibration of the device. None is shipped so far, so both answers are data-sheet
            ceilings.

    Raises:
        SpecError: Unknown name, or a fault in the file.

    Example:
        >>> load("H100-SXM5-80GB").name
        'h100-sxm'
        >>> load("h100-sx")
        Traceback (most recent call last):
        workloads.errors.SpecError: unknown device 'h100-sx'; nearest: h100-sxm...
    """
    text = os.fspath(name)
    if text.endswith(".toml") or isinstance(name, os.PathLike):
        path = Path(text)
        if not path.is_file():
            raise SpecError(f"no device file {text!r}; give an existing TOML file or one of: {', '.join(names())}")
        try:
            content = path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            raise SpecError(f"{text}: not text in UTF-8; a device is described in a TOML file") from None
        return _from_text(content, text)
    known = _known_names()
    if _plain(text) not in known:
        raise SpecError(f"unknown device {text!r}; {nearest(text, names())}; or give the path of a .toml file")
    return _shipped(known[_plain(text)])


def read_spec(text: str, origin: str) -> DeviceSpec:
    """Read and check a device file.

    Args:
        text: TOML.
        origin: Name of the file, for messages.

    Raises:
        SpecError: All faults of the file, one a line.

    Example:
        >>> read_spec('name = "mine"', "mine.toml")
        Traceback (most recent call last):
        workloads.errors.SpecError: mine.toml: field title: missing; add it (specs/README.md shows every field)...
    """
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise SpecError(f"{origin}: not valid TOML: {error}") from None
    return _checked(data, origin)


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())


def spec_text(name: str) -> str:
    """Give the TOML text of a shipped device.

    Example:
        >>> spec_text("t4").splitlines()[0]
        'name = "t4"'
    """
    return (resources.files("hwmodels") / "specs" / f"{name}.toml").read_text(encoding="utf-8")


@lru_cache(maxsize=1)
def _known_names() -> dict[str, str]:
    known: dict[str, str] = {}
    for name in names():
        for alias in (name, *tomllib.loads(spec_text(name)).get("aliases", ())):
            known[_plain(alias)] = name
    return known


@lru_cache(maxsize=64)
def _shipped(name: str) -> RooflineDevice:
    return _from_text(spec_text(name), f"hwmodels/specs/{name}.toml")


def _from_text(text: str, origin: str) -> RooflineDevice:
    return build_device(read_spec(text, origin), origin)


def _checked(data: dict[str, Any], origin: str) -> DeviceSpec:
    from pydantic import TypeAdapter, ValidationError

    try:
        return TypeAdapter(DeviceSpec).validate_python(data)
    except ValidationError as error:
        faults = [_explain(dict(fault)) for fault in error.errors(include_url=False)]
        raise SpecError("\n".join(f"{origin}: {fault}" for fault in faults)) from None


def _explain(fault: Mapping[str, Any]) -> str:
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
            return f"field {where}: unknown key; {nearest(leaf, _keys_beside(fault['loc']))}"
        case _:
            return f"field {where}: {fault['msg']}"


def _keys_beside(location: Iterable[str | int]) -> list[str]:
    """List the keys that the schema has where an unknown one was found."""
    schema: Any = DeviceSpec
    for part in list(location)[:-1]:
        if isinstance(part, str):
            hint = next((entry.type for entry in fields(schema) if entry.name == part), "")
            schema = _TABLES.get(re.sub(r"^list\[(.*)\]$|^(\w+) \| None$", r"\1\2", str(hint)), schema)
    return [entry.name for entry in fields(schema)]


def _tables() -> dict[str, Any]:
    from hwmodels import schema

    return {name: item for name, item in vars(schema).items() if isinstance(item, type) and is_dataclass(item)}


_TABLES = _tables()
