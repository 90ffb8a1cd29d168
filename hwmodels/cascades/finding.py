"""Cascades of a network: attention, feed-forward blocks, products with functions behind them, by what reads what."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from hwmodels.cascades.chain import Cascade, cascade_of
from hwmodels.engines import ROW_FUNCTIONS, function_of
from hwmodels.machines.lowering import lower
from hwmodels.machines.tasks import Task
from hwmodels.spatial import Accelerator
from workloads.errors import MappingError
from workloads.operator import Operator
from workloads.workload import Workload

__all__ = ["cascade_key", "every_cascade", "find_cascades"]


def find_cascades(work: Workload, accelerator: Accelerator, wide_sums: bool = False) -> tuple[Cascade, ...]:
    """Find what can be fused in a network on an accelerator, in order; equal ones once, with their executions.

    A product, the functions that its results pass through on one engine, and the product that reads these are one
    cascade; the product and its functions alone are another one. What the array absorbs is no function.

    Args:
        work: Scalar.
        accelerator: With engines for its functions.
        wide_sums: Functions read a product's sums as wide as the accumulator makes them, also in the outermost level
            (integer-only functions, as in I-BERT); else at the width of the array's operands.

    Raises:
        MappingError: An operator that nothing takes.
    """
    found: dict[object, Cascade] = {}
    for cascade in every_cascade(work, accelerator, wide_sums):
        key = cascade_key(cascade)
        if key in found:
            cascade = replace(found[key], executions=found[key].executions + cascade.executions)
        found[key] = cascade
    return tuple(found.values())


def every_cascade(work: Workload, accelerator: Accelerator, wide_sums: bool = False) -> Iterator[Cascade]:
    """Give every cascade of a network by itself, equal ones too; see `find_cascades`.

    Args:
        work: Scalar.
        accelerator: With engines for its functions.
        wide_sums: As in `find_cascades`.
    """
    tasks = lower(work, accelerator)
    yield from _Chains(tasks, accelerator, wide_sums, frozenset(work.outputs), _aliases(work)).cascades()


def cascade_key(cascade: Cascade) -> tuple[object, ...]:
    """Give what cascades that cost the same have in common.

    Args:
        cascade: Which.
    """
    signatures = tuple(op.signature() for op in cascade.operators)
    return (cascade.kind, signatures, tuple(link.kept for link in cascade.links))


@dataclass(frozen=True, slots=True)
class _Chains:
    """The tasks of a network, and how they follow each other."""

    tasks: Sequence[Task]
    accelerator: Accelerator
    wide: bool
    outputs: frozenset[str]
    aliases: Mapping[str, str]

    def cascades(self) -> Iterator[Cascade]:
        """Give the cascades that start at each product."""
        for task in self.tasks:
            if task.kind != "product":
                continue
            function = self._function_after(task)
            product = self._product_after(function or task)
            for chain in ((task, function), (task, function, product)):
                parts = [part for part in chain if part is not None]
                if len(parts) == len(chain) or (len(chain) == 3 and function is None and product is not None):
                    yield from self._cascade(parts)

    def _readers(self, task: Task) -> list[Task]:
        names = {use.name for use in task.writes}
        return [one for one in self.tasks if any(use.name in names for use in one.reads)]

    def _function_after(self, task: Task) -> Task | None:
        readers = self._readers(task)
        if len(readers) != 1 or readers[0].kind != "function":
            return None
        engine = next((one for one in self.accelerator.engines if one.name == readers[0].engine), None)
        return readers[0] if engine is not None and engine.kind == "vector" else None

    def _product_after(self, task: Task) -> Task | None:
        products = [one for one in self._readers(task) if one.kind == "product"]
        return products[0] if len(products) == 1 and products[0].executions == task.executions else None

    def _cascade(self, parts: Sequence[Task]) -> Iterator[Cascade]:
        """Give the cascade of some tasks, if their operators follow each other along the same axes."""
        names = {use.name for task in parts for use in task.writes}
        kept = [
            use.name
            for task, after in zip(parts, [*parts[1:], None], strict=True)
            for use in task.writes
            if after is None or use.name in self.outputs or len(self._readers(task)) > 1
        ]
        operators: list[Operator] = []
        for task in parts:
            operators += [task.product] if task.product is not None else list(task.operators)
        if any(op.outputs[0].name in names and op.outputs[0].name in self.outputs for op in operators[:-1]):
            return
        joined = _joined(operators, self.aliases)
        try:
            yield cascade_of(
                _widened(joined, self.accelerator) if self.wide else joined,
                name=" + ".join(op.name for op in operators),
                kind=_kind(operators),
                kept=kept,
                executions=parts[0].executions,
            )
        except MappingError:  # other axes, or a view between them: no cascade
            return


def _aliases(work: Workload) -> dict[str, str]:
    """Give the tensors that hold what another one does, axis by axis: results of views, and of what arrays absorb."""
    found: dict[str, str] = {}
    for op in work.operators:
        data = [tensor for tensor in op.inputs if tensor.role != "weight"]
        if len(data) == len(op.outputs) == 1 and op.kind in ("view", "elementwise"):
            shapes = [[int(size) for size in tensor.shape(op.dims)] for tensor in (data[0], op.outputs[0])]
            if shapes[0] == shapes[1]:
                found[op.outputs[0].name] = found.get(data[0].name, data[0].name)
    return found


def _joined(operators: Sequence[Operator], aliases: Mapping[str, str]) -> list[Operator]:
    """Give operators each of which reads what the one before writes by its name, where absorbed ones renamed it."""
    joined = [operators[0]]
    for op in operators[1:]:
        before = joined[-1].outputs[0].name
        if all(tensor.name != before for tensor in op.inputs):
            same = [tensor.name for tensor in op.inputs if aliases.get(tensor.name) == before]
            renamed = tuple(replace(one, name=before) if one.name in same[:1] else one for one in op.inputs)
            op = replace(op, inputs=renamed)
        joined.append(op)
    return joined


def _widened(operators: Sequence[Operator], accelerator: Accelerator) -> list[Operator]:
    """Give operators whose sums stay as wide as the accumulator until the last function."""
    found: list[Operator] = []
    for op, after in zip(operators, [*operators[1:], None], strict=True):
        bits = float(accelerator.acc_bits or op.acc_bits)
        if after is not None and after.kind not in ("matmul", "conv"):
            op = replace(op, outputs=(replace(op.outputs[0], bits=bits),))
        if found and op.kind not in ("matmul", "conv"):
            name = found[-1].outputs[0].name
            wide = tuple(replace(one, bits=bits) if one.name == name else one for one in op.inputs)
            op = replace(op, inputs=wide)
        found.append(op)
    return found


def _kind(operators: Sequence[Operator]) -> str:
    """Name a cascade by its functions, and whether a product follows."""
    functions = [op for op in operators[1:] if op.kind not in ("matmul", "conv")]
    names = [function_of(op) for op in functions]
    rows = [name for name in names if name in ROW_FUNCTIONS]
    what = rows[0] if rows else names[-1] if names else ""
    products = len(operators) - len(functions)
    if products == 2:
        if what == "softmax":
            return "attention"
        if any(op.kind in ("gelu", "activation") for op in functions) or what in ("gelu", "relu", "exp"):
            return "ffn"
        return f"matmul + {what} + matmul" if what else "matmul + matmul"
    return f"matmul + {what}"
