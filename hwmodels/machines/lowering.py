"""From a workload to the tasks of an accelerator: every operator goes to the array, to an engine, or is absorbed.

A product runs on the array, everything else on the first engine that takes it, in the order of the device's file. What
the array absorbs (`absorbing`) costs nothing. A vector unit chains functions whose result nothing else reads: the
intermediate never leaves it. Tensors that change between the array's integers and an engine that computes in floating
point are converted by that engine, those that change sides of a link are transferred: tasks of their own.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from hwmodels.engines import Engine, function_of
from hwmodels.machines.absorbing import absorption, with_bias
from hwmodels.machines.tasks import ARRAY, PRODUCTS, Task, Use
from hwmodels.mapping.problem import narrowed, problem_on
from hwmodels.spatial import Accelerator
from workloads.errors import MappingError
from workloads.operator import FREE_KINDS, Operator, Tensor
from workloads.workload import Workload

__all__ = ["lower"]


def lower(work: Workload, accelerator: Accelerator) -> tuple[Task, ...]:
    """Give the tasks of a network on an accelerator, in the order of the network.

    Args:
        work: Scalar.
        accelerator: Where it runs.

    Raises:
        MappingError: An operator that neither the array nor an engine takes: its type, and what each engine takes.
    """
    state = _Lowering(work, accelerator)
    for op in work.operators:
        state.take(op)
    return state.finished()


@dataclass(slots=True)
class _Lowering:
    """The tasks so far: mutable, as operators join tasks that are there already.

    Attributes:
        work: The network.
        accelerator: Where it runs.
        tasks: By place.
        root: Buffer of each tensor that shares one.
        maker: Place of the task that writes a buffer.
        readers: Operators that read a tensor, views followed.
    """

    work: Workload
    accelerator: Accelerator
    tasks: list[Task] = field(default_factory=list)
    root: dict[str, str] = field(default_factory=dict)
    maker: dict[str, int] = field(default_factory=dict)
    readers: dict[str, list[Operator]] = field(init=False)

    def __post_init__(self) -> None:
        self.readers = self.work.consumers()

    def take(self, op: Operator) -> None:
        """Put one operator somewhere."""
        if op.kind in FREE_KINDS:
            self._share(op)
            return
        refusal = self._refusal(op)
        if refusal is None:
            self._add_product(op)
            return
        absorbed = absorption(op, self.accelerator, self._is_lone_result, lambda: self._feeds_products(op))
        if absorbed:
            self._absorb(op, absorbed)
        else:
            self._add_function(op, refusal)

    def finished(self) -> tuple[Task, ...]:
        """Give the tasks, with conversions and transfers between them."""
        from hwmodels.machines.crossing import with_crossings

        return with_crossings(self.tasks, self.accelerator)

    def _share(self, op: Operator) -> None:
        sources = [tensor for tensor in op.inputs if tensor.role != "weight"] or list(op.inputs)
        for tensor in op.outputs:
            self.root[tensor.name] = self.root.get(sources[0].name, sources[0].name) if sources else tensor.name

    def _refusal(self, op: Operator) -> str | None:
        """Say why the array does not run an operator; None: it does."""
        if op.kind not in PRODUCTS:
            return f"{op.kind}: no product of two tensors"
        try:
            problem_on(self._fitted(op), self.accelerator, self.accelerator.conventions)
        except MappingError as error:
            return str(error)
        return None

    def _fitted(self, op: Operator) -> Operator:
        single, most = replace(op, count=1), self.accelerator.operand_bits
        return single if most is None else narrowed(single, most)

    def _add_product(self, op: Operator) -> None:
        product = self._fitted(op)
        weight, data = product.inputs[1], product.inputs[0]
        if data.role == "weight" and weight.role != "weight":
            weight, data = data, weight
        reads = [self._use(tensor, product, role) for tensor, role in ((weight, "W"), (data, "I"))]
        reads += [self._use(tensor, product) for tensor in product.inputs[2:]]
        self._add(Task(
            name=op.name, kind="product", engine=ARRAY, operators=(op,), reads=tuple(reads),
            writes=(self._use(product.outputs[0], product, "O"),), executions=float(op.count), product=product,
        ))  # fmt: skip

    def _add(self, task: Task) -> None:
        for use in task.writes:
            self.maker[use.name] = len(self.tasks)
        self.tasks.append(task)

    def _use(self, tensor: Tensor, op: Operator, role: str = "") -> Use:
        name = self.root.get(tensor.name, tensor.name)
        bits = float(tensor.bits_per_value())
        return Use(
            name=name, bytes=float(tensor.bytes(op.dims)), bits=bits, role=role, constant=tensor.role == "weight"
        )

    def _is_lone_result(self, tensor: Tensor) -> bool:
        """Say whether a tensor is the result of a product that nothing but one operator reads."""
        at = self.maker.get(self.root.get(tensor.name, tensor.name))
        return at is not None and self.tasks[at].kind == "product" and self._is_read_once(tensor.name)

    def _is_read_once(self, name: str) -> bool:
        return len(self.readers.get(name, ())) == 1 and name not in self.work.outputs

    def _feeds_products(self, op: Operator) -> bool:
        readers = list(self.readers.get(op.outputs[0].name, ()))
        ends = []
        while readers:
            reader = readers.pop()
            if reader.kind in (*FREE_KINDS, "move"):
                readers += [one for tensor in reader.outputs for one in self.readers.get(tensor.name, ())]
            else:
                ends.append(reader)
        return bool(ends) and all(self._refusal(reader) is None for reader in ends)

    def _absorb(self, op: Operator, by: str) -> None:
        data = next(tensor for tensor in op.inputs if tensor.role != "weight")
        name = self.root.get(data.name, data.name)
        for tensor in op.outputs:
            self.root[tensor.name] = name
        at = self.maker.get(name)
        if at is None:
            return
        task = replace(self.tasks[at], absorbed=(*self.tasks[at].absorbed, (op.name, by)))
        if by == "bias" and task.product is not None:
            constant = next(tensor for tensor in op.inputs if tensor.role == "weight")
            product = with_bias(task.product, constant, op, float(self.accelerator.acc_bits or task.product.acc_bits))
            task = replace(task, product=product, reads=(*task.reads, self._use(product.inputs[-1], product)))
        self.tasks[at] = task

    def _add_function(self, op: Operator, refusal: str) -> None:
        engine = self._engine_for(op, refusal)
        narrow = self._fitted(op) if not engine.converts else replace(op, count=1)
        reads = {use.name: use for use in (self._use(tensor, narrow) for tensor in narrow.inputs)}
        writes = tuple(self._use(tensor, narrow) for tensor in narrow.outputs)
        at = self._chain(op, engine)
        if at is None:
            self._add(Task(
                name=op.name, kind="function", engine=engine.name, operators=(narrow,), reads=tuple(reads.values()),
                writes=writes, executions=float(op.count),
            ))  # fmt: skip
            return
        before = self.tasks[at]
        inside = {use.name for use in before.writes}
        known = {use.name for use in before.reads}
        more = tuple(use for use in reads.values() if use.name not in inside | known)
        self.tasks[at] = replace(
            before, operators=(*before.operators, narrow), reads=(*before.reads, *more), writes=writes
        )
        for use in writes:
            self.maker[use.name] = at

    def _chain(self, op: Operator, engine: Engine) -> int | None:
        """Give the place of a task on the same vector unit whose result only this operator reads."""
        if engine.kind != "vector":
            return None
        for tensor in op.inputs:
            at = self.maker.get(self.root.get(tensor.name, tensor.name))
            if at is None or not self._is_read_once(tensor.name):
                continue
            task = self.tasks[at]
            alike = task.engine == engine.name and task.elements == float(op.points()) and len(task.writes) == 1
            if alike and task.executions == float(op.count) and self._ready(op, at):
                return at
        return None

    def _ready(self, op: Operator, at: int) -> bool:
        """Say whether everything that an operator reads is there when a task starts."""
        places = [self.maker.get(self.root.get(tensor.name, tensor.name), -1) for tensor in op.inputs]
        return all(place <= at for place in places)

    def _engine_for(self, op: Operator, refusal: str) -> Engine:
        for engine in self.accelerator.engines:
            if engine.takes(op):
                return engine
        takes = "; ".join(f"{one.name} takes {', '.join(one.cycles)}" for one in self.accelerator.engines)
        raise MappingError(
            f"{op.name} ({op.op_type}): no engine of {self.accelerator.name} takes it: the array does not ({refusal}), "
            f"{takes or 'it has no other engine'}; it needs {function_of(op)!r}, or a host with 'flop'"
        )
