"""What a network is to an accelerator: tasks, each on one engine, and the tensors that they hand on."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Literal

from workloads.operator import Operator

__all__ = ["ARRAY", "PRODUCTS", "Task", "TaskKind", "Use"]

ARRAY = "array"
"""Name of the engine that runs products."""

PRODUCTS = ("matmul", "conv")
"""Operator kinds that an array may run."""

TaskKind = Literal["product", "function", "conversion", "transfer", "fused"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Use:
    """A tensor as a task reads or writes it.

    Attributes:
        name: Of the buffer that it lies in: views, and axes in another order, share one.
        bytes: What the task moves of it, once [B].
        bits: Of an element [bit].
        role: W, I, O of a product; else "".
        constant: A weight: it lies in the outermost memory before anything runs.
    """

    name: str
    bytes: float
    bits: float
    role: str = ""
    constant: bool = False


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Task:
    """One piece of work on one engine.

    Attributes:
        name: Of its first operator, or of what is converted or transferred.
        kind: product, function, conversion, transfer; fused: a cascade of products and functions.
        engine: `ARRAY`, or the name of an engine.
        operators: What it computes, in order: more than one where an engine takes others along, or chains them. Of a
            conversion or transfer, the operator that asks for it.
        reads: Tensors that it reads, each once.
        writes: Tensors that it writes.
        executions: How often it runs.
        product: What is mapped on the array, elements as wide as this takes; None: no product.
        absorbed: Names of operators that cost nothing here, by what absorbs them.
    """

    name: str
    kind: TaskKind
    engine: str
    operators: tuple[Operator, ...]
    reads: tuple[Use, ...]
    writes: tuple[Use, ...]
    executions: float = 1.0
    product: Operator | None = None
    absorbed: tuple[tuple[str, str], ...] = field(default_factory=tuple)

    @property
    def block(self) -> str:
        """Where it sits in the network."""
        return self.operators[0].block

    @property
    def op_type(self) -> str:
        """What the source calls it; of several operators, all of them."""
        if self.kind in ("conversion", "transfer"):
            return self.kind
        return " + ".join(op.op_type for op in self.operators)

    @property
    def macs(self) -> float:
        """Multiply-accumulates of one execution."""
        if self.kind == "fused":
            return sum(float(op.points()) for op in self.operators if op.kind in PRODUCTS)
        return float(self.product.points()) if self.product is not None else 0.0

    @property
    def elements(self) -> float:
        """Points of the loop nest of the first operator."""
        return float(self.operators[0].points())

    def renamed(self, old: str, new: str) -> Task:
        """Give the task with one of its outputs called otherwise."""
        writes = tuple(replace(use, name=new) if use.name == old else use for use in self.writes)
        return replace(self, writes=writes)
