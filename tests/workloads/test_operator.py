"""Footprints against enumeration; FLOPs and bytes against counts by hand; a batch against its rows."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from workloads import Axis, Operator, Tensor, WorkloadError, axis, format_code, pattern_code

DIMS = ("a", "b", "c")
FP16, INT8 = format_code("fp16"), format_code("int8")


@st.composite
def axes(draw: st.DrawFn) -> tuple[Axis, dict[str, int]]:
    names = draw(st.lists(st.sampled_from(DIMS), min_size=1, max_size=3, unique=True))
    terms = tuple((draw(st.integers(1, 6)), name) for name in names)
    extent = draw(st.none() | st.integers(1, 12))
    return Axis(terms, draw(st.integers(-3, 3)), extent), {name: draw(st.integers(1, 5)) for name in DIMS}


def enumerated(item: Axis, dims: dict[str, int]) -> int:
    """Visit every point of the nest and collect the indices that are stored."""
    visited = set()
    for point in itertools.product(*(range(dims[name]) for name in DIMS)):
        at = dict(zip(DIMS, point, strict=True))
        index = item.offset + sum(coefficient * at[name] for coefficient, name in item.terms)
        if item.extent is None or 0 <= index < item.extent:
            visited.add(index)
    return len(visited)


@given(case=axes())
def test_a_footprint_counts_the_distinct_stored_indices(case: tuple[Axis, dict[str, int]]) -> None:
    item, dims = case
    assert item.footprint(dims) == enumerated(item, dims)


@given(sizes=st.lists(st.integers(1, 5), min_size=2, max_size=3), order=st.randoms())
def test_digits_of_one_number_have_the_footprint_of_their_product(sizes: list[int], order: Any) -> None:
    dims = dict(zip(DIMS, sizes, strict=False))
    terms = [(math.prod(sizes[position + 1 :]), name) for position, name in enumerate(dims)]
    order.shuffle(terms)
    assert axis(*terms).footprint(dims) == math.prod(sizes)


@given(case=axes(), data=st.data())
def test_a_batch_of_footprints_equals_its_rows(case: tuple[Axis, dict[str, int]], data: st.DataObject) -> None:
    item, dims = case
    batched = data.draw(st.sets(st.sampled_from(DIMS), min_size=1))
    columns = {name: data.draw(st.lists(st.integers(1, 6), min_size=3, max_size=3)) for name in batched}
    batch: dict[str, Any] = {**dims, **{name: np.array(column) for name, column in columns.items()}}
    expected = [item.footprint({**dims, **{n: column[row] for n, column in columns.items()}}) for row in range(3)]
    assert np.broadcast_to(item.footprint(batch), 3).tolist() == expected


@given(extents=st.lists(st.integers(1, 9), min_size=2, max_size=5))
def test_a_batch_of_extents_equals_its_rows(extents: list[int]) -> None:
    dims = {"a": 3, "b": 2}
    found = axis((2, "a"), "b", offset=-1, extent=np.array(extents)).footprint(dims)
    assert np.asarray(found).tolist() == [
        axis((2, "a"), "b", offset=-1, extent=extent).footprint(dims) for extent in extents
    ]


def test_an_axis_without_terms_is_read_whole_and_a_scalar_axis_once() -> None:
    assert axis(extent=768).footprint({}) == 768
    assert axis().footprint({}) == 1


def test_the_length_of_an_axis_is_what_is_stored_not_what_a_tile_reads() -> None:
    window = axis((2, "p"), extent=224)
    assert window.footprint({"p": 4}) == 4
    assert window.length({"p": 4}) == 224


def matmul(m: Any = 4, n: Any = 5, k: Any = 6, **weight: Any) -> Operator:
    a = Tensor(name="a", axes=(axis("m"), axis("k")), bits=16, format=FP16)
    given: dict[str, Any] = {"axes": (axis("k"), axis("n")), "bits": 16, "format": FP16} | weight
    b = Tensor(name="b", role="weight", **given)
    out = Tensor(name="out", axes=(axis("m"), axis("n")), bits=16, format=FP16)
    return Operator(
        name="mm", op_type="MatMul", kind="matmul", dims={"m": m, "n": n, "k": k}, inputs=(a, b), outputs=(out,)
    )


def test_a_matrix_product_by_hand() -> None:
    op = matmul()
    assert op.points() == 4 * 5 * 6
    assert op.flops() == 2 * 4 * 5 * 6
    assert op.dram_bytes() == 2 * (4 * 6 + 6 * 5 + 4 * 5)


def test_compressed_weights_count_their_values_their_width_and_their_overhead() -> None:
    half = matmul(bits=4, density=0.5, overhead_bits=2.0, pattern=pattern_code("2:4"))
    assert half.dram_bytes() == 2 * (4 * 6 + 4 * 5) + 6 * 5 * (0.5 * 4 + 2) / 8
    assert half.flops() == matmul().flops()  # dense-equivalent: who exploits zeros is the device's business
    table = half.inputs[1]
    assert replace(table, touched=0.25).bytes(half.dims) == table.bytes(half.dims) / 4
    assert replace(table, touched=0.25).stored_bytes(half.dims) == table.stored_bytes(half.dims)


def convolution(stride: int, kernel: int, size: int, padding: int) -> Operator:
    out = (size + 2 * padding - kernel) // stride + 1
    window = axis((stride, "p"), "r", offset=-padding, extent=size)
    return Operator(
        name="conv",
        op_type="Conv",
        kind="conv",
        dims={"b": 1, "m": 8, "c": 3, "p": out, "r": kernel},
        inputs=(
            Tensor(name="x", axes=(axis("b"), axis("c"), window)),
            Tensor(name="w", axes=(axis("m"), axis("c"), axis("r")), role="weight"),
        ),
        outputs=(Tensor(name="y", axes=(axis("b"), axis("m"), axis("p"))),),
    )


def test_a_pointwise_convolution_of_stride_two_reads_only_the_strided_half() -> None:
    op = convolution(stride=2, kernel=1, size=10, padding=0)
    assert op.flops() == 2 * 8 * 3 * 5
    assert op.inputs[0].values(op.dims) == 3 * 5
    assert op.inputs[0].stored_bytes(op.dims) == 4 * 3 * 10
    assert op.dram_bytes() == 4 * (3 * 5 + 8 * 3 + 8 * 5)


def test_padding_is_never_read() -> None:
    op = convolution(stride=1, kernel=3, size=10, padding=1)
    assert op.dims["p"] == 10
    assert op.inputs[0].values(op.dims) == 3 * 10


def test_the_last_columns_that_no_window_reaches_are_not_read() -> None:
    op = convolution(stride=3, kernel=2, size=10, padding=0)  # windows at 0, 3, 6: columns 2, 5, 8, 9 stay unread
    assert op.inputs[0].values(op.dims) == 3 * 6


def addition(*inputs: Tensor) -> Operator:
    out = Tensor(name="y", axes=(axis("i0"), axis("i1")))
    return Operator(
        name="add", op_type="Add", kind="elementwise", dims={"i0": 3, "i1": 7}, inputs=inputs, outputs=(out,),
        flops_per_point=1.0,
    )  # fmt: skip


def test_a_broadcast_operand_is_read_once() -> None:
    whole = Tensor(name="x", axes=(axis("i0"), axis("i1")))
    row = Tensor(name="bias", axes=(axis("i1"),), role="weight")
    column = Tensor(name="c", axes=(axis("i0"), axis(extent=1)))
    assert addition(whole, row).dram_bytes() == 4 * (21 + 7 + 21)
    assert addition(whole, column).dram_bytes() == 4 * (21 + 3 + 21)
    assert addition(whole, row).flops() == 21


def test_a_tensor_that_is_both_operands_is_read_once() -> None:
    x = Tensor(name="x", axes=(axis("i0"), axis("i1")))
    assert addition(x, x).dram_bytes() == 4 * (21 + 21)


def test_a_view_moves_no_bytes() -> None:
    assert replace(matmul(), kind="view").dram_bytes() == 0


@given(
    ms=st.lists(st.integers(1, 50), min_size=3, max_size=3),
    bits=st.lists(st.sampled_from([2, 4, 8, 16]), min_size=3, max_size=3),
    densities=st.lists(st.floats(0.1, 1), min_size=3, max_size=3),
)
def test_a_batch_of_operators_equals_its_rows(ms: list[int], bits: list[int], densities: list[float]) -> None:
    batch = matmul(m=np.array(ms), bits=np.array(bits), density=np.array(densities))
    rows = [matmul(m=m, bits=b, density=d) for m, b, d in zip(ms, bits, densities, strict=True)]
    np.testing.assert_allclose(np.asarray(batch.flops()), [float(row.flops()) for row in rows])
    np.testing.assert_allclose(np.asarray(batch.dram_bytes()), [float(row.dram_bytes()) for row in rows])


def test_a_signature_ignores_names_and_sees_all_that_costs() -> None:
    op = matmul()
    same = replace(
        op,
        name="other",
        block="layer.3",
        nodes=("n",),
        inputs=tuple(replace(tensor, name=f"{tensor.name}'") for tensor in op.inputs),
    )
    assert op.signature() == same.signature()
    assert hash(op.signature()) == hash(same.signature())
    a, b = op.inputs
    different = [
        replace(op, kind="conv"),
        replace(op, dims={**op.dims, "m": 9}),
        replace(op, format=INT8),
        replace(op, acc_bits=16),
        replace(op, count=2),
        replace(op, flops_per_point=1.0),
        *(
            replace(op, inputs=(a, replace(b, **change)))
            for change in (
                {"bits": 8}, {"density": 0.5}, {"overhead_bits": 1.0}, {"pattern": 3}, {"touched": 0.5},
                {"format": INT8}, {"role": "kv_cache"}, {"axes": (axis("n"), axis("k"))},
            )
        ),
    ]  # fmt: skip
    assert len({op.signature(), *(other.signature() for other in different)}) == 1 + len(different)


@pytest.mark.parametrize(
    "op",
    [
        matmul(m=np.array([1, 2])),
        matmul(bits=np.array([4, 8])),
        matmul(density=np.array([0.5, 1.0])),
        matmul(axes=(axis("k"), axis(extent=np.array([3, 4])))),
        replace(matmul(), count=np.array([1, 2])),
    ],
    ids=["dim", "bits", "density", "extent", "count"],
)
def test_a_batch_has_no_signature(op: Operator) -> None:
    with pytest.raises(WorkloadError, match="batch of design points has no signature; take one row"):
        op.signature()


def test_an_unknown_pattern_is_refused() -> None:
    with pytest.raises(WorkloadError, match=r"unknown sparsity pattern '2:8'; known: dense"):
        pattern_code("2:8")
