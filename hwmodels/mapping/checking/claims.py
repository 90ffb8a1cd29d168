"""What a certificate says, read back from its file."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping as MappingABC
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from hwmodels.mapping.records import Mapping
from hwmodels.mapping.text import parse_mapping
from hwmodels.spatial import Accelerator, BufferLevel, Conventions, MeshAxis
from workloads.errors import MappingError
from workloads.operator import Axis, Operator, Tensor

__all__ = ["ACCELERATOR_FIELDS", "FORMAT", "OPERATOR_FIELDS", "TENSOR_FIELDS", "Claim", "read_certificate"]

FORMAT = "fullstack-dse mapping certificate, version 1"

OBJECTIVES = ("edp", "energy", "latency", "pareto")

TENSOR_FIELDS = ("name", "role", "bits", "density", "overhead_bits")
OPERATOR_FIELDS = ("name", "op_type", "kind", "acc_bits")
ACCELERATOR_FIELDS = ("name", "mac_j", "macs_per_cycle", "clock_hz", "operand_bits", "acc_bits", "static_w")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Claim:
    """What a certificate says.

    Attributes:
        operator: What is computed.
        accelerator: On what.
        conventions: How it is counted.
        objective: edp, energy, latency, pareto.
        relaxed: Any dim on any mesh axis, and any bypass; else what the device can wire.
        factors: "perfect": trip counts divide.
        value: Of the objective at the first mapping: energy [J], cycles, or their product.
        lower_bound: No mapping has less.
        mappings: The best; of a front all, by ascending cycles.
        costs: Energy [J] and cycles of each.
    """

    operator: Operator
    accelerator: Accelerator
    conventions: Conventions
    objective: str
    relaxed: bool
    factors: str
    value: float
    lower_bound: float
    mappings: tuple[Mapping, ...]
    costs: tuple[tuple[float, float], ...]


def read_certificate(source: str | os.PathLike[str] | MappingABC[str, Any]) -> Claim:
    """Read a certificate.

    Args:
        source: A file that `write_certificate` wrote, or what `certificate` gives.

    Raises:
        MappingError: It cannot be read: what is missing or not of the right kind.
    """
    where = "the certificate" if isinstance(source, MappingABC) else f"certificate {os.fspath(source)!r}"
    try:
        entry = source if isinstance(source, MappingABC) else json.loads(Path(source).read_text(encoding="utf-8"))
        if entry["format"] != FORMAT:
            raise MappingError(f"{where} has the format {entry['format']!r}; this version reads {FORMAT!r}")
        return _claim(entry)
    except OSError as error:
        raise MappingError(f"cannot read {where}: {error.strerror}; give a file of `write_certificate`") from None
    except KeyError as error:
        raise MappingError(f"{where}: field {error} is missing; write it again with `write_certificate`") from None
    except (TypeError, ValueError, AttributeError) as error:
        raise MappingError(f"{where} cannot be read ({error}); write it again with `write_certificate`") from None


def _claim(entry: MappingABC[str, Any]) -> Claim:
    rules = Conventions(**{item.name: entry["conventions"][item.name] for item in fields(Conventions)})
    if entry["objective"] not in OBJECTIVES:
        raise MappingError(f"the objective {entry['objective']!r} is unknown; known: {', '.join(OBJECTIVES)}")
    if not entry["points"]:
        raise MappingError("the certificate has no mapping; there is nothing to check")
    return Claim(
        operator=_operator(entry["operator"]),
        accelerator=_accelerator(entry["accelerator"], rules),
        conventions=rules,
        objective=entry["objective"],
        relaxed=bool(entry["space"]["relaxed"]),
        factors=entry["space"]["factors"],
        value=float(entry["value"]),
        lower_bound=float(entry["lower_bound"]),
        mappings=tuple(parse_mapping("\n".join(point["mapping"])) for point in entry["points"]),
        costs=tuple((float(point["energy_j"]), float(point["cycles"])) for point in entry["points"]),
    )


def _tensor(entry: MappingABC[str, Any]) -> Tensor:
    axes = tuple(
        Axis(tuple((int(coefficient), str(dim)) for coefficient, dim in item["terms"]), item["offset"], item["extent"])
        for item in entry["axes"]
    )
    return Tensor(axes=axes, **{name: entry[name] for name in TENSOR_FIELDS})


def _operator(entry: MappingABC[str, Any]) -> Operator:
    return Operator(
        dims={str(dim): int(size) for dim, size in entry["dims"].items()},
        inputs=tuple(map(_tensor, entry["inputs"])),
        outputs=tuple(map(_tensor, entry["outputs"])),
        **{name: entry[name] for name in OPERATOR_FIELDS},
    )


def _accelerator(entry: MappingABC[str, Any], rules: Conventions) -> Accelerator:
    levels = tuple(map(_level, entry["levels"]))
    return Accelerator(levels=levels, conventions=rules, **{name: entry[name] for name in ACCELERATOR_FIELDS})


def _level(entry: MappingABC[str, Any]) -> BufferLevel:
    values = {item.name: entry[item.name] for item in fields(BufferLevel)}
    mesh = tuple(
        MeshAxis(**{item.name: _frozen(axis[item.name]) for item in fields(MeshAxis)}) for axis in values["mesh"]
    )
    return BufferLevel(**{**{name: _frozen(value) for name, value in values.items()}, "mesh": mesh})


def _frozen(value: Any) -> Any:
    return tuple(value) if isinstance(value, list | tuple) else value
