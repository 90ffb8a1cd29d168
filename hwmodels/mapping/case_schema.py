"""What `architectures.yaml` and `cases.yaml` hold: frozen dataclasses that pydantic reads."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from hwmodels.limits import Count, Positive
from workloads.errors import MappingError

__all__ = [
    "ArchitectureEntry",
    "CaseEntry",
    "LevelEntry",
    "MacEntry",
    "NestEntry",
    "read_architecture_entries",
    "read_case_entries",
]

_CONFIG = {"extra": "forbid", "strict": False}


@dataclass(frozen=True, slots=True, kw_only=True)
class LevelEntry:
    """One buffer level; words are elements."""

    __pydantic_config__ = _CONFIG

    name: str
    word_bits: Count
    capacity_words_per_instance: Count | None
    instances: Count
    mesh_x: Count
    tensors_kept: list[Literal["W", "I", "O"]]
    read_bw_words_per_cycle_per_instance: Positive | None
    write_bw_words_per_cycle_per_instance: Positive | None
    energy_read_pJ_per_word: float  # noqa: N815
    energy_write_pJ_per_word: float  # noqa: N815


@dataclass(frozen=True, slots=True, kw_only=True)
class MacEntry:
    """The MAC array."""

    __pydantic_config__ = _CONFIG

    instances: Count
    mesh_x: Count
    mesh_y: Count
    energy_pJ_per_mac: float  # noqa: N815
    macs_per_cycle_per_instance: Positive


@dataclass(frozen=True, slots=True, kw_only=True)
class ArchitectureEntry:
    """One accelerator."""

    __pydantic_config__ = _CONFIG

    levels_outermost_first: list[LevelEntry]
    mac: MacEntry


@dataclass(frozen=True, slots=True, kw_only=True)
class NestEntry:
    """The loops of one level: "M:4" is a loop over dim M with trip count 4."""

    __pydantic_config__ = _CONFIG

    level: str
    temporal_outermost_first: list[str] = field(default_factory=list)
    spatial_below_this_level: dict[str, list[str]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class CaseEntry:
    """One case."""

    __pydantic_config__ = _CONFIG

    id: str
    architecture: str
    problem: Literal["gemm", "conv"]
    bounds: dict[str, Count]
    stride: Count = 1
    layer: str = ""
    mapping: list[NestEntry]
    note: str = ""


def read_architecture_entries(path: Path) -> Mapping[str, ArchitectureEntry]:
    """Read and check an `architectures.yaml`.

    Raises:
        MappingError: All faults of the file, one a line.
    """
    return _checked(path, dict[str, ArchitectureEntry])  # type: ignore[no-any-return]


def read_case_entries(path: Path) -> list[CaseEntry]:
    """Read and check a `cases.yaml`.

    Raises:
        MappingError: All faults of the file, one a line.
    """
    return _checked(path, list[CaseEntry])  # type: ignore[no-any-return]


def _checked(path: Path, kind: Any) -> Any:
    import yaml
    from pydantic import TypeAdapter, ValidationError

    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise MappingError(
            f"no file {str(path)!r}; a folder of cases holds architectures.yaml and cases.yaml"
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        raise MappingError(f"{path}: cannot be read as text in UTF-8: {error}") from None
    try:
        data = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise MappingError(f"{path}: not valid YAML: {' '.join(str(error).split())}") from None
    try:
        return TypeAdapter(kind).validate_python(data)
    except ValidationError as error:
        faults = [_explain(dict(fault), data) for fault in error.errors(include_url=False)]
        raise MappingError("\n".join(f"{path}: {fault}" for fault in faults)) from None


def _explain(fault: Mapping[str, Any], data: Any) -> str:
    place = fault["loc"]
    if place and isinstance(place[0], int) and isinstance(data, list) and isinstance(data[place[0]], dict):
        place = (f"case {data[place[0]].get('id', place[0])}", *place[1:])  # a name is easier to find than a number
    where = ".".join(str(part) for part in place)
    match fault["type"]:
        case "missing":
            return f"{where}: missing; add it"
        case "unexpected_keyword_argument":
            return f"{where}: unknown key; remove it, or check its spelling"
        case "value_error":
            return f"{where}: {str(fault['msg']).removeprefix('Value error, ')}"
        case _:
            return f"{where}: {fault['msg']}" if where else str(fault["msg"])
