"""Mapping cases as YAML: `architectures.yaml` and `cases.yaml` in the format of the Timeloop reference set."""

from __future__ import annotations

import os
from collections.abc import Mapping as MappingABC
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hwmodels.mapping.records import Mapping, from_factors
from hwmodels.spatial import REFERENCE, Accelerator, BufferLevel, MeshAxis
from workloads.errors import MappingError, nearest
from workloads.operator import Operator, Tensor, axis

__all__ = ["Case", "conv_operator", "gemm_operator", "read_architectures", "read_cases"]

PJ = 1e-12


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One fully specified mapping.

    Attributes:
        name: Its id.
        layer: What layer it stands for.
        operator: What is computed.
        accelerator: On what.
        mapping: How.
    """

    name: str
    layer: str
    operator: Operator
    accelerator: Accelerator
    mapping: Mapping


def gemm_operator(name: str, bounds: MappingABC[str, int]) -> Operator:
    """Give O[m,n] += I[m,k] W[k,n] with the sizes M, N, K.

    Example:
        >>> gemm_operator("g", {"M": 2, "N": 3, "K": 4}).points()
        24
    """
    tensors = (
        Tensor(name="I", axes=(axis("M"), axis("K")), bits=8),
        Tensor(name="W", axes=(axis("K"), axis("N")), role="weight", bits=8),
        Tensor(name="O", axes=(axis("M"), axis("N")), bits=8),
    )
    return Operator(
        name=name, op_type="MatMul", kind="matmul", dims=dict(bounds), inputs=tensors[:2], outputs=tensors[2:]
    )


def conv_operator(name: str, bounds: MappingABC[str, int], stride: int = 1) -> Operator:
    """Give O[n,k,q,p] += I[n,c,stride q+s,stride p+r] W[c,k,r,s]; no padding.

    Example:
        >>> sizes = dict(R=3, S=3, P=4, Q=4, C=2, K=2, N=1)
        >>> conv_operator("c", sizes, stride=2).inputs[0].shape(sizes)
        (1, 2, 9, 9)
    """
    window_q, window_p = axis((stride, "Q"), "S"), axis((stride, "P"), "R")
    tensors = (
        Tensor(name="I", axes=(axis("N"), axis("C"), window_q, window_p), bits=8),
        Tensor(name="W", axes=(axis("C"), axis("K"), axis("R"), axis("S")), role="weight", bits=8),
        Tensor(name="O", axes=(axis("N"), axis("K"), axis("Q"), axis("P")), bits=8),
    )
    return Operator(name=name, op_type="Conv", kind="conv", dims=dict(bounds), inputs=tensors[:2], outputs=tensors[2:])


def read_architectures(path: str | os.PathLike[str]) -> dict[str, Accelerator]:
    """Read accelerators.

    Args:
        path: An `architectures.yaml`.

    Raises:
        MappingError: Not readable as such a file.
    """
    return {name: _accelerator(name, entry) for name, entry in _yaml(Path(path)).items()}


def read_cases(path: str | os.PathLike[str], accelerators: MappingABC[str, Accelerator]) -> list[Case]:
    """Read cases.

    Args:
        path: A `cases.yaml`.
        accelerators: By name.

    Raises:
        MappingError: Not readable as such a file.
    """
    return [_case(entry, accelerators) for entry in _yaml(Path(path))]


def _yaml(path: Path) -> Any:
    import yaml

    return yaml.safe_load(path.read_text(encoding="utf-8"))


def _accelerator(name: str, entry: MappingABC[str, Any]) -> Accelerator:
    rows = [*entry["levels_outermost_first"], entry["mac"]]
    levels = []
    for row, inner in zip(rows, rows[1:], strict=False):
        levels.append(
            BufferLevel(
                name=row["name"],
                keeps=tuple(row["tensors_kept"]),
                capacity_words=row["capacity_words_per_instance"],
                word_bits=row["word_bits"],
                read_words_per_cycle=row["read_bw_words_per_cycle_per_instance"],
                write_words_per_cycle=row["write_bw_words_per_cycle_per_instance"],
                read_j=row["energy_read_pJ_per_word"] * PJ,
                write_j=row["energy_write_pJ_per_word"] * PJ,
                mesh=_mesh(row, inner),
                buffering="shadow" if row["capacity_words_per_instance"] == 1 else "double",
                shared_port=not levels,
            )
        )
    return Accelerator(
        name=name,
        levels=tuple(levels),
        mac_j=entry["mac"]["energy_pJ_per_mac"] * PJ,
        macs_per_cycle=entry["mac"]["macs_per_cycle_per_instance"],
        conventions=REFERENCE,
    )


def _mesh(outer: MappingABC[str, Any], inner: MappingABC[str, Any]) -> tuple[MeshAxis, ...]:
    x = inner["mesh_x"] // outer["mesh_x"]
    y = inner["instances"] // outer["instances"] // x
    return tuple(MeshAxis(name=name, size=size) for name, size in (("X", x), ("Y", y)) if size > 1)


def _case(entry: MappingABC[str, Any], accelerators: MappingABC[str, Accelerator]) -> Case:
    name, bounds = entry["id"], entry["bounds"]
    if entry["architecture"] not in accelerators:
        raise MappingError(f"case {name}: unknown architecture; {nearest(entry['architecture'], accelerators)}")
    accelerator = accelerators[entry["architecture"]]
    operator = (
        gemm_operator(name, bounds) if entry["problem"] == "gemm" else conv_operator(name, bounds, entry["stride"])
    )
    kept = {level.name: level.keeps for level in accelerator.levels}
    levels = [
        (
            row["level"],
            kept[row["level"]],
            _factors(row["temporal_outermost_first"]),
            {axis: _factors(loops) for axis, loops in row.get("spatial_below_this_level", {}).items()},
        )
        for row in entry["mapping"]
    ]
    named = {row[0] for row in levels}
    levels += [(level.name, level.keeps, [], {}) for level in accelerator.levels if level.name not in named]
    mapping = from_factors(levels, bounds)
    return Case(name=name, layer=entry["layer"], operator=operator, accelerator=accelerator, mapping=mapping)


def _factors(texts: list[str]) -> list[tuple[str, int]]:
    return [(dim, int(factor)) for dim, _, factor in (text.partition(":") for text in texts)]
