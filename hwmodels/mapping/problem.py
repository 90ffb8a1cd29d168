"""An operator as the mapper sees it: dims, and three tensors whose footprints are products over independent axes."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from hwmodels.mapping.homes import Resident, find_homes
from hwmodels.spatial import ROLES, Accelerator, Conventions, Role
from workloads.errors import MappingError
from workloads.operator import Axis, Operator, Tensor, is_batch

__all__ = ["Operand", "Problem", "Window", "narrowed", "problem_of", "problem_on"]


MOST_MACS = 1 << 53
"""Of an operator: counts up to it are exact as float64."""


@dataclass(frozen=True, slots=True)
class Window:
    """An axis that several dims share: index = offset + sum(coefficient x dim), clipped to [0, extent).

    Attributes:
        terms: (coefficient, dim).
        offset: -padding.
        extent: Stored length; None: whatever the dims reach.
    """

    terms: tuple[tuple[int, str], ...]
    offset: int = 0
    extent: int | None = None

    @property
    def dims(self) -> tuple[str, ...]:
        """The dims that share the axis."""
        return tuple(dim for _, dim in self.terms)


@dataclass(frozen=True, slots=True)
class Operand:
    """One tensor of the product.

    Attributes:
        role: W, I, O.
        name: Of the tensor.
        dims: Dims that index an axis alone, in the tensor's order.
        windows: Axes that several dims share.
        bits: Stored width of one element, density and overheads included [bit].
        layout: How it is stored, slowest axis first: the name of a dim, or the place of a window.
    """

    role: Role
    name: str
    dims: tuple[str, ...]
    windows: tuple[Window, ...]
    bits: float
    layout: tuple[str | int, ...]

    @property
    def indexed(self) -> frozenset[str]:
        """All dims that the tensor depends on."""
        return frozenset((*self.dims, *(dim for window in self.windows for dim in window.dims)))


@dataclass(frozen=True, slots=True)
class Problem:
    """A loop nest of multiply-accumulates over three tensors.

    Attributes:
        name: Of the operator.
        sizes: Size of each dim, in the operator's order.
        operands: W, I, O by role.
        acc_bits: Width of partial sums [bit].
        extra_values: Values of further inputs (a bias), each read once from the outermost level.
        extra_bits: Their bits in all [bit].
        homes: Places of the levels that tensors lie whole in (`residency`), by role.
    """

    name: str
    sizes: dict[str, int]
    operands: dict[Role, Operand]
    acc_bits: float
    extra_values: int = 0
    extra_bits: float = 0.0
    homes: Mapping[Role, int] = field(default_factory=dict)

    @property
    def outlet(self) -> int:
        """Place of the level that finished outputs are written into, if it keeps no partial sums; else 0."""
        return self.homes.get("O", 0)

    @property
    def macs(self) -> int:
        """Points of the nest."""
        return math.prod(self.sizes.values())

    def indexes(self, dim: str) -> frozenset[Role]:
        """Give the roles of the tensors that a dim indexes."""
        return frozenset(role for role, operand in self.operands.items() if dim in operand.indexed)


def problem_on(
    operator: Operator, accelerator: Accelerator, rules: Conventions, resident: Resident | None = None
) -> Problem:
    """Give an operator as the mapper sees it on an accelerator: windows by convention, partial sums as wide as there.

    Args:
        operator: Scalar.
        accelerator: Where it runs.
        rules: What counts include.
        resident: Levels that tensors lie whole in, by role (`residency`).

    Raises:
        MappingError: As `problem_of` and `find_homes`; or counts are bit-true and an operand is wider than the array
            takes.
    """
    problem = problem_of(operator, rules.exact_windows)
    if resident:
        problem = replace(problem, homes=find_homes(accelerator, resident, operator.name))
    if accelerator.acc_bits is not None:
        problem = replace(problem, acc_bits=float(accelerator.acc_bits))
    most = accelerator.operand_bits
    wide = [tensor for tensor in operator.inputs[:2] if most is not None and tensor.bits > most]
    if wide and rules.bit_true:
        raise MappingError(
            f"{operator.name}: {wide[0].name!r} has {wide[0].bits:g}-bit elements, {accelerator.name} takes "
            f"at most {most}; quantize the model, or cost the operator as if it were: narrowed(operator, {most})"
        )
    return problem


def narrowed(operator: Operator, bits: int) -> Operator:
    """Give an operator with all elements at most so wide: what it would be if it were quantized.

    Example:
        >>> from hwmodels.mapping.cases import gemm_operator
        >>> narrowed(gemm_operator("g", {"M": 2, "N": 3, "K": 4}), 4).inputs[0].bits
        4
    """

    def narrow(tensor: Tensor) -> Tensor:
        return tensor if tensor.bits <= bits else replace(tensor, bits=bits)

    inputs, outputs = (tuple(map(narrow, tensors)) for tensors in (operator.inputs, operator.outputs))
    return replace(operator, inputs=inputs, outputs=outputs)


def problem_of(operator: Operator, exact_windows: bool = True) -> Problem:
    """Give an operator as the mapper sees it.

    Inputs: the weight is W (of two activations or two weights, the second), the other I; further inputs that index only
    dims of the output (a bias) are read once and take no part in the mapping.

    Args:
        operator: Scalar.
        exact_windows: As `Conventions.exact_windows`: off, every axis of the inputs that is not one dim is a window,
            whose tiles are bounding boxes.

    Raises:
        MappingError: Not a product of two tensors, or its tensors have axes that cannot be taken apart.

    Example:
        >>> from workloads import Operator, Tensor, axis
        >>> a, b, c = (Tensor(name=n, axes=tuple(map(axis, d))) for n, d in (("a", "mk"), ("b", "kn"), ("c", "mn")))
        >>> sizes = dict(m=4, n=5, k=6)
        >>> gemm = Operator(name="g", op_type="MatMul", kind="matmul", dims=sizes, inputs=(a, b), outputs=(c,))
        >>> sorted(problem_of(gemm).indexes("n"))
        ['O', 'W']
    """
    if len(operator.inputs) < 2 or len(operator.outputs) != 1:
        raise MappingError(
            f"{operator.name} ({operator.op_type}): has {len(operator.inputs)} inputs and {len(operator.outputs)} "
            "outputs; only a product of two tensors with one output can be mapped on a MAC array"
        )
    if any(is_batch(size) for size in operator.dims.values()):
        raise MappingError(f"{operator.name}: a batch of design points cannot be mapped; take one row of it first")
    sizes = _sizes(operator)
    weight, data, extra = _roles(operator)
    tensors = dict(zip(ROLES, (weight, data, operator.outputs[0]), strict=True))
    operands = {role: _operand(role, tensor, sizes, operator.name, exact_windows) for role, tensor in tensors.items()}
    unused = [dim for dim in sizes if sizes[dim] > 1 and not any(dim in item.indexed for item in operands.values())]
    if unused:
        raise MappingError(f"{operator.name}: dim {unused[0]!r} indexes no tensor")
    values = [(int(tensor.values(operator.dims)), float(tensor.bits_per_value())) for tensor in extra]
    return Problem(
        operator.name,
        sizes,
        operands,
        float(operator.acc_bits),
        sum(count for count, _ in values),
        sum(count * bits for count, bits in values),
    )


def _sizes(operator: Operator) -> dict[str, int]:
    """Give the dims, if all counts of the operator are exact."""
    sizes: dict[str, int] = {}
    for dim, size in operator.dims.items():
        if size < 1 or int(size) != size:
            raise MappingError(f"{operator.name}: dim {dim!r} is {size}; give a whole number of at least 1")
        sizes[dim] = int(size)
    if math.prod(sizes.values()) > MOST_MACS:
        raise MappingError(
            f"{operator.name}: {math.prod(sizes.values()):,} multiply-accumulates; counts are exact up to "
            f"2^53 = {MOST_MACS:,}: cut the operator into parts"
        )
    return sizes


def _roles(operator: Operator) -> tuple[Tensor, Tensor, tuple[Tensor, ...]]:
    """Choose W, I and the rest among the inputs."""
    reduced = set(operator.dims) - {dim for item in operator.outputs[0].axes for _, dim in item.terms}
    first, second, *rest = operator.inputs
    weight, data = (first, second) if first.role == "weight" and second.role != "weight" else (second, first)
    for tensor in rest:
        dims = {dim for item in tensor.axes for _, dim in item.terms}
        if dims & reduced:
            raise MappingError(
                f"{operator.name}: input {tensor.name!r} is a third factor of the product; only two can be mapped"
            )
    return weight, data, tuple(rest)


def _operand(role: Role, tensor: Tensor, sizes: dict[str, int], name: str, exact_windows: bool) -> Operand:
    dims: list[str] = []
    windows: list[Window] = []
    layout: list[str | int] = []
    for item in tensor.axes:
        alone, window = _parts(item, sizes, exact_windows or role != "I")
        dims += alone
        layout += alone
        if window is not None:
            layout.append(len(windows))
            windows.append(window)
    used = dims + [dim for window in windows for dim in window.dims]
    twice = sorted({dim for dim in used if used.count(dim) > 1})
    if twice:
        raise MappingError(
            f"{name}: dim {twice[0]!r} indexes two axes of {tensor.name!r}; its tiles are no boxes and cannot be mapped"
        )
    return Operand(role, tensor.name, tuple(dims), tuple(windows), float(tensor.bits_per_value()), tuple(layout))


def _parts(item: Axis, sizes: dict[str, int], digits: bool) -> tuple[list[str], Window | None]:
    """Split an axis into dims that index it independently (one dim, or digits of one number), or a window."""
    terms = tuple((coefficient, dim) for coefficient, dim in item.terms if sizes[dim] > 1)
    first = item.offset + sum(min(coefficient * (sizes[dim] - 1), 0) for coefficient, dim in terms)
    last = item.offset + sum(max(coefficient * (sizes[dim] - 1), 0) for coefficient, dim in terms)
    extent = None if item.extent is None else int(item.extent)
    clipped = extent is not None and (first < 0 or last >= extent)
    if not terms and not clipped:
        return [], None
    alone = len(terms) == 1 and terms[0][0] == 1
    if not clipped and (alone or (digits and _are_digits(terms, sizes))):
        return [dim for _, dim in sorted(terms, reverse=True)], None
    return [], Window(terms, item.offset, extent) if clipped else Window(terms, item.offset - first)


def _are_digits(terms: tuple[tuple[int, str], ...], sizes: dict[str, int]) -> bool:
    """Say whether the dims are digits of one number: no two combinations of them meet."""
    reach = 0
    for coefficient, dim in sorted(terms):
        if coefficient <= reach:
            return False
        reach += coefficient * (sizes[dim] - 1)
    return True
