"""Peak memory against a simulator that asks, before every operator, who will still read what."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace
from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from workloads import Operator, Tensor, Workload, activation_peak_bytes, axis, peak_bytes


def tensor(name: str, size: int, **more: Any) -> Tensor:
    return Tensor(name=name, axes=(axis(extent=size),), bits=8, **more)


def op(name: str, inputs: list[Tensor], outputs: list[Tensor], kind: str = "elementwise") -> Operator:
    return Operator(name=name, op_type="Test", kind=kind, dims={}, inputs=tuple(inputs), outputs=tuple(outputs))


@st.composite
def workloads(draw: st.DrawFn) -> Workload:
    """Random graphs: one or two outside inputs, shared weights, views (of views, of weights), several outputs."""
    known = [tensor(f"in{i}", draw(st.integers(1, 9))) for i in range(draw(st.integers(1, 2)))]
    inputs = [item.name for item in known]
    weights = [tensor(f"w{i}", draw(st.integers(1, 9)), role="weight") for i in range(2)]
    operators = []
    for position in range(draw(st.integers(1, 8))):
        view = draw(st.integers(0, 3)) == 0
        if view:
            source = draw(st.sampled_from(known + weights))
            made = [tensor(f"t{position}", int(source.shape({})[0]))]
            operators.append(op(f"op{position}", [source], made, "view"))
        else:
            read = draw(st.lists(st.sampled_from(known + weights), max_size=3))
            made = [tensor(f"t{position}.{i}", draw(st.integers(1, 9))) for i in range(draw(st.integers(1, 2)))]
            operators.append(op(f"op{position}", read, made))
        known += made
    names = [item.name for item in known]
    outputs = draw(st.lists(st.sampled_from(names), unique=True, max_size=3))
    return Workload(name="random", operators=tuple(operators), inputs=tuple(inputs), outputs=tuple(outputs))


def simulated_peak(work: Workload) -> int:
    """Walk the operators; before and after each, add up every buffer that somebody still needs."""
    home: dict[str, str] = {}  # tensor -> the tensor that owns its memory
    size: dict[str, int] = {}
    weight_names = {item.name for one in work for item in one.inputs if item.role == "weight"}
    for one in work:
        for item in one.inputs:
            home.setdefault(item.name, item.name)
            size.setdefault(item.name, int(item.shape({})[0]))
        for item in one.outputs:
            home[item.name] = home[one.inputs[0].name] if one.kind == "view" else item.name
            size[item.name] = int(item.shape({})[0])
    written = {item.name: at for at, one in enumerate(work) for item in one.outputs}
    peak = 0
    for now in range(len(work)):
        needed = set()
        for name, owner in home.items():
            if owner in weight_names:
                continue
            born = written.get(owner, -1)
            family = {other for other, its in home.items() if its == owner}
            uses = [at for at, one in enumerate(work) for item in one.tensors() if item.name in family]
            end = math.inf if family & set(work.outputs) else max(uses)
            if born <= now <= end and (name == owner):
                needed.add(owner)
        peak = max(peak, sum(size[owner] for owner in needed))
    return peak


@given(work=workloads())
def test_the_activation_peak_is_that_of_a_step_by_step_simulation(work: Workload) -> None:
    assert activation_peak_bytes(work) == simulated_peak(work)


@given(work=workloads())
def test_weights_are_counted_once_each_and_always(work: Workload) -> None:
    sizes = {item.name: int(item.shape({})[0]) for one in work for item in one.inputs if item.role == "weight"}
    assert work.weight_bytes() == sum(sizes.values())
    assert work.weight_count() == sum(sizes.values())
    assert peak_bytes(work) == activation_peak_bytes(work) + sum(sizes.values())


def chain(*sizes: int) -> Workload:
    tensors = [tensor(f"t{i}", size) for i, size in enumerate(sizes)]
    steps = [op(f"op{i}", [before], [after]) for i, (before, after) in enumerate(itertools.pairwise(tensors))]
    return Workload(name="chain", operators=tuple(steps), inputs=("t0",), outputs=(tensors[-1].name,))


def test_a_chain_needs_its_two_largest_neighbours() -> None:
    assert activation_peak_bytes(chain(1, 10, 20, 3, 25)) == 30


def test_an_output_lives_to_the_end_and_an_intermediate_does_not() -> None:
    work = chain(1, 10, 20, 3, 25)
    assert activation_peak_bytes(replace(work, outputs=("t1", "t4"))) == 10 + 3 + 25


def test_a_view_shares_its_buffer_and_keeps_it_alive() -> None:
    x, y, z, big, end = (tensor(name, size) for name, size in (("x", 4), ("y", 4), ("z", 1), ("big", 9), ("end", 1)))
    work = Workload(
        name="view",
        operators=(op("v", [x], [y], "view"), op("o", [z], [big]), op("e", [big, y], [end])),
        inputs=("x", "z"),
        outputs=("end",),
    )
    assert activation_peak_bytes(work) == 4 + 9 + 1


def test_a_view_of_a_weight_is_not_paid_twice() -> None:
    w, view, x, y = tensor("w", 8, role="weight"), tensor("v", 8), tensor("x", 2), tensor("y", 2)
    work = Workload(
        name="w", operators=(op("view", [w], [view], "view"), op("use", [x, view], [y])), inputs=("x",), outputs=("y",)
    )
    assert activation_peak_bytes(work) == 4
    assert peak_bytes(work) == 12


@given(work=workloads(), data=st.data())
def test_a_batch_of_peaks_equals_its_rows(work: Workload, data: st.DataObject) -> None:
    bits = {
        item.name: data.draw(st.lists(st.integers(1, 32), min_size=3, max_size=3))
        for one in work
        for item in one.tensors()
    }

    def at(row: int | None) -> Workload:
        def own(item: Tensor) -> Tensor:
            return replace(item, bits=np.array(bits[item.name]) if row is None else bits[item.name][row])

        return replace(
            work,
            operators=tuple(
                replace(one, inputs=tuple(map(own, one.inputs)), outputs=tuple(map(own, one.outputs))) for one in work
            ),
        )

    rows = [float(peak_bytes(at(row))) for row in range(3)]
    np.testing.assert_allclose(np.broadcast_to(peak_bytes(at(None)), 3), rows)
