"""Which operators run as one kernel: the workload's fused groups, and what a device's kernels fuse by themselves."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from hwmodels.step import Step
from workloads.operator import FREE_KINDS, Operator
from workloads.workload import Workload

__all__ = ["FUSIONS", "PRODUCTS", "is_cache_conversion", "is_weight_conversion", "plan_steps"]

FUSIONS: dict[str, str] = {
    "dequantize": "a matrix product unpacks and dequantizes stored weights, or a stored KV cache, on the way in",
    "epilogue": "a matrix product adds its bias on the way out",
}
"""What kernels may fuse by themselves: the values of `fuses` in a device file."""

PRODUCTS = ("matmul", "conv")
"""Operator kinds that run on the matrix units."""

# Kernels that unpack their own weight on every device.
_UNPACKING = ("MatMulNBits",)


def is_weight_conversion(op: Operator) -> bool:
    """Say whether an operator dequantizes a stored weight (and not an activation).

    Example:
        >>> from workloads import Tensor, axis
        >>> w = Tensor(name="w", axes=(axis("n"),), role="weight", bits=4)
        >>> is_weight_conversion(Operator(name="d", op_type="DequantizeLinear", kind="convert", dims={"n": 8},
        ...                               inputs=(w,), outputs=(Tensor(name="w:dequantized", axes=(axis("n"),)),)))
        True
    """
    return op.kind == "convert" and any(tensor.role == "weight" for tensor in op.inputs[:1])


def is_cache_conversion(op: Operator) -> bool:
    """Say whether an operator dequantizes a stored KV cache.

    Example:
        >>> from workloads import Tensor, axis
        >>> past = Tensor(name="past", axes=(axis("n"),), role="kv_cache", bits=8)
        >>> is_cache_conversion(Operator(name="d", op_type="DequantizeLinear", kind="convert", dims={"n": 8},
        ...                              inputs=(past,), outputs=(Tensor(name="keys", axes=(axis("n"),)),)))
        True
    """
    return op.kind == "convert" and any(tensor.role == "kv_cache" for tensor in op.inputs[:1])


def plan_steps(workload: Workload, fuses: Collection[str]) -> tuple[Step, ...]:
    """Put every operator into a step, in order; views run nowhere.

    Args:
        workload: What to compute. Each of its `groups` is one fused step.
        fuses: What the device's kernels fuse by themselves: keys of `FUSIONS`.

    Returns:
        One step per kernel. A conversion of a weight that the device fuses joins the step of the first product that
        reads the weight; the rest of its readers unpack it at no extra cost. One of a KV cache joins the step of its
        only reader, a product.

    Example:
        >>> from workloads import Tensor, axis
        >>> x, y, z = (Tensor(name=name, axes=(axis("n"),)) for name in "xyz")
        >>> ops = [Operator(name=f"{a.name}{b.name}", op_type="Relu", kind="elementwise", dims={"n": 8}, inputs=(a,),
        ...                 outputs=(b,)) for a, b in ((x, y), (y, z))]
        >>> work = Workload(name="w", operators=tuple(ops), outputs=("z",), groups=(("xy", "yz"),))
        >>> [(step.kind, sorted(step.resident)) for step in plan_steps(work, ())]
        [('fused', ['y'])]
    """
    leader = _leaders(workload, fuses)
    members: dict[str, list[Operator]] = {}
    for op in workload.operators:
        if op.kind not in FREE_KINDS:
            members.setdefault(leader.get(op.name, op.name), []).append(op)
    if all(len(ops) == 1 for ops in members.values()):
        return tuple(_single(op, fuses) for (op,) in members.values())
    root_of = _roots(workload.operators)
    views_of: dict[str, list[str]] = {}
    for view, root in root_of.items():
        views_of.setdefault(root, []).append(view)
    readers = _reading_steps(workload, leader, root_of)
    steps = []
    for name, ops in members.items():
        if len(ops) == 1:
            steps.append(_single(ops[0], fuses))
        else:
            # A fused conversion comes last, so that the stored weight is charged to the product that reads it.
            ordered = sorted(ops, key=is_weight_conversion)
            steps.append(Step(operators=tuple(ordered), kind="fused", resident=_resident(name, ops, views_of, readers)))
    return tuple(steps)


def _single(op: Operator, fuses: Collection[str]) -> Step:
    if not is_weight_conversion(op):
        return Step(operators=(op,))
    hidden = op.tensors() if "dequantize" in fuses else ()  # its reader is no product of this workload
    return Step(operators=(op,), kind="conversion", resident=frozenset(tensor.name for tensor in hidden))


def _leaders(workload: Workload, fuses: Collection[str]) -> dict[str, str]:
    """Map each operator that joins another's step to the first operator of that step."""
    leader = {name: group[0] for group in workload.groups for name in group}
    if "epilogue" in fuses:
        consumers = workload.consumers()
        kept = set(workload.outputs)
        for op in workload.operators:
            bias = _bias_add(op, consumers, kept) if op.kind in PRODUCTS and op.name not in leader else None
            if bias is not None and bias.name not in leader:
                leader[op.name] = leader[bias.name] = op.name
    reader: dict[str, Operator] = {}
    for op in workload.operators:
        for tensor in op.inputs:
            if tensor.role == "weight" and op.kind in PRODUCTS:
                reader.setdefault(tensor.name, op)
    for op in workload.operators:
        product = reader.get(op.inputs[0].name) if is_weight_conversion(op) and op.name not in leader else None
        if product is not None and ("dequantize" in fuses or product.op_type in _UNPACKING):
            leader[op.name] = leader.setdefault(product.name, product.name)
    if "dequantize" in fuses:
        _lead_cache_conversions(workload, leader)
    return leader


def _lead_cache_conversions(workload: Workload, leader: dict[str, str]) -> None:
    """Let conversions of a stored cache join the step of the product that alone reads the result, through views."""
    conversions = [op for op in workload.operators if is_cache_conversion(op) and op.name not in leader]
    if not conversions:
        return
    root_of = _roots(workload.operators)
    readers: dict[str, list[Operator]] = {}
    for op in workload.operators:
        if op.kind != "view":
            for tensor in op.inputs:
                readers.setdefault(root_of.get(tensor.name, tensor.name), []).append(op)
    for op in conversions:
        result = op.outputs[0].name
        found = readers.get(result, [])
        if len(found) == 1 and found[0].kind in PRODUCTS and result not in workload.outputs:
            leader[op.name] = leader.setdefault(found[0].name, found[0].name)


def _bias_add(op: Operator, consumers: Mapping[str, Sequence[Operator]], kept: Collection[str]) -> Operator | None:
    """Find the bias that a product's kernel could add: the only reader of its result, with a vector of weights."""
    result = op.outputs[0].name
    readers = consumers.get(result, ())
    if len(readers) != 1 or result in kept:
        return None
    (add,) = readers
    is_add = add.kind == "elementwise" and add.op_type == "Add" and len(add.inputs) == 2
    bias = [t for t in add.inputs if t.role == "weight" and sum(bool(axis.terms) for axis in t.axes) <= 1]
    return add if is_add and len(bias) == 1 else None


def _roots(operators: Sequence[Operator]) -> dict[str, str]:
    """Map each result of a view to the tensor whose memory it shares."""
    root_of: dict[str, str] = {}
    for op in operators:
        if op.kind == "view" and op.inputs:
            source = op.inputs[0].name
            root_of.update({tensor.name: root_of.get(source, source) for tensor in op.outputs})
    return root_of


def _reading_steps(workload: Workload, leader: Mapping[str, str], root_of: Mapping[str, str]) -> dict[str, set[str]]:
    """Map each tensor (not view) to the steps that read it; "" stands for the outside."""
    readers: dict[str, set[str]] = {}
    for op in workload.operators:
        if op.kind != "view":
            for tensor in op.inputs:
                readers.setdefault(root_of.get(tensor.name, tensor.name), set()).add(leader.get(op.name, op.name))
    for name in workload.outputs:
        readers.setdefault(root_of.get(name, name), set()).add("")
    return readers


def _resident(
    step: str, ops: Sequence[Operator], views_of: Mapping[str, Sequence[str]], readers: Mapping[str, set[str]]
) -> frozenset[str]:
    """Name the tensors that a fused step does not move: written and read only inside, or a view of what it wrote."""
    written = {tensor.name for op in ops for tensor in op.outputs}
    unpacked = {tensor.name for op in ops if is_weight_conversion(op) for tensor in op.outputs}  # no edge reads these
    inside = unpacked | {name for name in written if readers.get(name) == {step}}
    return frozenset(inside.union(*[views_of.get(name, ()) for name in written]))
