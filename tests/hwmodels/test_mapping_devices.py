"""Spatial accelerators as device files: cited facts, and a fault names the field and the mend."""

from __future__ import annotations

import csv
from importlib import resources
from pathlib import Path

import pytest

import hwmodels
from hwmodels.mapping import SILICON
from hwmodels.reading import read_toml, validated
from hwmodels.spatial import Organisation
from hwmodels.spatial_schema import SpatialSpec
from hwmodels.specs import spec_text
from hwmodels.writing import spec_to_toml
from workloads.errors import SpecError

SURVEY = Path(__file__).resolve().parent.parent / "golden" / "reference" / "survey" / "analytical_model_parameters.csv"
GEMMINI = spec_text("gemmini")


def test_the_accelerators_load_with_a_source_for_every_group_of_numbers() -> None:
    known = {"edge-npu", "eyeriss", "gemmini", "gemmini-ibert", "gemmini-os", "nvdla-like", "survey-machine", "tpu-v1"}
    assert hwmodels.accelerators() == tuple(sorted(known))
    for name in hwmodels.accelerators():
        device = hwmodels.load(name, kind=hwmodels.Accelerator)
        assert (device.name, device.kind, device.conventions) == (name, "spatial", SILICON)
        groups = 2 + 2 * len(device.levels) + len(device.organisations) + len(device.engines)
        assert len(device.sources) == groups
        assert all(citation.source for citation in device.sources.values())
        assert name not in hwmodels.names()


def test_gemmini_is_the_one_of_the_survey() -> None:
    with SURVEY.open(newline="", encoding="utf-8") as file:
        rows = [list(row.values())[:3] for row in csv.DictReader(file)]
    cited = {row[1]: row[2] for row in rows if row[0] == "gemmini_baseline"}
    device = hwmodels.load("gemmini")
    dram, scratchpad, accumulator, register = device.levels
    assert cited["array"] == "x".join(str(axis.size) for axis in accumulator.mesh)
    assert float(cited["scratchpad"]) == scratchpad.capacity_words / 1024  # type: ignore[operator]
    assert float(cited["accumulator"]) == accumulator.capacity_words * 4 / 1024  # type: ignore[operator]
    assert (cited["input_precision"], cited["partial_sum_precision"]) == (
        str(device.operand_bits),
        str(device.acc_bits),
    )
    assert device.mac_instances == 256 == device.instances(3)
    # a matrix product: N along X, K along Y; a convolution: K along X, C, R, S along Y
    x, y = accumulator.mesh
    assert x.allows("N", {"W", "O"})
    assert not x.allows("M", {"I", "O"})
    assert not x.allows("K", {"W", "I"})
    assert y.allows("K", {"W", "I"})
    assert not y.allows("N", {"W", "O"})
    assert not any(axis.allows("B", {"W", "I", "O"}) for axis in (x, y))
    assert dram.shared_port
    assert register.buffering == "shadow"


def test_quantities_become_words_cycles_and_joules() -> None:
    device = hwmodels.load("eyeriss")
    dram, glb, *_ = device.levels
    assert dram.read_words_per_cycle == pytest.approx(480e6 / 2 / 200e6)
    assert glb.capacity_words == 51200
    assert (glb.read_words_per_cycle, glb.write_words_per_cycle) == (5.0, 4.0)
    assert glb.read_j == pytest.approx(6e-12)
    assert device.mac_j == pytest.approx(1e-12)
    assert (device.clock_hz, device.acc_bits, dram.burst_bits) == (200e6, 16, 64)


def test_no_tensor_goes_past_a_level_of_the_shipped_devices() -> None:
    """What a level can keep goes through it: its wires lead nowhere else. Eyeriss' weights pass the GLB: not kept.

    The SRAM of the edge NPU stands beside a second port, which weights may take.
    """
    for name in hwmodels.accelerators():
        for level in hwmodels.load(name, kind=hwmodels.Accelerator).levels[1:]:
            assert level.bypass == (("W",) if (name, level.name) == ("edge-npu", "SRAM") else ())
    assert "W" not in hwmodels.load("eyeriss").levels[1].keeps


def test_a_file_says_what_may_go_past_a_level(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    for written, meant in (('bypass = ["I"]', ("I",)), ("", None)):
        path.write_text(GEMMINI.replace("bypass = []", written, 1))
        assert hwmodels.load(path, kind=hwmodels.Accelerator).levels[1].bypass == meant


def test_a_spec_is_written_and_read_back() -> None:
    for name in hwmodels.accelerators():
        spec = validated(read_toml(spec_text(name), name), SpatialSpec, name)
        assert validated(read_toml(spec_to_toml(spec), "copy"), SpatialSpec, "copy") == spec


def test_a_file_says_how_its_memories_are_built(tmp_path: Path) -> None:
    gemmini, eyeriss = (hwmodels.load(name, kind=hwmodels.Accelerator) for name in ("gemmini", "eyeriss"))
    assert gemmini.organisations["Scratchpad"] == Organisation(row_bytes=16, banks=4, ports=(1, 0, 0))
    assert eyeriss.organisations["GLB"].banks == 25
    path = tmp_path / "mine.toml"
    for old, new, message in (
        ("ports = [1, 0, 0]", "ports = [1, 0]", "field level.1.built.ports: .*three numbers"),
        ("ports = [1, 0, 0]", "ports = [0, 0, 0]", "field level.1.built.ports: .*one at least"),
        ("banks = 4", "banks = 0", "field level.1.built.banks: is 0, give at least 1"),
        ('row = "16 B"', 'row = "16"', "field level.1.built.row"),
    ):
        path.write_text(GEMMINI.replace(old, new, 1))
        with pytest.raises(SpecError, match=message):
            hwmodels.load(path, kind=hwmodels.Accelerator)


def test_the_example_of_engines_in_the_readme_loads(tmp_path: Path) -> None:
    readme = (resources.files("hwmodels") / "specs" / "README.md").read_text(encoding="utf-8")
    example = readme.split("```toml\n")[1].split("```")[0]
    path = tmp_path / "mine.toml"
    path.write_text(GEMMINI[: GEMMINI.index("[[engine]]")] + example)
    unit, host = hwmodels.load(path, kind=hwmodels.Accelerator).engines
    assert (unit.lanes, unit.clock_hz, unit.passes, unit.converts) == (16, 1e9, {"softmax": 3}, False)
    assert (host.kind, host.level, host.converts) == ("host", "DRAM", True)
    assert host.cycle_j == pytest.approx(34e-12)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('level = "DRAM"', 'level = "DRM"', "field engine.0.level: no level 'DRM'; nearest: DRAM"),
        ("softmax = 63", "sofmax = 63", "field engine.0: engine Host: no function 'sofmax'; give some of add"),
        ("softmax = 63", "softmax = 0", "field engine.0.cycles.softmax: is 0.0, give more than 0"),
        ('kind = "host"', 'kind = "cpu"', "field engine.0.kind: Input should be 'vector' or 'host'"),
        ('per_cycle = "34 pJ"', 'per_cycle = "34 pW"', "field engine.0.per_cycle"),
        ('"batchnorm", "relu"', '"batchnorms"', "field array.absorbs.2: Input should be 'bias', 'scale', 'batchnorm'"),
        ("takes_outputs = true", 'takes_outputs = "yes please"', "field level.1.takes_outputs"),
    ],
)
def test_a_fault_in_an_engine_names_the_field_and_the_mend(tmp_path: Path, old: str, new: str, message: str) -> None:
    assert old in GEMMINI
    path = tmp_path / "mine.toml"
    path.write_text(GEMMINI.replace(old, new, 1))
    with pytest.raises(SpecError) as caught:
        hwmodels.load(path)
    assert message in str(caught.value)


def test_a_file_loads_by_its_path_and_other_spellings_of_a_name_are_found(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(GEMMINI.replace('name = "gemmini"', 'name = "mine"'))
    assert hwmodels.load(path, kind=hwmodels.Accelerator).name == "mine"
    assert hwmodels.load("Gemmini-WS", kind=hwmodels.Accelerator).name == "gemmini"


def test_the_other_kind_of_device_is_refused_where_one_is_asked_for() -> None:
    with pytest.raises(SpecError, match="'t4' is of kind gpu; this needs a spatial accelerator: edge-npu, eyeriss"):
        hwmodels.load("t4", kind=hwmodels.Accelerator)
    with pytest.raises(SpecError, match="'gemmini' is of kind spatial; this needs a GPU or CPU: a100"):
        hwmodels.load("gemmini", kind=hwmodels.RooflineDevice)
    with pytest.raises(SpecError, match=r"unknown device 'gemmin'; nearest: gemmini"):
        hwmodels.load("gemmin")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('source = "tables/dram_energy.csv: LPDDR4, device and I/O"\n', "", "field level.0.energy.source: no source"),
        ('clock = "1 GHz"', 'clock = "1 GB"', "field array.clock"),
        ('clock = "1 GHz"', 'clok = "1 GHz"', "field array.clok: unknown key; nearest: clock"),
        ('word = "8 bit"', 'words = "8 bit"', "field level.0.words: unknown key; nearest: word"),
        ('keeps = ["W", "I", "O"]', 'keeps = ["W", "I"]', "field level.0: the outermost level keeps"),
        ('keeps = ["W", "I"]', 'keeps = ["W", "X"]', "field level.1.keeps.1: Input should be 'W', 'I' or 'O'"),
        ('capacity = "1 B"', 'capacity = "1 bit"', "field level.3.capacity: 0.125 B are 0.125 words of 8 bit"),
        ('name = "Scratchpad"', 'name = "DRAM"', "field level: two level entries are named 'DRAM'"),
        ('name = "Y"', 'name = "X"', "field level.2: two mesh entries are named 'X'"),
        ('burst = "64 B"', 'burst = "64 B"\nread_bandwidth = "1 GB/s"', "field level.0.bandwidth: shared by reads and"),
        ('burst = "64 B"', 'partitions = { W = "1 KiB" }', "field level.0.partitions: parts of a capacity that is not"),
        ('size = 16', 'size = 0', "field level.2.mesh.0.size: is 0, give at least 1"),
        ("bypass = []", 'bypass = ["O"]', "field level.1.bypass: O goes past Scratchpad anyway, as"),
        ("bypass = []", 'bypass = ["X"]', "field level.1.bypass.0: Input should be 'W', 'I' or 'O'"),
        ('burst = "64 B"', 'bypass = ["W"]', "field level.0.bypass: nothing goes past the outermost level"),
        ('buffering = "shadow"', 'buffering = "triple"', "field level.3.buffering: Input should be 'double', 'serial'"),
    ],
)  # fmt: skip
def test_a_fault_in_a_file_names_the_field_and_the_mend(tmp_path: Path, old: str, new: str, message: str) -> None:
    assert old in GEMMINI
    path = tmp_path / "mine.toml"
    path.write_text(GEMMINI.replace(old, new, 1))
    with pytest.raises(SpecError) as caught:
        hwmodels.load(path)
    assert message in str(caught.value)
    assert "mine.toml" in str(caught.value)
