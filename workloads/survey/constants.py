"""The fitted constants of the convention: what the printed cells allow, and what our own operators count."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from workloads.survey.cells import compare
from workloads.survey.classes import EXCLUDED, classify
from workloads.survey.convention import PRINTED, Constants
from workloads.survey.derivations import Row
from workloads.survey.pointwise import is_activation, is_residual, moved_values
from workloads.workload import Workload

__all__ = ["ConstantRow", "constants_table", "own_constants"]

OP_CLASS_TABLE = "op_class_tables_read"


@dataclass(frozen=True, slots=True)
class ConstantRow:
    """One constant.

    Attributes:
        meaning: What it multiplies.
        kind: "fitted": nothing but the printed tables says so; "counted": follows from the operators.
        value: What is used.
        low: Least value at which no further printed cell is missed.
        high: Largest such value.
        ours: What our own operators count, per workload that was given.
    """

    meaning: str
    kind: str
    value: float
    low: float
    high: float
    ours: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class _Lever:
    """A coefficient of the tables, and the field that moves it: coefficient = value of the field x times + rest."""

    meaning: str
    kind: str
    own: str
    field: str
    times: float
    value: Callable[[Constants], float]


# Per layer, of one pass; d_ff = 4 d in every printed model.
_LEVERS = (
    _Lever("FLOPs of softmax per score", "fitted", "softmax_flops", "softmax_flops", 1, lambda c: c.softmax_flops),
    _Lever(
        "FLOPs of GELU, norms and residual additions per token and channel",
        "fitted",
        "pointwise_flops",
        "residual_flops",
        2,
        lambda c: 4 * c.gelu_flops + 2 * (c.norm_flops + c.residual_flops),
    ),
    _Lever(
        "bytes of the same per token and channel",
        "fitted",
        "pointwise_mops",
        "residual_mops",
        2,
        lambda c: 2 * 4 + 2 * (2 + c.residual_mops),
    ),
    _Lever(
        "bytes of norm parameters per channel",
        "counted",
        "norm_parameters",
        "norm_parameters",
        2,
        lambda c: 2 * c.norm_parameters,
    ),
)


def constants_table(rows: Sequence[Row], workloads: Mapping[str, Workload] | None = None) -> tuple[ConstantRow, ...]:
    """Put the constants beside the range that the printed cells allow and beside our own counts.

    Args:
        rows: Of the table op_class_tables_read.
        workloads: Name to a workload of one pass whose own counts shall stand beside them.
    """
    own = {name: own_constants(work) for name, work in (workloads or {}).items()}
    found = []
    for lever in _LEVERS:
        low, high = (_edge(rows, lever, sign) for sign in (-1, 1))
        value = lever.value(PRINTED)
        ours = {name: values[lever.own] for name, values in own.items()}
        found.append(ConstantRow(lever.meaning, lever.kind, value, value + low, value + high, ours))
    return tuple(found)


def _edge(rows: Sequence[Row], lever: _Lever, sign: int) -> float:
    """Bisect for the largest change of a coefficient, in one direction, that loses no printed cell."""
    kept = _reproduced(rows, PRINTED)

    def is_safe(change: float) -> bool:
        moved = replace(PRINTED, **{lever.field: getattr(PRINTED, lever.field) + sign * change / lever.times})
        return kept <= _reproduced(rows, moved)

    good, bad = 0.0, 2.0
    while bad - good > 1e-4:
        middle = (good + bad) / 2
        good, bad = (middle, bad) if is_safe(middle) else (good, middle)
    return sign * good


def _reproduced(rows: Sequence[Row], constants: Constants) -> frozenset[tuple[tuple[str, ...], str]]:
    cells = compare({OP_CLASS_TABLE: rows}, constants=constants)
    return frozenset((cell.key, cell.column) for cell in cells if cell.status == "reproduced")


def own_constants(workload: Workload) -> dict[str, float]:
    """Give what the fitted constants would be by our own operators' counts, averaged over the layers.

    Args:
        workload: One pass over all tokens.

    Returns:
        By field or sum: softmax_flops, pointwise_flops, pointwise_mops, norm_parameters.

    Raises:
        WorkloadError: The workload has no transformer layer.
    """
    classes = classify(workload)
    inside = [op for op in workload if classes[op.name] != EXCLUDED]
    softmax = [op for op in inside if op.kind == "softmax"]
    norms = [op for op in inside if op.kind == "norm"]
    residuals = [op for op in inside if is_residual(op)]
    pointwise = norms + residuals + [op for op in inside if is_activation(op)]
    per_layer = sum(moved_values(op)[1] for op in residuals) / 2  # tokens x channels x layers
    channels = sum(float(op.outputs[0].shape(op.dims)[-1]) for op in norms) / 2
    parameters = sum(tensor.values(op.dims) for op in norms for tensor in op.inputs if tensor.role == "weight")
    return {
        "softmax_flops": float(sum(op.flops() for op in softmax) / sum(moved_values(op)[1] for op in softmax)),
        "pointwise_flops": float(sum(op.flops() for op in pointwise) / per_layer),
        "pointwise_mops": float(sum(sum(moved_values(op)) for op in pointwise) / per_layer),
        "norm_parameters": float(parameters / channels),
    }
