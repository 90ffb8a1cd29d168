"""Every operator of a workload as a real kernel of its own: what the cost model says beside what the machine does."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from dse.measure.graphs import Array, Graph, Part, chain, single, stored
from dse.measure.timing import Quartiles, quartiles, session_of, time_sessions
from workloads.errors import MeasureError, nearest
from workloads.formats import FORMATS
from workloads.operator import Operator, Tensor
from workloads.workload import Workload

if TYPE_CHECKING:
    import pandas as pd

    import hwmodels

__all__ = ["BACKENDS", "Backend", "KernelTime", "kernel_graph", "operators"]

KINDS = ("matmul", "softmax", "norm", "gelu", "elementwise")
"""Operator kinds that are built and timed."""

_UNARY = ("Abs", "Erf", "Exp", "Log", "Neg", "Reciprocal", "Sigmoid", "Sqrt", "Tanh")
_BINARY = ("Add", "Div", "Max", "Min", "Mul", "Pow", "Sub")

_DTYPES = {"fp64": "float64", "fp32": "float32", "fp16": "float16", "int8": "int8", "uint8": "uint8", "int32": "int32"}


@dataclass(frozen=True, slots=True, kw_only=True)
class KernelTime:
    """What a backend says about one operator.

    Attributes:
        time: Of one execution, beyond the call itself [s].
        runs: Samples; 0: it was not timed.
        note: Why not, or what was timed instead.
    """

    time: Quartiles
    runs: int
    note: str = ""


Backend = Callable[[Mapping[str, Operator], float, np.random.Generator], Mapping[str, KernelTime]]
"""Times operators by name within a number of seconds of wall time."""


def operators(
    workload: Workload,
    backend: str = "onnxruntime",
    *,
    device: hwmodels.RooflineDevice | None = None,
    seconds: float = 10.0,
    rng: np.random.Generator | None = None,
) -> pd.DataFrame:
    """Time every distinct operator of a workload as a kernel of its own.

    Operators with the same signature are timed once. A kernel alone finds its inputs in the cache, and an operator that
    the runtime fuses with its neighbour is timed as if it were not.

    Args:
        workload: Scalar.
        backend: A key of `BACKENDS`.
        device: Adds what the cost model says of the same kernel.
        seconds: Wall time for all kernels [s].
        rng: For the values; by default seed 0.

    Returns:
        One row per signature: name (of its first operator), op_type, kind, dims, count (operators that share it),
        flops, predicted_s (NaN without a device), measured_s (median), best_s, runs, note. A kernel that could not be
        built has NaN and a note; it is never left out.

    Raises:
        MeasureError: No such backend, or its runtime fails.
        WorkloadError: The workload holds a batch of design points.

    Example:
        >>> import workloads
        >>> from workloads.onnx.loader import load_onnx
        >>> from workloads.zoo import embedded_model
        >>> table = operators(load_onnx(embedded_model("vit-mnist"), batch=1), seconds=0.2)
        >>> bool((table[table.kind == "softmax"].measured_s > 0).all())
        True
    """
    import pandas

    if backend not in BACKENDS:
        raise MeasureError(f"no backend {backend!r}; {nearest(backend, BACKENDS)}")
    groups: dict[object, list[Operator]] = {}
    for op in workload.operators:
        if op.kind in KINDS:
            groups.setdefault((op.op_type, op.signature()), []).append(op)
    chosen = {group[0].name: group[0] for group in groups.values()}
    found = BACKENDS[backend](chosen, seconds, np.random.default_rng(0) if rng is None else rng)
    rows = [
        {
            "name": group[0].name,
            "op_type": group[0].op_type,
            "kind": group[0].kind,
            "dims": " ".join(f"{name}={size}" for name, size in group[0].dims.items()),
            "count": len(group),
            "flops": float(group[0].flops()),
            "predicted_s": _predicted(group[0], device),
            "measured_s": found[group[0].name].time.median,
            "best_s": found[group[0].name].time.best,
            "runs": found[group[0].name].runs,
            "note": found[group[0].name].note,
        }
        for group in groups.values()
    ]
    columns = ["name", "op_type", "kind", "dims", "count", "flops"]
    columns += ["predicted_s", "measured_s", "best_s", "runs", "note"]
    return pandas.DataFrame(rows, columns=columns)


def _predicted(op: Operator, device: hwmodels.RooflineDevice | None) -> float:
    if device is None:
        return float("nan")
    from hwmodels.step import Step

    return float(device.cost(Step(operators=(op,))).latency_s)


def _onnxruntime(chosen: Mapping[str, Operator], seconds: float, rng: np.random.Generator) -> dict[str, KernelTime]:
    """Time operators in ONNX Runtime on one thread by CPU time, interleaved, less the time of an empty call."""
    graphs: dict[str, Graph] = {"": chain([Part("Neg")], np.ones(1, np.float32))}
    refused: dict[str, str] = {}
    for name, op in chosen.items():
        try:
            graphs[name] = kernel_graph(op, rng)
        except MeasureError as error:
            refused[name] = str(error)
    sessions = {name: session_of(graph.model, name or "empty call") for name, graph in graphs.items()}
    timed = time_sessions(
        sessions, {name: graph.feeds for name, graph in graphs.items()}, repeats=200, seconds_limit=seconds
    )
    empty = timed.pop("").cpu.best
    times = {
        name: KernelTime(time=quartiles(np.maximum(np.asarray(timing.cpu_samples_s) - empty, 0.0)), runs=timing.runs)
        for name, timing in timed.items()
    }
    nothing = quartiles([float("nan")])
    return times | {name: KernelTime(time=nothing, runs=0, note=reason) for name, reason in refused.items()}


BACKENDS: dict[str, Backend] = {"onnxruntime": _onnxruntime}
"""Where kernels can be timed."""


def kernel_graph(op: Operator, rng: np.random.Generator) -> Graph:
    """Build the ONNX graph of one operator, with random values.

    Raises:
        MeasureError: There is no graph for this op type.

    Example:
        >>> from workloads.onnx.loader import load_onnx
        >>> from workloads.zoo import embedded_model
        >>> work = load_onnx(embedded_model("vit-mnist"), batch=1)
        >>> scores = next(op for op in work if op.block.endswith("scores") and op.kind == "matmul")
        >>> [array.shape for array in kernel_graph(scores, np.random.default_rng(0)).feeds.values()]
        [(1, 8, 16, 12), (1, 8, 12, 16)]
    """
    if op.kind == "matmul":
        return _product(op, rng)
    shape = _shape(op.outputs[0], op)
    values = rng.standard_normal(shape).astype(_dtype(op.outputs[0], op))
    if op.kind == "softmax":
        return single("Softmax", [values])
    if op.kind == "norm":
        vector = np.ones(shape[-1:], values.dtype)
        return single("LayerNormalization", [values, vector, vector], [1, 2])
    if op.kind == "gelu":
        return single("Gelu", [values])
    if op.op_type in _UNARY and len(op.inputs) == 1:
        return single(op.op_type, [_values(op.inputs[0], op, rng)])
    if op.op_type in _BINARY and len(op.inputs) == 2:
        stored = [position for position, tensor in enumerate(op.inputs) if tensor.role == "weight"]
        return single(op.op_type, [_values(tensor, op, rng) for tensor in op.inputs], stored)
    raise MeasureError(f"no kernel is built for {op.op_type} ({op.kind}) with {len(op.inputs)} tensors")


def _product(op: Operator, rng: np.random.Generator) -> Graph:
    """Build a product in the order [batch, m, k] x [batch, k, n], whatever the order in which it is stored."""
    if not {"m", "n", "k"} <= set(op.dims):
        raise MeasureError(f"no kernel is built for {op.op_type} over {', '.join(op.dims)}")
    left, right = op.inputs[:2]
    if op.op_type == "MatMulNBits":
        return _packed_product(op, left, right, rng)
    a = _random(_operand_shape(left, op, ("m", "k")), _dtype(left, op), rng)
    if right.role == "weight" and FORMATS[int(right.format)].kind == "int" and a.dtype.kind == "f":
        return stored(a, int(op.dims["k"]), int(op.dims["n"]), 4 if int(right.bits) <= 4 else 8, rng)
    b = _random(_operand_shape(right, op, ("k", "n")), _dtype(right, op), rng)
    integer = a.dtype.kind in "iu" and b.dtype.kind in "iu"
    return single("MatMulInteger" if integer else "MatMul", [a, b], [1] if right.role == "weight" else [])


def _packed_product(op: Operator, left: Tensor, weight: Tensor, rng: np.random.Generator) -> Graph:
    k, n, bits = int(op.dims["k"]), int(op.dims["n"]), int(weight.bits)
    if bits not in (2, 4, 8):
        raise MeasureError(f"no kernel is built for MatMulNBits of {bits} bits; ONNX Runtime packs 2, 4 and 8")
    group = _group_size(float(weight.overhead_bits))
    groups = -(-k // group)
    packed = rng.integers(0, 256, (n, groups, group * bits // 8)).astype(np.uint8)
    scales = np.full((n, groups), 0.01, np.float32)
    rows = _random(_operand_shape(left, op, ("m", "k")), "float32", rng)
    return single("MatMulNBits", [rows, packed, scales], [1, 2], K=k, N=n, bits=bits, block_size=group)


def _group_size(overhead_bits: float) -> int:
    """Find the group of a packed weight from what its fp32 scales add to each value; a power of two from 16 on."""
    return 1 << max(4, round(np.log2(32 / overhead_bits))) if overhead_bits > 0 else 32


def _operand_shape(tensor: Tensor, op: Operator, inner: tuple[str, str]) -> tuple[int, ...]:
    used = {name for item in tensor.axes for _, name in item.terms}
    outer = [name for name in op.dims if name not in ("m", "n", "k")]
    sizes = [int(op.dims[name]) if name in used else 1 for name in outer]
    if not used & set(outer) or (tensor.role == "weight" and len(tensor.axes) == 2):
        sizes = []
    return (*sizes, int(op.dims[inner[0]]), int(op.dims[inner[1]]))


def _shape(tensor: Tensor, op: Operator) -> tuple[int, ...]:
    return tuple(int(extent) for extent in tensor.shape(op.dims))


def _dtype(tensor: Tensor, op: Operator) -> str:
    name = FORMATS[int(tensor.format)].name
    if name not in _DTYPES:
        raise MeasureError(f"no kernel is built for {op.op_type} with values of {name}")
    return _DTYPES[name]


def _values(tensor: Tensor, op: Operator, rng: np.random.Generator) -> Array:
    return _random(_shape(tensor, op), _dtype(tensor, op), rng)


def _random(shape: Sequence[int], dtype: str, rng: np.random.Generator) -> Array:
    """Draw positive values: logarithms and roots of them exist."""
    kind: Any = np.dtype(dtype)
    if kind.kind in "iu":
        return rng.integers(1, 100, shape).astype(kind)
    return rng.uniform(0.1, 1.0, shape).astype(kind)
