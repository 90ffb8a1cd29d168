"""`evaluate` against a loop nest that is walked literally: thousands of random tiny nests, exactly."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hwmodels.mapping import Mapping, MappingBatch, evaluate
from hwmodels.spatial import REFERENCE, ROLES, SILICON
from tests.hwmodels.loop_interpreter import interpret
from tests.hwmodels.nests import Nest, convs, gemms, mappings

EXACT = replace(REFERENCE, name="exact windows", exact_windows=True)
FORWARDING = replace(SILICON, name="exact windows, forwarding", bit_true=False, bursts=False, fill_drain=False)
BOXES = REFERENCE

many = settings(max_examples=800, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])


def agree(nest: Nest, conventions: object = EXACT) -> None:
    """Compare everything that is counted; a tile is the largest that is ever held, unless padding clips it."""
    boxes = conventions is BOXES
    walked = interpret(nest.sizes, nest.tensors, nest.mapping, boxes=boxes, forwards=nest.forwards)
    traffic = evaluate(nest.operator, nest.accelerator, nest.mapping, conventions)  # type: ignore[arg-type]
    for place, level in enumerate(nest.mapping.levels):
        for column, role in enumerate(ROLES):
            if role not in level.keeps:
                continue
            for name in ("reads", "fills", "updates", "partition"):
                if name == "partition" and boxes and role == "I":
                    continue  # shared out as Timeloop does; see the reference cases
                counted = int(getattr(traffic, name)[0, place, column])
                assert counted == walked[name][place, role], (level.level, role, name)
            held, tile = walked["tile"][place, role], int(traffic.tile[0, place, column])
            clipped = any(item.extent is not None for item in nest.tensors[role].axes)
            assert held <= tile if clipped else held == tile, (level.level, role, "tile")
    assert traffic.compute_cycles[0] == walked["steps"]


@pytest.mark.slow
@many
@given(nest=gemms())
def test_products_are_counted_as_the_walked_nest_counts_them(nest: Nest) -> None:
    agree(nest)


@pytest.mark.slow
@many
@given(nest=convs())
def test_convolutions_are_counted_as_the_walked_nest_counts_them(nest: Nest) -> None:
    agree(nest)


@pytest.mark.slow
@settings(many, max_examples=200)
@given(nest=convs(forwards="I"))
def test_neighbours_pass_on_what_the_walked_nest_lets_them(nest: Nest) -> None:
    agree(nest, FORWARDING)


@pytest.mark.slow
@settings(many, max_examples=200)
@given(nest=convs())
def test_bounding_boxes_are_counted_as_the_walked_nest_counts_them(nest: Nest) -> None:
    agree(nest, BOXES)


@settings(max_examples=100)
@given(data=st.data())
def test_a_batch_of_mappings_equals_its_rows(data: st.DataObject) -> None:
    """Mappings of one structure at once, and of several structures in one call."""
    nest = data.draw(st.one_of(gemms(), convs()))
    structure = nest.mapping.structure()
    rows = [_steps(data, nest.mapping, nest.sizes) for _ in range(3)]
    batch = MappingBatch(structure, np.array(rows, dtype=np.int64).reshape(3, -1))
    other = data.draw(mappings(nest.sizes).filter(lambda found: len(found.levels) == len(nest.mapping.levels)))
    singles = [batch.mapping(row) for row in range(3)]
    mixed = evaluate(nest.operator, nest.accelerator, [singles[0], other, *singles[1:]])
    together = evaluate(nest.operator, nest.accelerator, batch)
    for row, mapping in enumerate(singles):
        alone = evaluate(nest.operator, nest.accelerator, mapping)
        for name in ("reads", "fills", "updates", "partition", "tile", "instances", "cycles", "energy_j", "bound"):
            expected = getattr(alone, name)[0]
            np.testing.assert_array_equal(getattr(together, name)[row], expected)
            np.testing.assert_array_equal(getattr(mixed, name)[row + (row > 0)], expected)
    np.testing.assert_array_equal(mixed.reads[1], evaluate(nest.operator, nest.accelerator, other).reads[0])


def _steps(data: st.DataObject, mapping: Mapping, sizes: dict[str, int]) -> list[int]:
    """Draw steps for the loops of a mapping; the last of a dim is 1."""
    left = dict(sizes)
    last = {loop.dim: place for place, loop in enumerate(mapping.loops())}
    steps = []
    for place, loop in enumerate(mapping.loops()):
        left[loop.dim] = 1 if last[loop.dim] == place else data.draw(st.integers(1, left[loop.dim]))
        steps.append(left[loop.dim])
    return steps
