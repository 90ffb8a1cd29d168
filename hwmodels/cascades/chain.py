"""Cascades: products and the functions between them, with one name for every index.

A `Cascade` is one product or two, each followed by the functions that its results pass through: queries x keys,
softmax, x values. The operators of a network name their dims each for itself; here a dim has the same name in all.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from hwmodels.engines import ROW_FUNCTIONS, function_of
from workloads.errors import MappingError
from workloads.operator import Axis, Operator, Tensor, axis

__all__ = ["PRODUCTS", "Cascade", "Link", "cascade_of", "row_dims"]

PRODUCTS = ("matmul", "conv")
"""Operator kinds that run on the array."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Link:
    """A product and the functions that its results pass through.

    Attributes:
        product: Runs on the array.
        functions: In order; empty: the results go on as they are.
        kept: What the functions make is read by others too (or is the end of the cascade): it goes to the outermost
            level besides.
    """

    product: Operator
    functions: tuple[Operator, ...] = ()
    kept: bool = False

    @property
    def sums(self) -> Tensor:
        """What the product makes."""
        return self.product.outputs[0]

    @property
    def result(self) -> Tensor:
        """What leaves the last function."""
        return (self.functions or (self.product,))[-1].outputs[0]

    @property
    def whole_rows(self) -> frozenset[str]:
        """Dims of the rows that some function needs whole."""
        return frozenset(dim for op in self.functions for dim in row_dims(op))

    @property
    def operators(self) -> tuple[Operator, ...]:
        """In order."""
        return (self.product, *self.functions)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Cascade:
    """One link or two; what the first makes is an operand of the second.

    Attributes:
        name: For reports.
        kind: "attention", "ffn", "matmul + layernorm", ...
        links: In order.
        sizes: Of every dim.
        executions: How often it runs in its network.
        names: Of the network's operators, in order.
    """

    name: str
    kind: str
    links: tuple[Link, ...]
    sizes: Mapping[str, int]
    executions: float = 1.0
    names: tuple[str, ...] = field(default_factory=tuple)

    @property
    def operators(self) -> tuple[Operator, ...]:
        """All of them, in order."""
        return tuple(op for link in self.links for op in link.operators)

    @property
    def flops(self) -> float:
        """FLOPs of one execution, without those of an online form."""
        return sum(float(op.flops()) for op in self.operators)


def row_dims(op: Operator) -> frozenset[str]:
    """Give the dims of the rows that a function needs whole: those of the last axis of what it reads.

    Example:
        >>> from workloads import Tensor, axis
        >>> x = Tensor(name="x", axes=(axis("m"), axis("n")))
        >>> softmax = Operator(name="s", op_type="Softmax", kind="softmax", dims={"m": 4, "n": 8}, inputs=(x,),
        ...                    outputs=(x,))
        >>> sorted(row_dims(softmax))
        ['n']
    """
    if function_of(op) not in ROW_FUNCTIONS:
        return frozenset()
    constants = [tensor for tensor in op.inputs if tensor.role == "weight" and len(tensor.axes) > 1]
    last = len(constants[0].axes) if constants else 1
    data = next(tensor for tensor in op.inputs if tensor.role != "weight")
    return frozenset(dim for item in data.axes[-last:] for _, dim in item.terms)


def cascade_of(
    operators: Sequence[Operator],
    name: str = "",
    kind: str = "",
    kept: Sequence[str] = (),
    executions: float = 1.0,
) -> Cascade:
    """Put operators that follow each other into a cascade.

    Args:
        operators: A product, functions, and perhaps another product and functions; each reads what the one before it
            writes. Scalar, with the widths that they run with.
        name: For reports.
        kind: Likewise.
        kept: Names of tensors between them that others read too.
        executions: How often all of it runs.

    Raises:
        MappingError: No product first, more than two products, an operator that does not read what the one before it
            writes, or reads it along other axes.
    """
    ops = list(operators)
    products = [place for place, op in enumerate(ops) if op.kind in PRODUCTS]
    if not products or products[0] != 0:
        first = f"{ops[0].name} ({ops[0].op_type})" if ops else "nothing"
        raise MappingError(f"a cascade starts with a product of two tensors, not with {first}")
    if len(products) > 2:
        names = ", ".join(ops[place].name for place in products)
        raise MappingError(f"a cascade has at most two products, these are {len(products)}: {names}; cut it")
    sizes: dict[str, int] = {}
    renamed: list[Operator] = []
    for op in ops:
        renamed.append(_renamed(op, renamed[-1] if renamed else None, sizes))
    links = []
    for start, end in zip(products, [*products[1:], len(ops)], strict=True):
        result = ops[end - 1].outputs[0].name
        links.append(
            Link(
                product=_with_own_bias(renamed[start]),
                functions=tuple(renamed[start + 1 : end]),
                kept=end == len(ops) or result in kept,
            )
        )
    return Cascade(
        name=name or " + ".join(op.name for op in ops),
        kind=kind,
        links=tuple(links),
        sizes=sizes,
        executions=executions,
        names=tuple(op.name for op in ops),
    )


def _renamed(op: Operator, before: Operator | None, sizes: dict[str, int]) -> Operator:
    """Give an operator with the names that its dims have in the cascade; new ones are added to `sizes`."""
    known: dict[str, tuple[tuple[int, str], ...]] = {}
    if before is not None:
        source = before.outputs[0]
        own = next((tensor for tensor in op.inputs if tensor.name == source.name), None)
        if own is None:
            raise MappingError(
                f"{op.name} ({op.op_type}) does not read {source.name!r}, the result of {before.name}; a cascade's "
                "operators follow each other"
            )
        known = _same_indices(op, own, before, source, sizes)
    for dim, size in op.dims.items():
        if dim in known or int(size) == 1:
            continue
        fresh = dim
        while fresh in sizes:
            fresh += "'"
        sizes[fresh] = int(size)
        known[dim] = ((1, fresh),)
    dims = {digit: sizes[digit] for dim in op.dims for _, digit in known.get(dim, ())}
    return replace(
        op,
        dims=dims,
        count=1,
        inputs=tuple(_rewritten(tensor, known) for tensor in op.inputs),
        outputs=tuple(_rewritten(tensor, known) for tensor in op.outputs),
    )


def _same_indices(
    op: Operator, own: Tensor, before: Operator, source: Tensor, sizes: Mapping[str, int]
) -> dict[str, tuple[tuple[int, str], ...]]:
    """Say which indices of the cascade a tensor's dims are: one each, or the digits of one."""
    if len(own.axes) != len(source.axes):
        raise MappingError(
            f"{op.name}: reads {own.name!r} with {len(own.axes)} axes, {before.name} writes {len(source.axes)}"
        )
    known: dict[str, tuple[tuple[int, str], ...]] = {}
    for mine, theirs in zip(own.axes, source.axes, strict=True):
        used = [(coefficient, dim) for coefficient, dim in mine.terms if int(op.dims[dim]) > 1]
        if not used and not theirs.terms:
            continue
        length = 1
        for _, dim in theirs.terms:
            length *= sizes[dim]
        if len(used) != 1 or used[0][0] != 1 or int(op.dims[used[0][1]]) != length:
            raise MappingError(
                f"{op.name}: the axes of {own.name!r} are not those that {before.name} writes; such a pair cannot be "
                "fused here"
            )
        known[used[0][1]] = theirs.terms
    return known


def _rewritten(tensor: Tensor, known: Mapping[str, tuple[tuple[int, str], ...]]) -> Tensor:
    axes = []
    for item in tensor.axes:
        terms = tuple((outer * inner, digit) for outer, dim in item.terms for inner, digit in known.get(dim, ()))
        plain = not terms and item.terms and item.extent is None
        axes.append(Axis() if plain else replace(item, terms=terms))
    return replace(tensor, axes=tuple(axes))


def _with_own_bias(op: Operator) -> Operator:
    """Give a product whose further inputs that are as long as its outputs' last axis are indexed by it."""
    last = op.outputs[0].axes[-1]
    if len(last.terms) != 1:
        return op
    dim = last.terms[0][1]

    def tied(tensor: Tensor) -> Tensor:
        alone = len(tensor.axes) == 1 and not tensor.axes[0].terms
        return replace(tensor, axes=(axis(dim),)) if alone and tensor.axes[0].extent == op.dims[dim] else tensor

    return replace(op, inputs=(*op.inputs[:2], *map(tied, op.inputs[2:])))
