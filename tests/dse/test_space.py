"""Design spaces: genes and points are the same thing said twice, and a space that makes no sense is refused by name."""

from __future__ import annotations

import copy
import itertools
import pickle
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dse.space import Knob, Space, choice, grid, log_uniform, per_layer, uniform
from workloads.errors import SpaceError
from workloads.knobs import PerLayer

numbers = st.lists(st.integers(-50, 50), min_size=1, max_size=4, unique=True)
names = st.lists(st.text("abc", min_size=1, max_size=3), min_size=1, max_size=3, unique=True)


@st.composite
def knobs(draw: st.DrawFn) -> Any:
    kind = draw(st.sampled_from(["numbers", "names", "choice", "layers"]))
    if kind == "names":
        return draw(names)
    values = draw(numbers)
    if kind == "choice":
        return choice(values)
    return per_layer([f"layer.{i}" for i in range(draw(st.integers(1, 2)))], values) if kind == "layers" else values


spaces = st.lists(knobs(), min_size=1, max_size=4).map(lambda found: Space(**{f"k{i}": k for i, k in enumerate(found)}))


def gene_values(space: Space) -> list[tuple[Any, ...]]:
    return [knob.values for knob in space.knobs.values() for _ in range(knob.genes)]


def flat_rows(space: Space, genes: Any) -> list[tuple[Any, ...]]:
    return list(zip(*[np.asarray(column).tolist() for column in space.decode(genes).columns().values()], strict=True))


@given(spaces, st.integers(1, 7))
def test_enumeration_is_the_product_of_all_values_in_order_whatever_the_chunk(space: Space, chunk: int) -> None:
    chunks = list(space.enumerate(chunk))
    assert all(len(part) <= chunk for part in chunks)
    rows = flat_rows(space, np.concatenate(chunks))
    assert rows == list(itertools.product(*gene_values(space)))
    assert len(set(rows)) == len(rows) == space.size()


@given(spaces, st.integers(0, 2**32 - 1))
def test_samples_are_in_the_space_and_encode_to_their_genes(space: Space, seed: int) -> None:
    genes = space.sample(np.random.default_rng(seed), 5)
    assert space.contains(genes).all()
    points = space.decode(genes)
    for row in range(5):
        point = points.row(row)
        assert (space.encode(**{name: getattr(point, name) for name in space.names}) == genes[row]).all()


@given(spaces)
def test_a_batch_holds_its_rows(space: Space) -> None:
    genes = space.sample(np.random.default_rng(0), 6)
    taken = space.decode(genes).take(np.array([4, 1]))
    rows = flat_rows(space, genes)
    assert list(zip(*[np.asarray(c).tolist() for c in taken.columns().values()], strict=True)) == [rows[4], rows[1]]


def test_every_value_of_every_gene_is_drawn_about_equally_often() -> None:
    space = Space(a=[1, 2, 3], b=per_layer(["x", "y"], [4, 8]), c=uniform(0, 1))
    genes = space.sample(np.random.default_rng(0), 30_000)
    assert [round(float(mean), 1) for mean in genes.mean(axis=0)] == [1.0, 0.5, 0.5, 0.5]
    assert np.bincount(genes[:, 0].astype(int)).min() > 9_500


def test_per_layer_columns_are_contiguous_and_the_same_object_every_time() -> None:
    space = Space(bits=per_layer(["layer.0", "layer.1"], [4, 8, 16]))
    bits = space.decode(space.sample(np.random.default_rng(0), 100)).bits
    assert isinstance(bits, PerLayer)
    column = bits.at("layer.1.ffn")
    assert isinstance(column, np.ndarray)
    assert column.flags.c_contiguous
    assert column is bits.at("layer.1")


@given(st.floats(1e-3, 1e3), st.floats(1.01, 1e3), st.floats(0, 1))
def test_ranges_reach_from_end_to_end(low: float, ratio: float, gene: float) -> None:
    space = Space(even=uniform(low, low * ratio), steep=log_uniform(low, low * ratio))
    ends = space.decode(np.array([[0.0, 0.0], [1.0, 1.0]]))
    for column in (ends.even, ends.steep):
        assert column == pytest.approx([low, low * ratio])
    point = space.decode(np.array([[gene, gene]]))
    assert point.steep[0] == pytest.approx(low ** (1 - gene) * (low * ratio) ** gene)
    inside = {name: min(max(getattr(point, name)[0], low), low * ratio) for name in ("even", "steep")}
    assert space.encode(**inside)[0] == pytest.approx([gene, gene], abs=1e-6)
    assert space.size() == float("inf")


def test_contains_refuses_fractions_of_a_gene_and_what_is_beyond_the_ends() -> None:
    space = Space(a=[1, 2], b=uniform(0, 1))
    genes = np.array([[0, 0.5], [0.5, 0.5], [2, 0.5], [-1, 0.5], [1, 1.01], [1, np.nan], [1, 1.0]])
    assert space.contains(genes).tolist() == [True, False, False, False, False, False, True]


def test_a_space_with_a_range_cannot_be_enumerated() -> None:
    with pytest.raises(SpaceError, match=r"'clock'.*grid"):
        next(Space(bits=[4, 8], clock=uniform(0, 1)).enumerate())


@pytest.mark.parametrize(
    ("knob", "message"),
    [
        ([], "'k' has no values"),
        (per_layer(["a"], []), "'k' has no values"),
        (choice([]), "'k' has no values"),
        ([1, 2, 1], "'k' repeats a value"),
        (per_layer(["a", "a"], [1, 2]), "'k' repeats a block"),
        ([1, "a"], "'k' mixes names and numbers"),
        ([1, None], "None is neither"),
        ([1, float("nan")], "nan is neither"),
        (per_layer(["a"], ["x", "y"]), "must be numbers"),  # type: ignore[list-item]
        (uniform(2, 1), "range 2 to 1 is empty"),
        (uniform(0, float("inf")), "endless"),
        (log_uniform(0, 1), "not positive"),
        ("abc", "give a list"),
        (3, "give a list"),
        ({1, 2}, "give a list"),
    ],
)
def test_a_knob_that_makes_no_sense_is_refused_by_name(knob: Any, message: str) -> None:
    with pytest.raises(SpaceError, match=message):
        Space(k=knob)


def test_a_space_needs_knobs_and_layers_need_blocks() -> None:
    with pytest.raises(SpaceError, match="at least one knob"):
        Space()
    with pytest.raises(SpaceError, match="at least one block"):
        per_layer([], [4, 8])


@pytest.mark.parametrize("name", ["row", "names", "columns", "_count"])
def test_a_knob_cannot_hide_an_attribute_of_its_points(name: str) -> None:
    with pytest.raises(SpaceError, match="cannot be called"):
        Space(**{name: [1, 2]})


def test_an_unknown_attribute_names_the_nearest_knobs_and_getattr_has_its_default() -> None:
    points = Space(weight_bits=[4, 8]).decode(np.zeros((1, 1)))
    with pytest.raises(SpaceError, match=r"no knob 'weight_bit'; nearest: weight_bits"):
        _ = points.weight_bit
    assert getattr(points, "batch", 7) == 7
    assert "weight_bits" in points
    assert "batch" not in points


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"a": 1}, "'b' is missing"),
        ({"a": 1, "b": "x", "c": 2}, "no knob 'c'"),
        ({"a": 3, "b": "x"}, "'a': 3 is none of 1, 2"),
    ],
)
def test_encoding_names_the_knob_that_does_not_fit(values: dict[str, Any], message: str) -> None:
    with pytest.raises(SpaceError, match=message):
        Space(a=[1, 2], b=["x"]).encode(**values)


def test_encoding_gives_a_layer_each_or_all_layers_one_value() -> None:
    space = Space(bits=per_layer(["a", "b"], [4, 8]), x=uniform(0, 2))
    assert space.encode(bits=8, x=1).tolist() == [[1, 1, 0.5]]
    assert space.encode(bits=[4, 8], x=0).tolist() == [[0, 1, 0]]
    with pytest.raises(SpaceError, match="'bits'"):
        space.encode(bits=[4, 8, 8], x=0)
    with pytest.raises(SpaceError, match="'x': 3 is not from 0 to 2"):
        space.encode(bits=4, x=3)


@pytest.mark.parametrize(
    "other",
    [
        Space(a=[1, 2], b=[3, 5]),
        Space(b=[3, 4], a=[1, 2]),  # genes mean something else
        Space(a=[1, 2], c=[3, 4]),
        Space(a=choice([1, 2]), b=[3, 4]),
        Space(a=uniform(1, 2), b=[3, 4]),
    ],
)
def test_the_digest_changes_with_whatever_genes_depend_on(other: Space) -> None:
    space = Space(a=[1, 2], b=[3, 4])
    assert space.digest() == Space(a=[1, 2], b=[3, 4]).digest() != other.digest()


def test_spaces_and_points_can_be_pickled_and_copied() -> None:
    space = pickle.loads(pickle.dumps(Space(a=["x", "y"], b=per_layer(["l"], [1, 2]), c=uniform(0, 1))))
    points = space.decode(space.sample(np.random.default_rng(0), 4))
    for other in (pickle.loads(pickle.dumps(points)), copy.copy(points)):
        assert flat_columns(other) == flat_columns(points)


def flat_columns(points: Any) -> dict[str, list[Any]]:
    return {name: np.asarray(column).tolist() for name, column in points.columns().items()}


def test_a_grid_has_both_ends() -> None:
    assert grid(0.25, 1, 4) == (0.25, 0.5, 0.75, 1.0)
    assert Knob(values=grid(0, 1, 5)).genes == 1


def test_a_huge_space_is_counted_exactly_and_enumerated_lazily() -> None:
    space = Space(bits=per_layer([f"l{i}" for i in range(72)], [2, 3, 4, 5, 6, 8, 16]))
    assert space.size() == 7**72
    first = next(space.enumerate(8))
    assert first[:, -1].tolist() == [0, 1, 2, 3, 4, 5, 6, 0]
    assert first[:, -2].tolist() == [0] * 7 + [1]
