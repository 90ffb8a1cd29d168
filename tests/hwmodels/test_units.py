from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hwmodels.units import EXAMPLES, Unit, format_si, parse_quantity
from workloads import SpecError


@pytest.mark.parametrize(
    ("text", "unit", "value"),
    [
        ("3.35 TB/s", "B/s", 3.35e12),
        ("50 MiB", "B", 50 * 2**20),
        ("50 MB", "B", 50e6),
        ("80 GiB", "B", 80 * 2**30),
        ("700 W", "W", 700.0),
        ("989.4 TFLOP/s", "FLOP/s", 989.4e12),
        ("130 TOP/s", "FLOP/s", 130e12),
        ("3 us", "s", 3e-6),
        ("13.1 pJ/bit", "J/bit", 13.1e-12),
        ("8 pJ/byte", "J/bit", 1e-12),
        ("1.98 GHz", "Hz", 1.98e9),
        ("814 mm2", "mm2", 814.0),
        ("7 nm", "m", 7e-9),
        ("8 Gbit/s", "B/s", 1e9),
    ],
)
def test_si_prefixes_are_powers_of_1000_and_binary_ones_of_1024(text: str, unit: str, value: float) -> None:
    assert parse_quantity(text, unit) == pytest.approx(value, rel=1e-14)


@pytest.mark.parametrize("unit", EXAMPLES)
def test_every_example_is_a_quantity_of_its_unit(unit: str) -> None:
    assert parse_quantity(EXAMPLES[unit], unit) > 0


@pytest.mark.parametrize(
    ("text", "unit"),
    [
        ("700 GB", "W"),
        ("3 GHz", "B/s"),  # a bit has a dimension here, unlike in pint's own registry
        ("3.35", "B/s"),
        ("TB/s", "B/s"),
        ("3.35 XB/s", "B/s"),
        ("", "W"),
        ("1 FLOP", "bit"),
        ("nan W", "W"),
        ("1e999 W", "W"),
        ("((", "W"),
        ("3 W W", "W"),
    ],
)
def test_a_wrong_quantity_is_refused_with_what_was_found_and_an_example(text: str, unit: str) -> None:
    with pytest.raises(SpecError) as caught:
        Unit(unit).read(text)
    assert repr(text) in str(caught.value) or "above zero" in str(caught.value)
    assert EXAMPLES[unit] in str(caught.value) or text == "TB/s"


@pytest.mark.parametrize("value", [700, 700.0, None, True, ["700 W"]])
def test_a_number_without_a_unit_is_refused(value: object) -> None:
    with pytest.raises(SpecError, match="without a unit"):
        Unit("W").read(value)


def test_negative_and_zero_quantities_are_refused_where_they_make_no_sense() -> None:
    with pytest.raises(SpecError, match="above zero"):
        Unit("W").read("-1 W")
    with pytest.raises(SpecError, match="above zero"):
        Unit("W").read("0 W")
    assert Unit("W", positive=False).read("0 W") == 0


@given(st.floats(1e-14, 1e17), st.sampled_from(["B/s", "J/bit", "s", "FLOP/s", "W"]))
def test_what_is_written_is_read_back(value: float, unit: str) -> None:
    assert parse_quantity(format_si(value, unit, digits=12), unit) == pytest.approx(value, rel=1e-10)
