"""The state of one load: what the caller gave, what bounds it, and what was found on the way."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from numbers import Real
from typing import TYPE_CHECKING

from workloads.errors import WorkloadError, nearest
from workloads.onnx.builder import Builder, Node
from workloads.onnx.limits import MAX_KEPT_BYTES
from workloads.onnx.registry import Handler, refusal
from workloads.onnx.scope import Scope

if TYPE_CHECKING:
    import onnx

__all__ = ["CALL", "BudgetError", "Load", "Part", "Special", "Treatment", "chances", "counts"]


class BudgetError(WorkloadError):
    """Loops ask for more nodes than may be visited."""


def chances(probabilities: Mapping[str, float]) -> Mapping[str, float]:
    """Check probabilities by If node.

    Raises:
        WorkloadError: One is none.
    """
    for name, value in probabilities.items():
        if isinstance(value, bool) or not isinstance(value, Real) or not 0 <= value <= 1:
            raise WorkloadError(f"probability of {name!r} is {value!r}; give a number from 0 to 1")
    return {name: float(value) for name, value in probabilities.items()}


def counts(trips: Mapping[str, float]) -> Mapping[str, float]:
    """Check expected trips by Loop node.

    Raises:
        WorkloadError: One is negative, infinite, or no number.
    """
    for name, value in trips.items():
        if isinstance(value, bool) or not isinstance(value, Real) or not 0 <= value < math.inf:
            raise WorkloadError(f"trips of {name!r} are {value!r}; give a number of at least 0")
    return {name: float(value) for name, value in trips.items()}


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """A body that becomes a workload of its own.

    Attributes:
        name: Path of the body.
        builder: What its walk made.
        node: The control operator in the caller's workload.
        executions: Expected executions per execution of the caller.
        inputs: Edges that the caller sets: carried values, slices, the number of the trip.
        borrowed: Edges of the caller that the body reads.
        outputs: Edges that the caller takes.
        collected: Edges of the caller that fill up from trip to trip.
        branch: "then" or "else" where it is one of two exclusive alternatives, else empty.
    """

    name: str
    builder: Builder
    node: str
    executions: float
    inputs: tuple[str, ...]
    borrowed: tuple[str, ...]
    outputs: tuple[str, ...]
    collected: tuple[str, ...] = ()
    branch: str = ""


@dataclass(frozen=True, slots=True)
class Treatment:
    """How nodes of one op type are described: in this order.

    Attributes:
        free: As the caller wants it: no work, the shape of its first input.
        special: By what knows bodies, calls and sequences.
        source: By what makes constants of what is known about the graph.
        handler: By its handler.
        runs: Even where all inputs are known.
    """

    free: bool
    special: Special | None
    source: Handler | None
    handler: Handler | None
    runs: bool

    @property
    def known(self) -> bool:
        """Say whether anybody knows the op type."""
        return self.free or any(found is not None for found in (self.special, self.source, self.handler))


@dataclass(slots=True)
class Load:
    """One load (it changes while the graph is walked; that is its purpose).

    Attributes:
        model: Name of the model, for messages.
        special: Op types whose nodes hold or call other nodes: how to walk them.
        extra: The caller's handlers.
        free: Op types that the caller counts as free.
        functions: Functions of the model by domain, name and overload.
        visits: Nodes that may still be visited.
        kept_bytes: Folded data that may still be kept [B].
        apart: Bodies that run at random, or often, become parts of their own; else only one workload is wanted.
        probabilities: By If node: of its then-branch.
        trips: By Loop node: expected trips.
        used: Nodes that take one of them, and their op types.
        undecided: Nodes for which one of them is missing, and what.
        parts: The bodies, in order.
        unknown: Nodes without a handler, with their op types.
        treatments: By domain, op type and overload: found once, for there are many nodes of few op types.
    """

    model: str
    special: Mapping[str, Special]
    extra: Mapping[str, Handler] = field(default_factory=dict)
    free: frozenset[str] = frozenset()
    functions: Mapping[tuple[str, str, str], onnx.FunctionProto] = field(default_factory=dict)
    visits: int = 0
    kept_bytes: int = MAX_KEPT_BYTES
    apart: bool = False
    probabilities: Mapping[str, float] = field(default_factory=dict)
    trips: Mapping[str, float] = field(default_factory=dict)
    used: dict[str, str] = field(default_factory=dict)
    undecided: dict[str, str] = field(default_factory=dict)
    parts: list[Part] = field(default_factory=list)
    unknown: dict[str, str] = field(default_factory=dict)
    treatments: dict[tuple[str, str, str], Treatment] = field(default_factory=dict)

    def found(self) -> tuple[dict[str, str], dict[str, str]]:
        """Give what was found to be missing so far, to come back to it with `forget`."""
        return dict(self.undecided), dict(self.unknown)

    def forget(self, found: tuple[dict[str, str], dict[str, str]]) -> None:
        """Forget what was found since, in a walk whose result is not used."""
        self.undecided, self.unknown = found

    def refuse_undecided(self) -> None:
        """Raise one error that lists all nodes that need a probability or trips, and all options that nothing needs.

        Raises:
            WorkloadError: There are some.
        """
        for what, op_type, names in (("probabilities", "If", self.probabilities), ("trips", "Loop", self.trips)):
            known = [path for path, kind in self.used.items() if kind == op_type]
            for name in names:
                if name not in known:
                    raise WorkloadError(
                        f"{self.model}: {what} name {name!r}, which is no {op_type} whose runs depend on run-time "
                        f"data; {nearest(name, known)}"
                    )
        if self.undecided:
            listed = ", ".join(f"{kind} {path!r}" for path, kind in self.undecided.items())
            chances = {path: 0.5 for path, kind in self.undecided.items() if kind == "If"}
            counts = {path: 8 for path in self.undecided if path not in chances}
            given = "".join(
                f", {name}={example!r}" for name, example in (("probabilities", chances), ("trips", counts)) if example
            )
            flags = [f"--probability {path}=0.5" for path in chances] + [f"--trips {path}=8" for path in counts]
            raise WorkloadError(
                f"{self.model}: what runs depends on run-time data at {listed}. Say how often in the mean, for example "
                f"workloads.load_program(source{given}), or {' '.join(flags)} on the command line"
            )

    def refuse_unknown(self) -> None:
        """Raise one error that lists all nodes without a handler.

        Raises:
            WorkloadError: There are some.
        """
        if not self.unknown:
            return
        by_type: dict[str, list[str]] = {}
        for name, op_type in self.unknown.items():
            by_type.setdefault(op_type, []).append(name)
        listed = "; ".join(
            f"{op_type} ({len(nodes)}: {', '.join(nodes[:3])}{', ...' if len(nodes) > 3 else ''}){refusal(op_type)}"
            for op_type, nodes in sorted(by_type.items())
        )
        raise WorkloadError(
            f"{self.model}: no handler for {listed}. Two ways out: describe the op with a handler "
            "(load_onnx(..., extra_ops={'OpType': handler}), --extra-ops FILE.py), or count it as free, with the "
            "shape of its first input (free_ops=['OpType'], --free-ops OpType)"
        )


Special = Callable[[Node, "onnx.NodeProto", Builder, Scope, Load], None]
"""Walks what a node holds or calls, and puts the node's output values."""

CALL = ""
"""Key of `Load.special` for calls of the model's own functions."""
