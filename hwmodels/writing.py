"""Writing a device file: for ceilings that were measured on the machine at hand."""

from __future__ import annotations

import os
import tempfile
from dataclasses import MISSING, fields, is_dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args, get_type_hints

from hwmodels.build import build_device
from hwmodels.schema import DeviceSpec
from hwmodels.specs import read_spec
from hwmodels.units import Unit, format_si
from workloads.errors import SpecError

if TYPE_CHECKING:
    from hwmodels.spatial_schema import SpatialSpec

__all__ = ["spec_to_toml", "write_spec"]


def write_spec(spec: DeviceSpec, path: str | os.PathLike[str]) -> Path:
    """Write a device file, by rename: a reader sees the old file or the new one, never half of one.

    Args:
        spec: What to write; it is checked as if it were read.
        path: Where to; its folder exists.

    Returns:
        The path.

    Raises:
        SpecError: The spec would not load, or the folder does not exist.

    Example:
        >>> from hwmodels.specs import read_spec, spec_text
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     write_spec(read_spec(spec_text("t4"), "t4.toml"), Path(folder) / "mine.toml").name
        'mine.toml'
    """
    target = Path(path)
    text = spec_to_toml(spec)
    build_device(read_spec(text, str(target)), str(target))
    if not target.parent.is_dir():
        raise SpecError(f"cannot write {str(target)!r}: there is no folder {str(target.parent)!r}; create it first")
    handle, temporary = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.", text=True)
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
        Path(temporary).replace(target)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
    return target


def spec_to_toml(spec: DeviceSpec | SpatialSpec) -> str:
    """Write a device as TOML text that `load` reads back to the same numbers (to nine digits).

    Example:
        >>> from hwmodels.specs import read_spec, spec_text
        >>> spec = read_spec(spec_text("t4"), "t4.toml")
        >>> read_spec(spec_to_toml(spec), "copy") == spec
        True
    """
    return "\n".join(_table_lines(spec, "")).strip() + "\n"


def _table_lines(record: Any, path: str) -> list[str]:
    """Give the lines of one table: its own keys first, then its sub-tables, as TOML wants it."""
    hints = get_type_hints(type(record), include_extras=True)
    own: list[str] = []
    below: list[str] = []
    for entry in fields(record):
        value = getattr(record, entry.name)
        where = f"{path}.{entry.name}" if path else entry.name
        if value == (entry.default if entry.default_factory is MISSING else entry.default_factory()):
            continue
        if is_dataclass(value):
            below += ["", f"[{where}]", *_table_lines(value, where)]
        elif isinstance(value, list) and any(map(is_dataclass, value)):
            for item in value:
                below += ["", f"[[{where}]]", *_table_lines(item, where)]
        elif isinstance(value, dict):
            unit = _unit_of(hints[entry.name])
            below += ["", f"[{where}]", *[f"{_key(key)} = {_value(item, unit)}" for key, item in value.items()]]
        else:
            own.append(f"{entry.name} = {_value(value, _unit_of(hints[entry.name]))}")
    return own + below


def _unit_of(hint: Any) -> str:
    """Find the unit in a type hint: `Annotated[float, Unit(...)]`, or one inside a dict or an optional."""
    for part in getattr(hint, "__metadata__", ()):
        if isinstance(part, Unit):
            return part.name
    return next((unit for unit in map(_unit_of, get_args(hint)) if unit), "")


def _key(name: str) -> str:
    return name if name.replace("_", "").replace("-", "").isalnum() and name.isascii() else _text(name)


def _value(value: Any, unit: str) -> str:
    if unit:
        return _text(format_si(value, unit, digits=9))
    if isinstance(value, list):
        return f"[{', '.join(_value(item, '') for item in value)}]"
    if isinstance(value, bool):
        return "true" if value else "false"
    return _text(value) if isinstance(value, str) else repr(value)


def _text(value: str) -> str:
    escaped = value.replace("\\", "\\\\").replace('"', '\\"')
    escaped = "".join(char if char >= " " and char != "\x7f" else f"\\u{ord(char):04x}" for char in escaped)
    return f'"{escaped}"'
