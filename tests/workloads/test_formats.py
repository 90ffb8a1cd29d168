"""Number formats against the standards that define them, and the arithmetic format as a rule on pairs."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from workloads import FORMATS, WorkloadError, arithmetic_format, format_code, integer_code

NAMES = [entry.name for entry in FORMATS]
codes = st.integers(0, len(FORMATS) - 1)


def meet(a: str, b: str) -> str:
    code = arithmetic_format(format_code(a), format_code(b))
    assert isinstance(code, int)
    return FORMATS[code].name


def test_every_name_is_unique_and_finds_its_own_code() -> None:
    assert len(set(NAMES)) == len(NAMES)
    assert [format_code(name) for name in NAMES] == list(range(len(NAMES)))


# The independent reference is the ml_dtypes and NumPy implementation of each format.
@pytest.mark.parametrize(
    ("name", "dtype"),
    [
        ("fp64", np.float64), ("fp32", np.float32), ("fp16", np.float16), ("bf16", ml_dtypes.bfloat16),
        ("fp8_e4m3", ml_dtypes.float8_e4m3fn), ("fp8_e5m2", ml_dtypes.float8_e5m2),
        ("fp4_e2m1", ml_dtypes.float4_e2m1fn),
    ],
)  # fmt: skip
def test_float_formats_have_the_width_exponent_and_largest_value_of_their_implementation(
    name: str, dtype: type
) -> None:
    entry, info = FORMATS[format_code(name)], ml_dtypes.finfo(dtype)  # type: ignore[no-untyped-call]
    assert (entry.kind, entry.bits, entry.exponent_bits) == ("float", info.bits, info.nexp)
    assert entry.maximum == float(info.max)


@pytest.mark.parametrize("name", [name for name in NAMES if name.startswith(("int", "uint"))])
def test_integer_formats_have_the_range_of_their_width(name: str) -> None:
    entry = FORMATS[format_code(name)]
    bits = int(name.strip("uint"))
    values = 2**bits
    assert entry.bits == bits
    assert entry.maximum == float(values - 1 if name.startswith("u") else values // 2 - 1)
    assert entry.kind == ("uint" if name.startswith("u") else "int")


@pytest.mark.parametrize(
    ("a", "b", "result"),
    [
        ("fp16", "int4", "fp16"),  # weight-only quantization
        ("int3", "bf16", "bf16"),
        ("fp8_e4m3", "int8", "fp8_e4m3"),
        ("int8", "int8", "int8"),
        ("uint8", "int8", "int8"),
        ("uint8", "int4", "int8"),  # the wider decides, not the weight
        ("fp16", "fp32", "fp32"),
        ("fp8_e5m2", "fp16", "fp16"),
        ("bool", "fp32", "fp32"),
        ("int64", "bool", "int64"),
    ],
)
def test_the_activation_decides_under_weight_only_quantization_and_the_wider_of_equals(
    a: str, b: str, result: str
) -> None:
    assert meet(a, b) == meet(b, a) == result


@given(a=codes, b=codes)
def test_the_arithmetic_format_does_not_depend_on_the_order_of_the_operands(a: int, b: int) -> None:
    assert arithmetic_format(a, b) == arithmetic_format(b, a)


@given(a=codes, b=codes)
def test_the_arithmetic_format_is_float_if_one_is_and_never_narrower_than_an_operand_of_its_kind(
    a: int, b: int
) -> None:
    result = arithmetic_format(a, b)
    assert isinstance(result, int)
    one, other, found = FORMATS[a], FORMATS[b], FORMATS[result]
    if "float" in (one.kind, other.kind):
        assert found.kind == "float"
    families = {"float": "float", "int": "int", "uint": "int", "other": "other"}
    for entry in (one, other):
        if families[entry.kind] == families[found.kind]:
            assert found.bits >= entry.bits


@given(code=codes)
def test_a_signed_or_floating_format_with_itself_is_itself(code: int) -> None:
    if FORMATS[code].kind != "uint":
        assert arithmetic_format(code, code) == code


@given(pairs=st.lists(st.tuples(codes, codes), min_size=2, max_size=20), fixed=codes)
def test_a_batch_of_formats_equals_its_rows(pairs: list[tuple[int, int]], fixed: int) -> None:
    a, b = np.array(pairs).T
    both = arithmetic_format(a, b)
    assert isinstance(both, np.ndarray)
    assert both.tolist() == [arithmetic_format(*pair) for pair in pairs]
    mixed = arithmetic_format(a, fixed)
    assert isinstance(mixed, np.ndarray)
    assert mixed.tolist() == [arithmetic_format(int(one), fixed) for one in a]


@given(widths=st.lists(st.sampled_from([2, 3, 4, 5, 6, 7, 8, 16, 32, 64]), min_size=2))
def test_integer_widths_find_their_format_one_by_one_and_as_a_batch(widths: list[int]) -> None:
    found = integer_code(np.array(widths))
    assert isinstance(found, np.ndarray)
    assert [FORMATS[code].name for code in found] == [f"int{bits}" for bits in widths]
    assert found.tolist() == [integer_code(bits) for bits in widths]


@pytest.mark.parametrize("bits", [0, 1, 9, 12, 65, -8, 2.5, float("nan"), np.array([8, 9]), np.array([4.0, 4.5])])
def test_a_width_without_a_format_is_refused(bits: object) -> None:
    with pytest.raises(WorkloadError, match="bits"):
        integer_code(bits)


def test_an_unknown_name_is_refused_with_the_nearest_one() -> None:
    with pytest.raises(WorkloadError, match=r"unknown number format 'float16'.*known:.*fp16"):
        format_code("float16")
    with pytest.raises(WorkloadError, match=r"nearest: .*fp8_e4m3"):
        format_code("fp8_e4m3fn")
