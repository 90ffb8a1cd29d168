"""Certificates: what a search claims, with everything that it claims it about, as one JSON file.

`hwmodels.mapping.checker` reads such a file and verifies it without the mapper. Numbers are written so that they read
back to the same bits; units are those in memory (J, s, Hz, bit, words).
"""

from __future__ import annotations

import json
import os
import secrets
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hwmodels.mapping.checking.claims import ACCELERATOR_FIELDS, FORMAT, OPERATOR_FIELDS, TENSOR_FIELDS
from hwmodels.mapping.text import mapping_text
from workloads.errors import MappingError
from workloads.operator import Tensor

if TYPE_CHECKING:
    from hwmodels.mapping.mapper.results import Result

__all__ = ["certificate", "write_certificate"]


def certificate(result: Result) -> dict[str, Any]:
    """Write what a search found and claims as plain data: operator, accelerator, rules, space, value, bound, mappings.

    Args:
        result: Of `search`.

    Example:
        >>> from hwmodels.mapping import REFERENCE, ROLES, Accelerator, BufferLevel, search
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
            **{name: getattr(operator, name) for name in OPERATOR_FIELDS},
            "dims": {dim: int(size) for dim, size in operator.dims.items()},
            "inputs": [_tensor_entry(tensor) for tensor in operator.inputs],
            "outputs": [_tensor_entry(tensor) for tensor in operator.outputs],
        },
        "accelerator": {
            **{name: getattr(device, name) for name in ACCELERATOR_FIELDS},
            "levels": [{**asdict(level), "partitions": dict(level.partitions)} for level in device.levels],
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
        raise MappingError(
            f"cannot write the certificate {str(path)!r}: {error.strerror}; give another place"
        ) from None
    finally:
        part.unlink(missing_ok=True)


def _tensor_entry(tensor: Tensor) -> dict[str, Any]:
    axes = [
        {
            "terms": [list(term) for term in item.terms],
            "offset": item.offset,
            "extent": None if item.extent is None else int(item.extent),
        }
        for item in tensor.axes
    ]
    return {**{name: getattr(tensor, name) for name in TENSOR_FIELDS}, "axes": axes}
