"""Handler of Einsum: any equation, as products over the letters that it sums.

Two operands that share a summed letter are a matrix product: letters of both operands that stay are its batch (b0..),
letters of one that stay its rows (m..) and columns (n..), summed ones k... More than two operands are contracted two by
two from the left, as ONNX Runtime does; a letter is summed as soon as no later operand needs it, and one that a single
operand has before the product.
"""

from __future__ import annotations

import itertools
import string
from collections.abc import Sequence
from dataclasses import dataclass

from workloads.errors import WorkloadError
from workloads.onnx.builder import Builder, Node, Value, index_names, plain
from workloads.operator import Axis, Tensor, axis

__all__ = ["einsum"]

_SPARE = string.digits
"""Stand for the axes of an ellipsis: no equation has digits."""


@dataclass(frozen=True, slots=True)
class _Term:
    """One operand: its tensor and the letter of each axis."""

    value: Value
    letters: str


def einsum(node: Node, builder: Builder) -> None:
    """Einsum.

    Raises:
        WorkloadError: The equation does not fit the operands.
    """
    values = [builder.value(node, index) for index in range(len(node.inputs))]
    operands, result = _parsed(node, node.text("equation"), values)
    sizes = _sizes(node, operands)
    output = builder.put(node, [sizes[letter] for letter in result], values[0].code)
    if len(operands) == 1:
        _emit_single(node, builder, operands[0], _Term(output, result), sizes)
        return
    left = operands[0]
    for number, right in enumerate(operands[1:], start=1):
        last = number == len(operands) - 1
        later = set(result).union(*[operand.letters for operand in operands[number + 1 :]])
        kept = result if last else "".join(dict.fromkeys(c for c in left.letters + right.letters if c in later))
        shape = [sizes[letter] for letter in kept]
        target = output if last else builder.inner(node, f"step.{number}", shape, output.code)
        suffix = "" if last else f":step.{number}"
        left = _summed(node, builder, left, later | set(right.letters), sizes, f"left.{number}")
        right = _summed(node, builder, right, later | set(left.letters), sizes, f"right.{number}")
        _emit_pair(node, builder, (left, right), _Term(target, kept), sizes, suffix)
        left = _Term(target, kept)


def _parsed(node: Node, equation: str, values: Sequence[Value]) -> tuple[list[_Term], str]:
    """Read an equation: a letter per axis of every operand, and the letters of the result."""
    left, arrow, right = equation.replace(" ", "").partition("->")
    parts = left.split(",")
    if len(parts) != len(values):
        raise WorkloadError(f"node {node.name!r} (Einsum): {equation!r} has {len(parts)} operands, not {len(values)}")
    spread = max((value.rank - len(part.replace("...", "")) for part, value in zip(parts, values, strict=True)
                  if "..." in part), default=0)  # fmt: skip
    operands = []
    for part, value in zip(parts, values, strict=True):
        free = value.rank - len(part.replace("...", ""))
        letters = part.replace("...", _SPARE[max(0, spread - free) : spread])
        if len(letters) != value.rank or (letters and not letters.isalnum()):
            raise WorkloadError(f"node {node.name!r} (Einsum): {part!r} in {equation!r} does not fit {value.shape}")
        operands.append(_Term(value, letters))
    if arrow:
        result = right.replace("...", _SPARE[:spread])
    else:  # implicit: the ellipsis, then every letter that occurs once, sorted
        result = _SPARE[:spread] + "".join(sorted(c for c in set(left) - set(",.") if left.count(c) == 1))
    known = set("".join(operand.letters for operand in operands))
    if len(set(result)) < len(result) or not set(result) <= known:
        raise WorkloadError(f"node {node.name!r} (Einsum): the result of {equation!r} names no axes of the operands")
    return operands, result


def _sizes(node: Node, operands: Sequence[_Term]) -> dict[str, int]:
    """Give each letter its size; an axis of one broadcasts."""
    sizes: dict[str, int] = {}
    for operand in operands:
        for letter, extent in zip(operand.letters, operand.value.shape, strict=True):
            if sizes.setdefault(letter, extent) == 1:
                sizes[letter] = extent
            elif extent not in (1, sizes[letter]):
                shapes = ", ".join(str(term.value.shape) for term in operands)
                raise WorkloadError(
                    f"node {node.name!r} (Einsum): shapes {shapes} do not fit {node.text('equation')!r}; "
                    "check the sizes given for the symbolic dims"
                )
    return sizes


def _read(builder: Builder, term: _Term, names: dict[str, str], sizes: dict[str, int]) -> Tensor:
    """Describe an operand; of a diagonal only its share is touched."""
    axes: list[Axis] = []
    touched = 1.0
    for position, (letter, extent) in enumerate(zip(term.letters, term.value.shape, strict=True)):
        if letter in term.letters[:position]:
            axes.append(axis(extent=extent))
            touched /= max(1, extent)
        else:
            axes.append(plain(names[letter]) if extent == sizes[letter] else axis(extent=extent))
    return builder.tensor(term.value, axes, touched)


def _summed(node: Node, builder: Builder, term: _Term, needed: set[str], sizes: dict[str, int], part: str) -> _Term:
    """Sum an operand over the letters that nobody else needs."""
    kept = "".join(dict.fromkeys(letter for letter in term.letters if letter in needed))
    if set(kept) == set(term.letters):
        return term
    extents = dict(zip(term.letters, term.value.shape, strict=True))
    result = _Term(builder.inner(node, part, [extents[letter] for letter in kept], term.value.code), kept)
    _emit_single(node, builder, term, result, extents, f":{part}")
    return result


def _emit_single(node: Node, builder: Builder, x: _Term, y: _Term, sizes: dict[str, int], suffix: str = "") -> None:
    """Emit a sum over letters, or a change of their order."""
    letters = dict.fromkeys(x.letters)
    names = dict(zip(letters, index_names(len(letters)), strict=True))
    dims = {name: sizes[letter] for letter, name in names.items()}
    summed = set(x.letters) - set(y.letters)
    written = builder.tensor(y.value, [plain(names[letter]) for letter in y.letters])
    kind, flops = ("reduce", 1.0) if summed else ("move", 0.0)
    inputs = [_read(builder, x, names, sizes)]
    builder.emit(node, kind, dims, inputs, [written], flops, code=x.value.code, suffix=suffix)


def _emit_pair(
    node: Node, builder: Builder, operands: tuple[_Term, _Term], y: _Term, sizes: dict[str, int], suffix: str
) -> None:
    """Emit a product of two operands: a contraction where a letter is summed."""
    first, second = (set(operand.letters) for operand in operands)
    result = set(y.letters)
    kinds = {
        "b": [c for c in y.letters if c in first and c in second],
        "m": [c for c in y.letters if c in first - second],
        "n": [c for c in y.letters if c in second - first],
        "k": sorted((first | second) - result),
    }
    names = {c: name for kind, letters in kinds.items() for c, name in zip(letters, _named(kind, letters), strict=True)}
    dims = {names[c]: sizes[c] for c in itertools.chain(*kinds.values())}
    for name in "mnk" if kinds["k"] else "":  # a product of matrices has all three, as MatMul does
        if not any(dim.startswith(name) for dim in dims):
            dims[name] = 1
    inputs = [_read(builder, operand, names, sizes) for operand in operands]
    written = builder.tensor(y.value, [plain(names[c]) for c in y.letters])
    kind, flops = ("matmul", 2.0) if kinds["k"] else ("elementwise", 1.0)
    code = builder.pair_format(operands[0].value, operands[1].value)
    builder.emit(node, kind, dims, inputs, [written], flops, code=code, suffix=suffix)


def _named(kind: str, letters: Sequence[str]) -> list[str]:
    """Name dims as MatMul does: b0, b1, ...; m, n, k alone, numbered only where there are several."""
    if kind != "b" and len(letters) == 1:
        return [kind]
    return [f"{kind}{position}" for position in range(len(letters))]
