"""Reading a model's configuration: the content of a Hugging Face config.json, with errors that name the field."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from workloads.errors import WorkloadError

__all__ = ["Config", "read_config"]


def read_config(source: Mapping[str, Any] | str | Path) -> dict[str, Any]:
    """Read a configuration.

    Args:
        source: The values, or a path: a config.json, or a folder that holds one.

    Raises:
        WorkloadError: No such file, not JSON, or without a `model_type`.
    """
    if isinstance(source, Mapping):
        values = dict(source)
        where = "configuration"
    else:
        path = Path(source)
        path = path / "config.json" if path.is_dir() else path
        where = str(path)
        try:
            values = json.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise WorkloadError(f"{where}: no such file; give a config.json or a folder that holds one") from None
        except (OSError, ValueError) as error:
            raise WorkloadError(f"{where}: not a readable config.json ({error})") from None
    if not isinstance(values, dict) or not isinstance(values.get("model_type"), str):
        raise WorkloadError(f"{where}: a configuration is an object with a 'model_type', as in a config.json")
    return values


@dataclass(frozen=True, slots=True)
class Config:
    """A configuration whose fields are read with a type."""

    values: Mapping[str, Any]

    @property
    def kind(self) -> str:
        """The model type."""
        return str(self.values.get("model_type", "?"))

    def _value(self, name: str, default: Any, wanted: str) -> Any:
        value = self.values.get(name)
        if value is None:
            value = default
        if value is _REQUIRED:
            raise WorkloadError(f"configuration of {self.kind!r}: {name!r} is missing; it is {wanted}")
        return value

    def int(self, name: str, default: Any = ...) -> int:
        """Read a whole number of at least 1 (a given default may be 0)."""
        value = self._value(name, _REQUIRED if default is ... else default, "a whole number")
        if isinstance(value, bool) or not isinstance(value, (int, float)) or value != int(value):
            raise WorkloadError(f"configuration of {self.kind!r}: {name} = {value!r} is not a whole number")
        if value < (1 if default is ... or default else 0) or value > _LARGEST:
            raise WorkloadError(f"configuration of {self.kind!r}: {name} = {value!r} is out of range")
        return int(value)

    def optional_int(self, name: str, default: Any = None) -> Any:
        """Read a whole number that may be absent or null: None then, unless a default is given."""
        if name in self.values and self.values[name] is None:
            return None
        return default if self.values.get(name) is None else self.int(name)

    def float(self, name: str, default: Any = ...) -> Any:
        """Read a number."""
        value = self._value(name, _REQUIRED if default is ... else default, "a number")
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise WorkloadError(f"configuration of {self.kind!r}: {name} = {value!r} is not a number")
        return value * 1.0

    def optional_float(self, name: str, default: Any = None) -> Any:
        """Read a number that may be absent or null."""
        if name in self.values and self.values[name] is None:
            return None
        return default if self.values.get(name) is None else self.float(name)

    def text(self, name: str, default: Any = ...) -> str:
        """Read a text."""
        value = self._value(name, _REQUIRED if default is ... else default, "a text")
        if not isinstance(value, str):
            raise WorkloadError(f"configuration of {self.kind!r}: {name} = {value!r} is not a text")
        return value

    def flag(self, name: str, default: bool) -> bool:
        """Read true or false."""
        value = self._value(name, default, "true or false")
        if not isinstance(value, bool):
            raise WorkloadError(f"configuration of {self.kind!r}: {name} = {value!r} is not true or false")
        return value

    def strings(self, name: str, default: tuple[str, ...]) -> tuple[str, ...]:
        """Read a list of texts."""
        value = self._value(name, default, "a list of texts")
        if not isinstance(value, (list, tuple)) or not all(isinstance(item, str) for item in value):
            raise WorkloadError(f"configuration of {self.kind!r}: {name} = {value!r} is not a list of texts")
        return tuple(value)

    def ints(self, name: str, default: Any = ...) -> tuple[Any, ...]:
        """Read a list of whole numbers."""
        value = self._value(name, _REQUIRED if default is ... else default, "a list of whole numbers")
        if not isinstance(value, (list, tuple)):
            raise WorkloadError(f"configuration of {self.kind!r}: {name} = {value!r} is not a list")
        return tuple(Config({"model_type": self.kind, name: item}).int(name) for item in value)

    def table(self, name: str) -> Mapping[str, Any]:
        """Read a nested object; empty where it is absent."""
        value = self._value(name, {}, "an object")
        if not isinstance(value, Mapping):
            raise WorkloadError(f"configuration of {self.kind!r}: {name} = {value!r} is not an object")
        return value


_REQUIRED = object()
_LARGEST = 1e7
"""No width, depth or vocabulary comes near it; a larger number is a damaged file."""
