"""Mapping cases in files, `architectures.yaml` and `cases.yaml` in the format of the reference set.

`tests/golden/reference/mapping/README.md` describes the format.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterable
from collections.abc import Mapping as MappingABC
from dataclasses import dataclass
from pathlib import Path

from hwmodels.mapping.case_schema import (
    ArchitectureEntry,
    CaseEntry,
    LevelEntry,
    MacEntry,
    NestEntry,
    read_architecture_entries,
    read_case_entries,
)
from hwmodels.mapping.records import Mapping, from_factors
from hwmodels.spatial import REFERENCE, Accelerator, BufferLevel, MeshAxis
from workloads.errors import MappingError, nearest
from workloads.operator import Axis, Operator, Tensor, axis

__all__ = ["Case", "conv_operator", "gemm_operator", "read_architectures", "read_cases"]

PJ = 1e-12

_DIMS = {"gemm": "MNK", "conv": "RSPQCKN"}


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
    """Give O[m,n] += I[m,k] W[k,n], in int8 with 32-bit sums, by its sizes M, N, K.

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


def conv_operator(
    name: str, bounds: MappingABC[str, int], stride: int = 1, pad: int = 0, dilation: int = 1
) -> Operator:
    """Give a convolution in int8 with 32-bit sums, the same along P, R and Q, S.

    O[n,k,q,p] += I[n,c,stride q + dilation s - pad,stride p + dilation r - pad] W[c,k,r,s].

    Args:
        name: Of the operator.
        bounds: R, S, P, Q, C, K, N.
        stride: At least 1.
        pad: Elements of padding before and after.
        dilation: At least 1.

    Raises:
        MappingError: Stride, padding or dilation make no convolution.

    Example:
        >>> sizes = dict(R=3, S=3, P=4, Q=4, C=2, K=2, N=1)
        >>> conv_operator("c", sizes, stride=2).inputs[0].shape(sizes)
        (1, 2, 9, 9)
        >>> conv_operator("c", sizes, pad=1).inputs[0].shape(sizes)
        (1, 2, 4, 4)
    """
    if stride < 1 or dilation < 1 or pad < 0:
        raise MappingError(f"{name}: stride {stride}, dilation {dilation}, pad {pad}; give at least 1, 1 and 0")

    def window(out: str, tap: str) -> Axis:
        extent = stride * (bounds[out] - 1) + dilation * (bounds[tap] - 1) + 1 - 2 * pad
        if extent < 1:
            raise MappingError(f"{name}: with pad {pad} no input is left along {out} and {tap}; give less")
        return (
            axis((stride, out), (dilation, tap), offset=-pad, extent=extent)
            if pad
            else axis((stride, out), (dilation, tap))
        )

    tensors = (
        Tensor(name="I", axes=(axis("N"), axis("C"), window("Q", "S"), window("P", "R")), bits=8),
        Tensor(name="W", axes=(axis("C"), axis("K"), axis("R"), axis("S")), role="weight", bits=8),
        Tensor(name="O", axes=(axis("N"), axis("K"), axis("Q"), axis("P")), bits=8),
    )
    return Operator(name=name, op_type="Conv", kind="conv", dims=dict(bounds), inputs=tensors[:2], outputs=tensors[2:])


def read_architectures(path: str | os.PathLike[str]) -> dict[str, Accelerator]:
    """Read accelerators; they count by `REFERENCE`.

    Args:
        path: An `architectures.yaml`.

    Raises:
        MappingError: Faults of the file.
    """
    return {name: _accelerator(name, entry, path) for name, entry in read_architecture_entries(Path(path)).items()}


def read_cases(path: str | os.PathLike[str], accelerators: MappingABC[str, Accelerator]) -> list[Case]:
    """Read cases.

    Args:
        path: A `cases.yaml`.
        accelerators: By name.

    Raises:
        MappingError: Faults of the file: the case, and what is wrong with it.
    """
    entries = read_case_entries(Path(path))
    names = [entry.id for entry in entries]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise MappingError(f"{path}: case {twice[0]} is there twice; give every case an id of its own")
    cases = []
    for entry in entries:
        try:
            cases.append(_case(entry, accelerators))
        except MappingError as error:
            raise MappingError(f"{path}: case {entry.id}: {error}") from None
    return cases


def _accelerator(name: str, entry: ArchitectureEntry, path: str | os.PathLike[str]) -> Accelerator:
    rows: list[LevelEntry | MacEntry] = [*entry.levels_outermost_first, entry.mac]
    if len(rows) < 2 or entry.levels_outermost_first[0].instances != 1:
        raise MappingError(f"{path}: {name}: the outermost level has to be there, once (instances: 1)")
    levels = [
        BufferLevel(
            name=row.name,
            keeps=tuple(row.tensors_kept),
            capacity_words=row.capacity_words_per_instance,
            word_bits=row.word_bits,
            read_words_per_cycle=row.read_bw_words_per_cycle_per_instance,
            write_words_per_cycle=row.write_bw_words_per_cycle_per_instance,
            read_j=row.energy_read_pJ_per_word * PJ,
            write_j=row.energy_write_pJ_per_word * PJ,
            mesh=_mesh(row, inner, f"{path}: {name}: below {row.name}"),
            buffering="shadow" if row.capacity_words_per_instance == 1 else "double",
            shared_port=place == 0,
        )
        for place, (row, inner) in enumerate(zip(entry.levels_outermost_first, rows[1:], strict=True))
    ]
    return Accelerator(
        name=name,
        levels=tuple(levels),
        mac_j=entry.mac.energy_pJ_per_mac * PJ,
        macs_per_cycle=entry.mac.macs_per_cycle_per_instance,
        conventions=REFERENCE,
    )


def _mesh(outer: LevelEntry, inner: LevelEntry | MacEntry, where: str) -> tuple[MeshAxis, ...]:
    """Give the fan-out between two levels: mesh_x and instances of the inner one over those of the outer one."""
    x, rest_x = divmod(inner.mesh_x, outer.mesh_x)
    fan_out, rest = divmod(inner.instances, outer.instances)
    if rest_x or rest or fan_out % max(x, 1):
        raise MappingError(
            f"{where}: {inner.instances} instances, {inner.mesh_x} along X, do not divide over "
            f"{outer.instances} instances, {outer.mesh_x} along X"
        )
    sizes = {"X": x, "Y": fan_out // x}
    return tuple(MeshAxis(name=name, size=size) for name, size in sizes.items() if size > 1)


def _case(entry: CaseEntry, accelerators: MappingABC[str, Accelerator]) -> Case:
    if entry.architecture not in accelerators:
        raise MappingError(f"unknown architecture {entry.architecture!r}; {nearest(entry.architecture, accelerators)}")
    dims = _DIMS[entry.problem]
    if set(entry.bounds) != set(dims):
        raise MappingError(f"a {entry.problem} has the bounds {', '.join(dims)}; found {', '.join(entry.bounds)}")
    accelerator = accelerators[entry.architecture]
    return Case(
        name=entry.id,
        layer=entry.layer,
        operator=gemm_operator(entry.id, entry.bounds)
        if entry.problem == "gemm"
        else conv_operator(entry.id, entry.bounds, entry.stride),
        accelerator=accelerator,
        mapping=_mapping(entry, accelerator),
    )


def _mapping(entry: CaseEntry, accelerator: Accelerator) -> Mapping:
    nests: dict[str, NestEntry] = {}
    for nest in entry.mapping:
        accelerator.level_index(nest.level)
        if nest.level in nests:
            raise MappingError(f"level {nest.level} is there twice; put all its loops in one entry")
        nests[nest.level] = nest
    empty = NestEntry(level="")
    mapping = from_factors(
        (
            (
                level.name,
                level.keeps,
                _factors(nests.get(level.name, empty).temporal_outermost_first),
                {
                    name: _factors(loops)
                    for name, loops in nests.get(level.name, empty).spatial_below_this_level.items()
                },
            )
            for level in accelerator.levels
        ),
        entry.bounds,
    )
    for dim, size in entry.bounds.items():
        factors = [text for nest in entry.mapping for text in _texts(nest) if text.partition(":")[0].strip() == dim]
        product = math.prod(factor for _, factor in _factors(factors))
        if product != size:
            raise MappingError(
                f"the factors of {dim} ({', '.join(factors) or 'none'}) multiply to {product}, not {size}"
            )
    return mapping


def _texts(nest: NestEntry) -> list[str]:
    return [
        *nest.temporal_outermost_first,
        *(text for texts in nest.spatial_below_this_level.values() for text in texts),
    ]


def _factors(texts: Iterable[str]) -> list[tuple[str, int]]:
    pairs = []
    for text in texts:
        dim, _, factor = text.partition(":")
        if not factor.strip().isdecimal():
            raise MappingError(f"loop {text!r} is not DIM:FACTOR with a whole number; write M:4")
        pairs.append((dim.strip(), int(factor)))
    return pairs
