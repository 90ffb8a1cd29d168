"""Tables of memories in Python: `predict_table`."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hwmodels.energy import predict_table
from hwmodels.energy.sram import Macro, Quality, sram
from hwmodels.energy.sram_table_parts import bad_points
from tests.close import close
from workloads.errors import SpecError

ROWS = st.tuples(
    st.sampled_from(
        [0.0, 4.0, 64.0, 1000.0, 65536.0, 262144.0]
    ),  # size_bytes: none, too small, registers, odd, in the table
    st.sampled_from([-1.0, 8.0, 12.0, 256.0]),
    st.sampled_from([7.0, 22.0, 45.0, 50.0, 180.0]),
    st.sampled_from([1.0, 2.0, 3.0]),
    st.sampled_from(["itrs-hp", "itrs-lstp", "itrs-xx"]),
    st.sampled_from(["", "bitcell-wire"]),
)


def alone(*arguments: float, **names: Any) -> Macro | str:
    """Give a memory, or what is wrong with it."""
    try:
        return sram(*arguments, **names)
    except SpecError as error:
        return str(error)


@settings(max_examples=15, deadline=None)
@given(st.lists(ROWS, min_size=1, max_size=12))
def test_a_row_is_what_sram_says_of_it_alone(rows: list[tuple[float, float, float, float, str, str]]) -> None:
    names = ("size_bytes", "width_bytes", "tech_nm", "banks", "cell_type", "law")
    table = predict_table(dict(zip(names, map(list, zip(*rows, strict=True)), strict=True)))
    for at, (size, width, node, banks, device, law) in enumerate(rows):
        macro = alone(size, width, node_nm=node, banks=banks, device=device, law=law or None)
        if isinstance(macro, str):
            assert (table["feasible"][at], table["reason"][at]) == (0, macro)
            assert np.isnan(table["read_pj"][at])
            continue
        assert (table["feasible"][at], table["reason"][at]) == (1, "")
        assert table["quality"][at] == Quality(int(macro.quality)).name.lower()
        for column, found in macro.estimates().items():
            ours = {"read_j": "read_pj", "write_j": "write_pj", "leakage_w": "leak_mw_total", "access_s": "access_ns",
                    "cycle_s": "cycle_ns"}.get(column, column)  # fmt: skip
            scale = {"J": 1e12, "W": 1e3, "s": 1e9, "mm2": 1.0}[found.unit]
            for end, value in (("", found.value), ("_low", found.low), ("_high", found.high)):
                assert table[ours + end][at] == close(float(value) * scale, rel=1e-9)


def test_data_frames_come_in_and_go_out() -> None:
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame({"note": ["a", "b"], "size_bytes": [262144, 4], "width_bytes": [8, 8]})
    found = pandas.DataFrame(predict_table(frame))
    assert list(found.columns[:3]) == ["note", "size_bytes", "width_bytes"]
    assert found["feasible"].tolist() == [1, 0]
    assert f"{found['read_pj'][0]:.6g}" == "40.6252"  # as CACTI printed it


def test_columns_are_checked() -> None:
    with pytest.raises(SpecError, match="no column 'width_bytes'"):
        predict_table({"size_bytes": [64]})
    with pytest.raises(SpecError, match="'width_bytes' has 2 rows and 'size_bytes' 1"):
        predict_table({"size_bytes": [64], "width_bytes": [8, 8]})
    with pytest.raises(SpecError, match="'temperature_k', which is spelt 'temp_k'"):
        predict_table({"size_bytes": [64], "width_bytes": [8], "temperature_k": [350]})


def test_an_empty_table_gives_empty_columns() -> None:
    table = predict_table({"size_bytes": [], "width_bytes": []})
    assert {len(column) for column in table.values()} == {0}


@given(st.lists(st.booleans(), max_size=100))
def test_exactly_the_bad_points_are_found(bad: list[bool]) -> None:
    calls = []

    def check(which: slice) -> None:
        calls.append(which)
        if any(bad[which]):
            raise SpecError(f"{which.start}")

    assert bad_points(check, len(bad)) == {at: str(at) for at, wrong in enumerate(bad) if wrong}
    assert len(calls) <= 1 + 1.5 * len(bad)
