"""Reading a model's configuration: the content of a Hugging Face config.json, with errors that name the field."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from workloads.errors import WorkloadError, nearest
from workloads.zoo.layers import ACTIVATIONS

__all__ = ["Config", "read_config"]

_Whole = int  # `Config.int` hides the type's own name below


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
        except RecursionError:
            raise WorkloadError(f"{where}: not a readable config.json (nested too deeply)") from None
        except (OSError, ValueError) as error:
            raise WorkloadError(f"{where}: not a readable config.json ({error})") from None
    if not isinstance(values, dict) or not isinstance(values.get("model_type"), str):
        raise WorkloadError(f"{where}: a configuration is an object with a 'model_type', as in a config.json")
    return values


@dataclass(frozen=True, slots=True)
class Config:
    """A configuration whose fields are read with a type.

    Attributes:
        values: The fields.
        inside: For messages, where they stand if not at the top: "rope_parameters.".
    """

    values: Mapping[str, Any]
    inside: str = ""

    @property
    def kind(self) -> str:
        """The model type."""
        return str(self.values.get("model_type", "?"))

    def _value(self, name: str, default: Any, wanted: str) -> Any:
        value = self.values.get(name)
        if value is None:
            value = default
        if value is _REQUIRED:
            raise WorkloadError(f"configuration of {self.kind!r}: {self.inside + name!r} is missing; it is {wanted}")
        return value

    def fault(self, name: str, reason: str) -> WorkloadError:
        """Make the error that a field's value is not usable."""
        field = f"{self.inside}{name} = {_short(self.values.get(name))}"
        return WorkloadError(f"configuration of {self.kind!r}: {field} {reason}")

    def int(self, name: str, default: Any = ..., most: Any = 10_000_000) -> int:
        """Read a whole number of at least 1 (a given default may be 0); a number above `most` is a damaged file's."""
        value = self._value(name, _REQUIRED if default is ... else default, "a whole number")
        if isinstance(value, bool) or not isinstance(value, (int, float)) or value % 1 != 0:  # of inf and nan it is nan
            raise self.fault(name, "is not a whole number")
        least = 1 if default is ... or default else 0
        if not least <= value <= most:
            raise self.fault(name, f"is out of range; it is {least} to {most}")
        return int(value)

    def depth(self, name: str, default: Any = ...) -> _Whole:
        """Read a number of layers."""
        return self.int(name, default, _DEEPEST)

    def share(self, name: str, whole: _Whole, parts: _Whole) -> _Whole:
        """Divide a width evenly: `whole` by the `parts` that the field `name` asks for."""
        if whole % parts:
            raise self.fault(name, f"does not divide a width of {whole}")
        return whole // parts

    def optional_int(self, name: str, default: Any = None) -> Any:
        """Read a whole number that may be absent or null: None then, unless a default is given."""
        if name in self.values and self.values[name] is None:
            return None
        return default if self.values.get(name) is None else self.int(name)

    def float(self, name: str, default: Any = ...) -> Any:
        """Read a number."""
        value = self._value(name, _REQUIRED if default is ... else default, "a number")
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not -_HUGE < value < _HUGE:
            raise self.fault(name, "is not a (finite) number")
        return value * 1.0

    def positive(self, name: str, default: Any = ...) -> Any:
        """Read a number above zero."""
        value = self.float(name, default)
        if value < 1 / _HUGE:
            raise self.fault(name, "is not above zero")
        return value

    def factor(self, name: str, default: Any = ...) -> Any:
        """Read a factor of a graph's values: a positive number that every format holds."""
        value = self.positive(name, default)
        if not 1 / _FP16_MAX <= value <= _FP16_MAX:
            raise self.fault(name, f"is out of range; half formats hold 1/{_FP16_MAX:.0f} to {_FP16_MAX:.0f}")
        return value

    def optional_factor(self, name: str, default: Any = None) -> Any:
        """Read a factor that may be absent, null or zero: None then, unless a default is given for an absent one."""
        if name in self.values and self.values[name] is None:
            return None
        value = self.float(name, default or 0.0)
        return self.factor(name, default) if value else None

    def text(self, name: str, default: Any = ...) -> str:
        """Read a text."""
        value = self._value(name, _REQUIRED if default is ... else default, "a text")
        if not isinstance(value, str):
            raise self.fault(name, "is not a text")
        return value

    def flag(self, name: str, default: bool) -> bool:
        """Read true or false."""
        value = self._value(name, default, "true or false")
        if not isinstance(value, bool):
            raise self.fault(name, "is not true or false")
        return value

    def strings(self, name: str, default: tuple[str, ...]) -> tuple[str, ...]:
        """Read a list of texts."""
        value = self._value(name, default, "a list of texts")
        if not isinstance(value, (list, tuple)) or not all(isinstance(item, str) for item in value):
            raise self.fault(name, "is not a list of texts")
        return tuple(value)

    def ints(self, name: str, default: Any = ..., most: Any = 10_000_000) -> tuple[Any, ...]:
        """Read a list of whole numbers."""
        value = self._value(name, _REQUIRED if default is ... else default, "a list of whole numbers")
        if not isinstance(value, (list, tuple)):
            raise self.fault(name, "is not a list")
        if not value:
            raise self.fault(name, "is empty")
        return tuple(Config({"model_type": self.kind, name: item}).int(name, most=most) for item in value)

    def choice(self, name: str, known: tuple[str, ...], default: Any = ...) -> str:
        """Read one of a few words."""
        value = self.text(name, default)
        if value not in known:
            raise self.fault(name, f"is not known; {nearest(value, known)}")
        return value

    def activation(self, name: str, default: Any = ...) -> str:
        """Read the name of an activation function."""
        return self.choice(name, tuple(ACTIVATIONS), default)

    def only(self, name: str, value: bool) -> None:
        """Refuse a variant that no family writes."""
        if self.flag(name, value) != value:
            raise self.fault(name, "is not supported; export the model and use load_onnx")

    def groups(self, name: str, heads: _Whole) -> _Whole:
        """Read how many heads of keys and values there are: a divisor of the number of query heads."""
        groups = self.int(name, heads)
        if heads % groups:
            raise self.fault(name, f"does not divide the {heads} query heads evenly")
        return groups

    def whole(self, name: str, default: _Whole) -> _Whole:
        """Read a whole number of at least 0."""
        return 0 if self.values.get(name) == 0 else self.int(name, default)

    def heads(self, name: str) -> _Whole:
        """Read a number of heads."""
        return self.int(name, most=_MOST_HEADS)

    def layers(self, name: str) -> frozenset[Any]:
        """Read a list of layer numbers, from 0; none where it is absent."""
        value = self._value(name, (), "a list of layer numbers")
        if not isinstance(value, (list, tuple)) or not all(type(item) is int and item >= 0 for item in value):
            raise self.fault(name, "is not a list of layer numbers")
        return frozenset(value)

    def floats(self, name: str) -> tuple[Any, ...]:
        """Read a list of numbers above zero."""
        value = self._value(name, _REQUIRED, "a list of numbers")
        if not isinstance(value, (list, tuple)) or any(item is None for item in value):
            raise self.fault(name, "is not a list of numbers")
        return tuple(Config({"model_type": self.kind, name: item}, self.inside).positive(name) for item in value)

    def nested(self, *names: str) -> Config:
        """Read nested objects as one, the fields of later ones first; empty where all are absent."""
        merged: dict[str, Any] = {}
        for name in names:
            merged |= self.table(name)
        given = [name for name in names if self.values.get(name)]
        where = f"{self.inside}{(given or names)[-1]}."
        return Config({**merged, "model_type": self.kind}, where)

    def labels(self, default: Any = 2) -> _Whole:
        """Read the number of classes: `num_labels`, or the entries of `id2label`."""
        names = self.table("id2label")
        return self.int("num_labels", len(names) or default)

    def head(self, known: tuple[str, ...], default: str) -> str:
        """Say what stands on top: what follows "For" in the first of `architectures` ("Model" where nothing does)."""
        names = self.strings("architectures", ())
        if not names:
            return default
        _, found, after = names[0].partition("For")
        head = after if found else "Model" if names[0].endswith("Model") else names[0]
        if head not in known:
            raise self.fault("architectures", f"asks for a head that is not known; {nearest(head, known)}")
        return head

    def table(self, name: str) -> Mapping[str, Any]:
        """Read a nested object; empty where it is absent."""
        value = self._value(name, {}, "an object")
        if not isinstance(value, Mapping):
            raise self.fault(name, "is not an object")
        return value


def _short(value: Any) -> str:
    if isinstance(value, int) and abs(value) > _HUGE:
        return "a huge number"  # Python refuses to write it out
    text = repr(value)
    return text if len(text) < 80 else f"{text[:77]}..."


_REQUIRED = object()
_DEEPEST = 1000
"""The deepest published transformer: Wang et al. 2022 (DeepNet), arXiv 2203.00555."""
_MOST_HEADS = 65_536
_HUGE = 1e30
_FP16_MAX = 65504.0  # IEEE 754-2019, binary16
