"""Configurations that are damaged end in an error that names the field, in every family of the zoo."""

from __future__ import annotations

import copy
import json
import math
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from workloads import WorkloadError
from workloads.zoo import architecture, published, published_names
from workloads.zoo.config import read_config
from workloads.zoo.families import FAMILIES, family_of
from workloads.zoo.graph import GraphWriter
from workloads.zoo.phase import Phase

LAYERS = (
    "num_hidden_layers", "num_layers", "num_decoder_layers", "n_layer", "n_layers", "encoder_layers", "decoder_layers",
)  # fmt: skip
SHORT = {"time_reduce_layer": 1, "time_recover_layer": 2}
DAMAGED: tuple[Any, ...] = (
    None, "text", "", -1, 0, 0.5, -0.0, math.inf, -math.inf, math.nan, 10**9, 10**400, 1e300, True, False, [], ["x"],
    [None], [-1], {}, {"a": 1},
)  # fmt: skip
"""What is put into a field. Some of it is right for some fields: a flag is true, an optional number null."""


ALSO = {
    "num_local_experts": "num_experts",
    "num_experts": "num_local_experts",
    "use_sliding_window": "sliding_window",
}
"""Fields that may be named in the place of another: transformers 5 writes some under other names than the checkpoints,
and a flag asks for the field that it switches on."""


class Watched(dict[str, Any]):
    """A configuration that notes which of its fields are looked at."""

    def __init__(self, values: Mapping[str, Any]) -> None:
        super().__init__(values)
        self.seen: set[str] = set()

    def get(self, key: str, default: Any = None) -> Any:
        self.seen.add(key)
        return super().get(key, default)

    def __getitem__(self, key: str) -> Any:
        self.seen.add(key)
        return super().__getitem__(key)


def shrunk(config: Mapping[str, Any]) -> dict[str, Any]:
    """Give a configuration with few layers, so that writing its graph takes milliseconds."""
    small = copy.deepcopy(dict(config))
    for name in LAYERS:
        if isinstance(small.get(name), int):
            small[name] = 3
    small |= {name: value for name, value in SHORT.items() if name in small}
    if "layer_types" in small and isinstance(small["layer_types"], list):
        small["layer_types"] = small["layer_types"][:3]
    return small


@cache
def sound() -> dict[str, dict[str, Any]]:
    """Give one sound configuration per model type, and a few more of those that hold nested fields."""
    found: dict[str, dict[str, Any]] = {}
    for name in published_names():
        config = dict(published(name).config)
        kind = str(config["model_type"])
        found.setdefault(kind, shrunk(config))
        for field, value in config.items():
            if isinstance(value, Mapping):
                found.setdefault(f"{kind} with {field}", shrunk(config))
    missing = [kind for kind in FAMILIES if kind not in found]
    if missing:
        import transformers

        for kind in missing:
            config = json.loads(transformers.AutoConfig.for_model(kind).to_json_string(use_diff=False))
            found[kind] = shrunk(config)
    return found


NAMES = sorted({*FAMILIES, "llama with rope_scaling", "deepseek_v2 with rope_scaling"})


def written(config: Mapping[str, Any]) -> None:
    """Read a configuration and write all of its phases."""
    family = family_of(config)
    model = family.read(config)
    for phase in family.phases:
        family.write(GraphWriter("test", "fp16"), model, Phase(name=phase))


def fields_of(config: Mapping[str, Any]) -> list[str]:
    watched = Watched(config)
    family_of(config).read(watched)
    return sorted(watched.seen - {"model_type"})


def damaged(config: Mapping[str, Any], field: str, value: Any) -> dict[str, Any]:
    return {**copy.deepcopy(dict(config)), field: value}


def nested(config: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Give the fields inside fields."""
    for field in fields_of(config):
        inside = config.get(field)
        if isinstance(inside, Mapping) and field != "id2label":
            yield from ((field, str(inner)) for inner in inside)


def outcome(config: Mapping[str, Any]) -> str:
    """Give the message of the error that a configuration ends in, or nothing if it is taken."""
    try:
        written(config)
    except WorkloadError as error:
        return str(error)
    return ""


def faults(name: str, cases: Iterable[tuple[str, dict[str, Any]]], *, refused: bool = False) -> list[str]:
    """Try damaged configurations; list those whose error does not name the field, or that are taken but should not be.

    Args:
        name: Of the sound configuration.
        cases: The field, by the name that a message must hold, and the configuration.
        refused: Every case must end in an error.
    """
    found = []
    for field, config in cases:
        try:
            message = outcome(config)
        except Exception as error:  # what must not happen is listed with the rest
            message = f"{type(error).__name__}: {error}"
            found.append(f"{name}: {field} = {config.get(field)!r}: {message}")
        if refused and not message:
            found.append(f"{name}: {field} = {config.get(field)!r} was taken")
        if message and not any(item in message for item in (field, ALSO.get(field, field))):
            found.append(f"{name}: {field} = {config.get(field)!r}: {message}")
    return found


@pytest.mark.parametrize("name", NAMES)
def test_a_damaged_field_is_taken_or_named(name: str) -> None:
    config = sound()[name]
    written(config)
    cases = ((field, damaged(config, field, value)) for field in fields_of(config) for value in DAMAGED)
    assert not faults(name, cases)


@pytest.mark.parametrize("name", NAMES)
def test_numbers_are_not_replaced_by_anything_else(name: str) -> None:
    config = sound()[name]
    numbers = [field for field in fields_of(config) if type(config.get(field)) in (int, float)]
    wrong: tuple[Any, ...] = ("text", "", -1, math.inf, math.nan, 10**400, True, [], ["x"], {}, {"a": 1})
    # what the sound configuration says itself is no damage: DeBERTa's -1 means that a field is not used
    cases = ((f, damaged(config, f, value)) for f in numbers for value in wrong if repr(value) != repr(config[f]))
    assert not faults(name, cases, refused=True)


@pytest.mark.parametrize("name", NAMES)
def test_a_field_that_is_needed_is_named_when_it_is_missing(name: str) -> None:
    config = sound()[name]
    cases = [(field, {key: value for key, value in config.items() if key != field}) for field in fields_of(config)]
    assert not faults(name, cases)
    needed = sum(bool(outcome(case)) for _, case in cases)
    assert needed >= (0 if name == "mobilenet_v2" else 2)  # all that MobileNetV2 needs has a default


@pytest.mark.parametrize("name", [name for name in NAMES if " with " in name])
def test_damaged_fields_inside_fields_are_named_too(name: str) -> None:
    config = sound()[name]
    cases = [
        (inner, {**config, field: {**config[field], inner: value}})
        for field, inner in nested(config)
        for value in DAMAGED
    ]
    assert cases
    assert not faults(name, cases)


values = st.one_of(
    st.sampled_from(DAMAGED),
    st.integers(1, 5000),
    st.floats(allow_nan=True),
    st.text(max_size=5),
    st.lists(st.integers(-1, 64), max_size=4),
    st.dictionaries(st.sampled_from(["rope_type", "factor", "type"]), st.sampled_from(DAMAGED), max_size=2),
)


@given(data=st.data(), name=st.sampled_from(NAMES))
@settings(max_examples=150, suppress_health_check=[HealthCheck.too_slow])
def test_several_damaged_fields_at_once_end_in_an_error_that_names_one_or_in_a_workload(
    data: st.DataObject, name: str
) -> None:
    config = sound()[name]
    fields = fields_of(config)
    short = [field for field in fields if field not in LAYERS]
    chosen = data.draw(st.lists(st.sampled_from(short), min_size=1, max_size=3, unique=True))
    broken = copy.deepcopy(config) | {field: data.draw(values, label=field) for field in chosen}
    message = ""
    try:
        assert len(architecture(broken, seq=1)) > 0
    except WorkloadError as error:
        message = str(error)
    assert not message or any(field in message for field in fields), message  # of two that disagree one is named


@pytest.mark.parametrize("config", [{}, {"model_type": 3}, {"model_type": None}])
def test_a_configuration_without_a_model_type_is_refused(config: dict[str, Any]) -> None:
    with pytest.raises(WorkloadError, match=r"model_type"):
        read_config(config)


def test_an_unknown_model_type_is_refused_with_the_nearest() -> None:
    with pytest.raises(WorkloadError, match=r"no architecture of model type 'lama'; nearest: llama"):
        family_of({"model_type": "lama"})


@pytest.mark.parametrize("content", ["", "{", "[]", "3", '"bert"', '{"model_type": "bert"', "\x00", '{"a": 1}'])
def test_a_file_that_is_no_configuration_is_refused_by_its_name(tmp_path: Path, content: str) -> None:
    path = tmp_path / "config.json"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(WorkloadError, match=r"config.json"):
        read_config(path)
    with pytest.raises(WorkloadError, match=r"config.json"):
        read_config(tmp_path)


def test_a_missing_file_is_refused_by_its_name(tmp_path: Path) -> None:
    with pytest.raises(WorkloadError, match=r"none.json: no such file"):
        read_config(tmp_path / "none.json")


def test_heads_and_layers_on_top_are_held_to_what_is_known() -> None:
    config = sound()["bert"]
    with pytest.raises(WorkloadError, match=r"architectures = .*head that is not known; nearest: MaskedLM"):
        architecture({**config, "architectures": ["BertForMaskedLN"]})
    with pytest.raises(WorkloadError, match=r"num_attention_heads = 5 does not divide a width of 768"):
        architecture({**config, "num_attention_heads": 5, "hidden_size": 768})
    with pytest.raises(WorkloadError, match=r"seq = 513, but it has positions for 512 only"):
        architecture(config, seq=513)


def test_classes_are_counted_from_their_names() -> None:
    config = {**sound()["bert"], "architectures": ["BertForSequenceClassification"]}
    names = {str(index): f"LABEL_{index}" for index in range(7)}
    seven = architecture({**config, "id2label": names}).macs()
    two = architecture(config).macs()
    assert seven - two == 5 * config["hidden_size"]
