"""A conformance check for tasks, and the coarse rounding that it uses as a known damage."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from workloads.errors import TaskError
from workloads.tasks.task import Score, Task, drop, loss_rise

if TYPE_CHECKING:
    import onnx

__all__ = ["check_task", "round_weights"]


def _matmul_weights(graph: onnx.GraphProto) -> Iterator[tuple[str, int]]:
    """Yield each 2-D weight of a MatMul or Gemm, direct or through a Transpose, with its axis of inputs."""
    ranks = {tensor.name: len(tensor.dims) for tensor in graph.initializer}
    origin = {node.output[0]: node.input[0] for node in graph.node if node.op_type == "Transpose"}
    for node in graph.node:
        if node.op_type not in ("MatMul", "Gemm"):
            continue
        turned = any(attribute.name == "transB" and attribute.i for attribute in node.attribute)
        name = node.input[1]
        if name in origin and origin[name] in ranks:
            name, turned = origin[name], not turned
        if ranks.get(name) == 2:
            yield name, 1 if turned else 0


def _round(weight: NDArray[Any], bits: int, axis: int | None) -> NDArray[Any]:
    """Round to the nearest of 2^bits - 1 levels, symmetric, one scale per slice along `axis`, or one for all."""
    top = 2 ** (bits - 1) - 1
    scale = np.abs(weight).max(axis=axis, keepdims=True) / top
    scale[scale == 0] = 1
    rounded: NDArray[Any] = (np.rint(weight / scale) * scale).astype(weight.dtype)
    return rounded


def round_weights(
    model: onnx.ModelProto, bits: int, *, select: Callable[[str], bool] = lambda name: True, per_tensor: bool = False
) -> onnx.ModelProto:
    """Return a copy whose MatMul and Gemm weights are rounded to `bits` bits and stored as floats again.

    Symmetric round to nearest, one scale per output channel or per tensor: the simplest quantization there is, so that
    a task's check does not lean on the techniques that the task is there to judge.

    Args:
        model: A model with its weights in it.
        bits: 2 or more; levels are -(2^(bits-1) - 1) to 2^(bits-1) - 1.
        select: Whether to round the weight of this name; all by default.
        per_tensor: One scale for a whole weight, in place of one per output channel.

    Raises:
        TaskError: No selected weight was found.
    """
    import onnx
    from onnx import numpy_helper

    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    axes = {name: axis for name, axis in _matmul_weights(copy.graph) if select(name)}
    if not axes:
        raise TaskError(f"model {model.graph.name!r} has no MatMul or Gemm weight to round")
    for tensor in copy.graph.initializer:
        if tensor.name in axes:
            rounded = _round(numpy_helper.to_array(tensor), bits, None if per_tensor else axes[tensor.name])
            tensor.CopyFrom(numpy_helper.from_array(rounded, tensor.name))
    return copy


def _same(first: Score, second: Score) -> bool:
    return np.array_equal(first.per_example, second.per_example) and np.array_equal(
        first.loss_per_example, second.loss_per_example
    )


def check_task(task: Task, model: onnx.ModelProto, *, limit: int | None = None) -> None:
    """Check that a task can judge compression: deterministic, consistent, and hurt by int2 weights.

    Args:
        task: The task to check.
        model: A trained model for it, in fp32. One trained too little is immune to int2 and fails here.
        limit: Use only the first examples, for speed.

    Raises:
        TaskError: What the task got wrong.
    """
    fault = f"task {task.name!r}: "
    first, second = task.evaluate(model, limit=limit), task.evaluate(model, limit=limit)
    if not _same(first, second):
        raise TaskError(fault + "two evaluations of one model differ; fix the order of the data and the seed")
    if (first.metric, first.higher_is_better) != (task.metric, task.higher_is_better):
        raise TaskError(fault + f"its score says {first.metric!r}, the task says {task.metric!r}")
    if not math.isclose(first.value, float(first.per_example.mean()), rel_tol=1e-9, abs_tol=1e-12):
        raise TaskError(
            fault + "the score's value is not the mean of its per_example; pairs of scores cannot be compared"
        )
    if task.digest() != task.digest():
        raise TaskError(fault + "digest() changes from call to call; measured accuracies could not be cached")
    if task.evaluate(model, limit=2).count != 2:
        raise TaskError(fault + "evaluate(limit=2) does not use two examples")
    known, given = {port.name for port in model.graph.input}, set(task.calibration(2))
    given_weights = {tensor.name for tensor in model.graph.initializer}
    if known - given_weights != given:
        raise TaskError(fault + f"calibration() gives {sorted(given)}, the model takes {sorted(known - given_weights)}")
    coarse = task.evaluate(round_weights(model, 2), limit=limit)
    for what, (worse, error) in (("metric", drop(first, coarse)), ("loss", loss_rise(first, coarse))):
        if not worse > 2 * error and not math.isinf(worse):
            raise TaskError(
                fault
                + f"int2 weights make its {what} worse by {worse:.4g}, standard error {error:.2g}: too little to tell."
                " Use more examples, a harder metric, or a model trained to convergence"
            )
