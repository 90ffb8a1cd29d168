"""Records that are made quickly are the frozen dataclasses that they were."""

from __future__ import annotations

import copy
import dataclasses
import inspect
import pickle
from dataclasses import dataclass, field

import pytest

from workloads.operator import Axis, Operator, Tensor, axis
from workloads.quick import quick

TENSOR = Tensor(name="x", axes=(axis("m"),), bits=8)
OPERATOR = Operator(
    name="op", op_type="Relu", kind="activation", dims={"m": 4}, inputs=(TENSOR,), outputs=(TENSOR,), nodes=("n",),
    flops_per_point=1.0, format=3, acc_bits=16, count=2,
)  # fmt: skip


@pytest.mark.parametrize("record", [TENSOR, OPERATOR, axis((2, "p"), "r", offset=-1, extent=8)])
def test_a_record_stays_frozen_is_copied_and_replaced_field_by_field(record: Axis | Tensor | Operator) -> None:
    values = {item.name: getattr(record, item.name) for item in dataclasses.fields(record)}
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(record, next(iter(values)), None)
    for twin in (dataclasses.replace(record), copy.copy(record), type(record)(**values)):
        assert {name: getattr(twin, name) for name in values} == values
    assert repr(pickle.loads(pickle.dumps(record))) == repr(record)


def test_parameters_defaults_and_keywords_are_those_of_the_fields() -> None:
    assert list(inspect.signature(Tensor).parameters) == [item.name for item in dataclasses.fields(Tensor)]
    assert inspect.signature(Axis).parameters["extent"].default is None
    assert Axis() == Axis((), 0, None)
    with pytest.raises(TypeError, match="positional"):
        Tensor("x", ())  # type: ignore[call-arg]
    with pytest.raises(TypeError, match="axes"):
        Tensor(name="x")  # type: ignore[call-arg]


def test_a_class_that_needs_more_than_its_fields_is_refused() -> None:
    @dataclass(frozen=True, slots=True)
    class Listed:
        items: list[int] = field(default_factory=list)

    @dataclass(frozen=True, slots=True)
    class Checked:
        size: int

        def __post_init__(self) -> None:
            raise AssertionError

    for cls in (Listed, Checked):
        with pytest.raises(TypeError, match=cls.__name__):
            quick(cls)


def test_an_operator_in_a_block_differs_in_nothing_else() -> None:
    moved = OPERATOR.in_block("layer.0")
    assert moved.block == "layer.0"
    assert repr(dataclasses.replace(moved, block="")) == repr(OPERATOR)
    for item in dataclasses.fields(Operator):  # a field that is added later must come along
        if item.name != "block":
            assert getattr(moved, item.name) is getattr(OPERATOR, item.name), item.name
            assert item.default is dataclasses.MISSING or getattr(OPERATOR, item.name) != item.default, item.name
