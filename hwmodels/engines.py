"""What runs beside the array of an accelerator: vector units and the host, as data.

A *function* is what an engine does to an element: `FUNCTIONS` names those of operators (`function_of`), "dequantize"
and "requantize" stand for changes of domain, "flop" for every other operation, by its FLOPs.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from workloads.errors import MappingError
from workloads.operator import Operator

__all__ = ["ABSORBED", "FUNCTIONS", "Absorbed", "Engine", "function_of"]

Absorbed = Literal["bias", "scale", "batchnorm", "relu", "layout"]

ABSORBED: tuple[Absorbed, ...] = ("bias", "scale", "batchnorm", "relu", "layout")
"""What an array may take along: a constant added to its outputs; a constant factor, in the requantization; a norm with
constant statistics, in the weights; a clamp on the way out; another order of axes, in the addresses of its loads."""

FUNCTIONS: tuple[str, ...] = (
    "add", "multiply", "divide", "relu", "max", "exp", "gelu", "softmax", "layernorm", "copy", "dequantize",
    "requantize", "flop",
)  # fmt: skip
"""Names of what an engine does to an element."""

ROW_FUNCTIONS = ("softmax", "layernorm")
"""Functions that need a whole row before they give its first element."""

_BY_KIND = {"softmax": "softmax", "gelu": "gelu", "move": "copy", "gather": "copy", "convert": "copy"}

_BY_OP_TYPE = {
    **dict.fromkeys(("Add", "Sub", "Sum", "Neg"), "add"),
    "Mul": "multiply",
    **dict.fromkeys(("Div", "Reciprocal", "Sqrt"), "divide"),
    **dict.fromkeys(("Relu", "Clip", "LeakyRelu", "PRelu", "ThresholdedRelu", "Abs"), "relu"),
    **dict.fromkeys(("Max", "Min", "MaxPool", "GlobalMaxPool", "ReduceMax", "ReduceMin", "ArgMax"), "max"),
    **dict.fromkeys(("Exp", "Sigmoid", "Tanh", "Swish", "Softplus", "Elu", "HardSwish"), "exp"),
    **dict.fromkeys(("AveragePool", "GlobalAveragePool", "ReduceMean", "ReduceSum"), "add"),
    "BatchNormalization": "multiply",
    "Where": "copy",
}


def function_of(op: Operator) -> str:
    """Name what an operator that is no product does to its elements.

    Example:
        >>> softmax = Operator(name="s", op_type="Softmax", kind="softmax", dims={"n": 8}, inputs=(), outputs=())
        >>> function_of(softmax)
        'softmax'
    """
    if op.op_type in _BY_OP_TYPE:
        return _BY_OP_TYPE[op.op_type]
    if op.kind == "norm":
        return "layernorm"
    return _BY_KIND.get(op.kind, "flop")


@dataclass(frozen=True, slots=True, kw_only=True)
class Engine:
    """One engine beside the array.

    Attributes:
        name: "Activation unit", "Host".
        kind: vector: on the chip, in its number domain; host: a processor.
        level: Buffer that it reads its operands from and writes its results to.
        lanes: Elements that it works on at once.
        clock_hz: Its clock [Hz].
        cycles: Of one lane per element, by function; "flop": per FLOP of everything that is not named.
        passes: How often a function reads its operands; 1 where not named.
        converts: It computes in floating point: what comes from an integer engine is dequantized, what goes there
            requantized, by itself.
        cycle_j: Energy of one lane in one cycle [J].
        path_bytes_per_s: Of its own way to the level [B/s]; None: that of the level.
        link_bytes_per_s: Of the link to a memory of its own: tensors that change sides are transferred; None: it shares
            the accelerator's [B/s].
        link_j_per_bit: Energy of the link [J/bit].
        start_s: Before each operator [s].
    """

    name: str
    kind: Literal["vector", "host"]
    level: str
    lanes: int
    clock_hz: float
    cycles: Mapping[str, float]
    passes: Mapping[str, int] = field(default_factory=dict)
    converts: bool = False
    cycle_j: float = 0.0
    path_bytes_per_s: float | None = None
    link_bytes_per_s: float | None = None
    link_j_per_bit: float = 0.0
    start_s: float = 0.0

    def __post_init__(self) -> None:
        for name in (*self.cycles, *self.passes):
            if name not in FUNCTIONS:
                raise MappingError(f"engine {self.name}: no function {name!r}; give some of {', '.join(FUNCTIONS)}")
        for name, cycles in self.cycles.items():
            if not (math.isfinite(cycles) and cycles > 0):
                raise MappingError(f"engine {self.name}: {name} takes {cycles} cycles; give a number above 0")
        if not self.cycles:
            raise MappingError(f"engine {self.name}: takes no function; give cycles, as in softmax = 3")

    def takes(self, op: Operator) -> bool:
        """Say whether it can run an operator that is no product."""
        return function_of(op) in self.cycles or "flop" in self.cycles

    def element_cycles(self, op: Operator) -> float:
        """Give the cycles of one lane per element (point of the loop nest)."""
        function = function_of(op)
        if function in self.cycles:
            return self.cycles[function]
        return self.cycles["flop"] * max(float(op.flops_per_point), 1.0)
