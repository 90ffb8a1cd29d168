"""A mapping prints as a loop nest and parses back exactly."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hwmodels.mapping import LevelMapping, Loop, Mapping, mapping_text, parse_mapping
from tests.hwmodels.nests import Nest, convs, gemms
from workloads.errors import MappingError

names = st.text(st.characters(whitelist_categories=("L", "N"), whitelist_characters="_.:-"), min_size=1, max_size=8)
level_names = st.lists(names, min_size=1, max_size=3).map(" ".join)
loops = st.builds(Loop, names, st.integers(1, 10**9))
spatial = st.builds(Loop, names, st.integers(1, 10**9), names)
levels = st.builds(
    LevelMapping,
    level_names,
    st.permutations("WIO").flatmap(lambda roles: st.integers(0, 3).map(lambda kept: tuple(roles[:kept]))),
    st.lists(loops, max_size=3).map(tuple),
    st.lists(spatial, max_size=3).map(tuple),
)


@given(mapping=st.lists(levels, min_size=1, max_size=4).map(lambda found: Mapping(tuple(found))), sized=st.booleans())
def test_text_parses_back_to_the_same_mapping(mapping: Mapping, sized: bool) -> None:
    sizes = {loop.dim: 7 for loop in mapping.loops()} if sized else None
    assert parse_mapping(mapping_text(mapping, sizes)) == mapping


@given(nest=st.one_of(gemms(), convs()))
def test_text_with_sizes_parses_back_to_the_same_mapping(nest: Nest) -> None:
    assert parse_mapping(mapping_text(nest.mapping, nest.sizes)) == nest.mapping


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "empty; start with a level"),
        ("| for m by 1", "line 1: a loop before the first level"),
        ("DRAM keeps W\n| for m 1", "line 2: 'for m 1' is neither a level"),
        ("DRAM keeps W Z", "line 1: keeps 'W Z'; known: I, O, W"),
        ("DRAM keeps W W", "each once"),
        ("DRAM keeps W\n| for m by 1 on X", "line 2: 'for m by 1 on X'; a parallel loop says on which axis"),
        ("DRAM keeps W\n| parallel m by 1", "a parallel loop says on which axis"),
        ("DRAM keeps W\n| parallel m by 1 on X\n| for m by 1", "line 3: 'for m by 1' inside a parallel loop of DRAM"),
    ],
)
def test_what_cannot_be_read_names_the_line(text: str, message: str) -> None:
    with pytest.raises(MappingError) as caught:
        parse_mapping(text)
    assert message in str(caught.value)
