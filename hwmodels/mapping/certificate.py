"""Certificates: what a search claims, with everything that it claims it about, as one JSON file.

`hwmodels.mapping.checker` reads such a file and verifies it without the mapper. Numbers are written so that they read
back to the same bits; units are those in memory (J, s, Hz, bit, words).
"""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Mapping as MappingABC
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from hwmodels.mapping.mapper.results import Result
from hwmodels.mapping.records import Mapping
from hwmodels.mapping.text import mapping_text, parse_mapping
from hwmodels.spatial import Accelerator, BufferLevel, Conventions, MeshAxis
from workloads.errors import MappingError
from workloads.operator import Axis, Operator, Tensor

__all__ = ["Claim", "certificate", "read_certificate", "write_certificate"]

FORMAT = "fullstack-dse mapping certificate, version 1"

OBJECTIVES = ("edp", "energy", "latency", "pareto")

_TENSOR = ("name", "role", "bits", "density", "overhead_bits")
_OPERATOR = ("name", "op_type", "kind", "acc_bits")
_ACCELERATOR = ("name", "mac_j", "macs_per_cycle", "clock_hz", "operand_bits", "acc_bits", "static_w")


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


def certificate(result: Result) -> dict[str, Any]:
    """Write what a search found and claims as plain data: operator, accelerator, rules, space, value, bound, mappings.

    Args:
        result: Of `search`.

    Example:
        >>> from hwmodels.mapping import REFERENCE, ROLES, search
        >>> from hwmodels.mapping.cases import gemm_operator
        >>> dram = BufferLevel(name="DRAM", keeps=ROLES, capacity_words=None, word_bits=8, read_j=1.0, write_j=1.0)
        >>> buffer = BufferLevel(name="Buffer", keeps=ROLES, capacity_words=12, word_bits=8)
        >>> toy = Accelerator(name="toy", levels=(dram, buffer), mac_j=0.0, conventions=REFERENCE)
        >>> written = certificate(search(gemm_operator("g", {"M": 4, "N": 4, "K": 4}), toy, "energy"))
        >>> written["value"], written["lower_bound"], written["space"]["factors"]
        (80.0, 80.0, 'perfect')
    """
    operator, device = result.operator, result.accelerator
    return {
        "format": FORMAT,
        "operator": {
            **{name: getattr(operator, name) for name in _OPERATOR},
            "dims": {dim: int(size) for dim, size in operator.dims.items()},
            "inputs": [_tensor_entry(tensor) for tensor in operator.inputs],
            "outputs": [_tensor_entry(tensor) for tensor in operator.outputs],
        },
        "accelerator": {
            **{name: getattr(device, name) for name in _ACCELERATOR},
            "levels": [
                {**asdict(level), "partitions": dict(level.partitions)} for level in device.levels
            ],
        },
        "conventions": asdict(result.conventions),
        "objective": result.objective,
        "space": {**asdict(result.space), "relaxed": result.space.spatial.startswith("relaxed")},
        "value": result.value,
        "lower_bound": result.lower_bound,
        "points": [
            {
                "energy_j": float(point.cost.energy_j[0]),
                "cycles": float(point.cost.cycles[0]),
                "mapping": mapping_text(point.mapping, operator.dims).splitlines(),
            }
            for point in result.points
        ],
    }


def write_certificate(result: Result, path: str | os.PathLike[str]) -> None:
    """Write a certificate as JSON, by rename: a reader sees the old file or the new one, never half of one.

    Args:
        result: Of `search`.
        path: Where.

    Raises:
        MappingError: The file cannot be written.
    """
    target = Path(path)
    part = target.with_name(f".{target.name}.{secrets.token_hex(4)}")
    try:
        part.write_text(json.dumps(certificate(result), indent=1) + "\n", encoding="utf-8")
        part.replace(target)
    except OSError as error:
        raise MappingError(f"cannot write the certificate {str(path)!r}: {error.strerror}; give another place") from None
    finally:
        part.unlink(missing_ok=True)


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


def _tensor_entry(tensor: Tensor) -> dict[str, Any]:
    axes = [
        {
            "terms": [list(term) for term in item.terms],
            "offset": item.offset,
            "extent": None if item.extent is None else int(item.extent),
        }
        for item in tensor.axes
    ]
    return {**{name: getattr(tensor, name) for name in _TENSOR}, "axes": axes}


def _tensor(entry: MappingABC[str, Any]) -> Tensor:
    axes = tuple(
        Axis(tuple((int(coefficient), str(dim)) for coefficient, dim in item["terms"]), item["offset"], item["extent"])
        for item in entry["axes"]
    )
    return Tensor(axes=axes, **{name: entry[name] for name in _TENSOR})


def _operator(entry: MappingABC[str, Any]) -> Operator:
    return Operator(
        dims={str(dim): int(size) for dim, size in entry["dims"].items()},
        inputs=tuple(map(_tensor, entry["inputs"])),
        outputs=tuple(map(_tensor, entry["outputs"])),
        **{name: entry[name] for name in _OPERATOR},
    )


def _accelerator(entry: MappingABC[str, Any], rules: Conventions) -> Accelerator:
    levels = tuple(map(_level, entry["levels"]))
    return Accelerator(levels=levels, conventions=rules, **{name: entry[name] for name in _ACCELERATOR})


def _level(entry: MappingABC[str, Any]) -> BufferLevel:
    values = {item.name: entry[item.name] for item in fields(BufferLevel)}
    mesh = tuple(MeshAxis(**{item.name: _frozen(axis[item.name]) for item in fields(MeshAxis)}) for axis in values["mesh"])
    return BufferLevel(**{**{name: _frozen(value) for name, value in values.items()}, "mesh": mesh})


def _frozen(value: Any) -> Any:
    return tuple(value) if isinstance(value, list | tuple) else value
