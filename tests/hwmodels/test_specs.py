from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest

import hwmodels
from hwmodels.specs import spec_text
from hwmodels.writing import spec_to_toml
from workloads import SpecError

T4 = spec_text("t4")


def fault(text: str, tmp_path: Path) -> str:
    path = tmp_path / "mine.toml"
    path.write_text(text)
    with pytest.raises(SpecError) as caught:
        hwmodels.load(path)
    message = str(caught.value)
    assert "mine.toml" in message
    return message


def changed(old: str, new: str) -> str:
    assert old in T4
    return T4.replace(old, new, 1)


@pytest.mark.parametrize("name", ["h100-sxm", "h200-sxm", "a100-sxm-80gb", "v100-sxm-32gb", "t4", "l4", "rtx-4090",
                                  "mi300x", "epyc-9654", "xeon-8480"])  # fmt: skip
def test_the_promised_devices_load(name: str) -> None:
    assert hwmodels.load(name).name == name
    assert name in hwmodels.names()


@pytest.mark.parametrize(
    ("alias", "name"),
    [
        ("h100_sxm_80gb", "h100-sxm"),
        ("a100_sxm4_80gb", "a100-sxm-80gb"),
        ("a100_sxm_80gb", "a100-sxm-80gb"),
        ("A100-SXM4-80GB", "a100-sxm-80gb"),
        ("rtx4090", "rtx-4090"),
        ("RTX 4090", "rtx-4090"),
        ("T4", "t4"),
        ("v100_sxm_32gb", "v100-sxm-32gb"),
        ("EPYC 9654", "epyc-9654"),
    ],
)
def test_other_spellings_of_a_name_find_the_device(alias: str, name: str) -> None:
    assert hwmodels.load(alias).name == name


def test_no_two_devices_share_an_alias() -> None:
    import tomllib

    from hwmodels.specs import _plain

    owners: dict[str, str] = {}
    for name in hwmodels.names():
        for alias in {_plain(text) for text in (name, *tomllib.loads(spec_text(name)).get("aliases", ()))}:
            assert owners.setdefault(alias, name) == name, alias


def test_an_unknown_device_is_refused_with_the_nearest_names() -> None:
    with pytest.raises(SpecError, match=r"unknown device 'h100-sxn'; nearest: h100-sxm.*known: a100-pcie-40gb"):
        hwmodels.load("h100-sxn")


def test_a_path_that_does_not_exist_is_named() -> None:
    with pytest.raises(SpecError, match=r"no device file 'nowhere\.toml'"):
        hwmodels.load("nowhere.toml")


def test_a_path_works_like_a_name(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(T4.replace('name = "t4"', 'name = "mine"'))
    assert hwmodels.load(path).name == hwmodels.load(os.fspath(path)).name == "mine"


def test_a_wrong_unit_names_file_field_and_mend(tmp_path: Path) -> None:
    message = fault(changed('bandwidth = "320 GB/s"', 'bandwidth = "320 GB"'), tmp_path)
    assert "field memory.2.bandwidth: found '320 GB', which is not in B/s" in message
    assert 'write it like "3.35 TB/s"' in message


def test_a_number_without_unit_names_file_field_and_mend(tmp_path: Path) -> None:
    message = fault(changed('tdp = "70 W"', "tdp = 70"), tmp_path)
    assert 'field power.tdp: found 70 without a unit; write it like "700 W"' in message


def test_an_unknown_key_names_file_field_and_the_nearest_keys(tmp_path: Path) -> None:
    message = fault(changed('tdp = "70 W"', 'tpd = "70 W"'), tmp_path)
    assert "field power.tpd: unknown key; nearest: tdp" in message
    assert "field power.tdp: missing" in message  # all faults at once
    message = fault(changed('overhead = "3 us"', 'overhead = "3 us"\noverhed = 1'), tmp_path)
    assert "field launch.overhed: unknown key; nearest: overhead" in message
    message = fault(changed('[[memory]]\nname = "L1"\n', '[[memory]]\nname = "L1"\nbandwith = "1 TB/s"\n'), tmp_path)
    assert "field memory.0.bandwith: unknown key; nearest: bandwidth" in message
    message = fault('zzz = "green"\n' + T4, tmp_path)
    assert "field zzz: unknown key; known: aliases" in message


@pytest.mark.parametrize(
    "table", ["matrix", "vector", "memory_energy", "arithmetic_energy", "launch", "power", "kernels"]
)
def test_a_table_without_source_names_file_and_field(table: str, tmp_path: Path) -> None:
    head, _, rest = T4.partition(f"\n[{table}]")
    lines = rest.splitlines()
    at = next(i for i, line in enumerate(lines) if line.startswith("source = "))
    message = fault("\n".join([head, f"[{table}]", *lines[1:at], *lines[at + 1 :]]), tmp_path)
    assert f"field {table}.source: no source; every table of numbers needs one" in message


@pytest.mark.parametrize("empty", ['source = ""', 'source = "  "'])
def test_an_empty_source_is_no_source(empty: str, tmp_path: Path) -> None:
    line = next(line for line in T4.splitlines() if line.startswith("source = "))
    assert "field matrix.source" in fault(changed(line, empty), tmp_path)


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ('fp16 = "65 TFLOP/s"', 'fp17 = "65 TFLOP/s"', "field matrix.peak: unknown name 'fp17'; nearest: fp16"),
        ('fp32 = "8.1 TFLOP/s"', "", "field matrix.peak.fp32: missing"),
        (
            '"dequantize", "epilogue"',
            '"dequantise"',
            "field kernels.fuses: unknown name 'dequantise'; nearest: dequantize",
        ),
        ('bandwidth = "320 GB/s"', "", "field memory: the last level is the outermost and needs a bandwidth"),
        ('node = "16 nm"', 'node = "2 nm"', "field arithmetic_energy.node: node 2 nm: technology nodes reach from 180"),
        ('node = "16 nm"', "", "field arithmetic_energy.per_flop.fp64: missing"),
        ("static_memory_share = 0.68", "static_memory_share = 68", "field power.static_memory_share: found 68"),
        ("cores = 40", "cores = 41\ndies = 2", "field dies: found 2; it is at least 1 and divides cores = 41"),
        ('kind = "gpu"', 'kind = "tpu"', "field kind: Input should be 'gpu' or 'cpu'"),
        (
            'DRAM = "7.0 pJ/bit"',
            'RAM = "7.0 pJ/bit"',
            "field memory_energy.increment: unknown name 'RAM'; nearest: DRAM",
        ),
        ("[power]", "[power", "not valid TOML"),
    ],
)
def test_a_fault_across_fields_names_file_field_and_mend(old: str, new: str, expected: str, tmp_path: Path) -> None:
    assert expected in fault(changed(old, new), tmp_path)


@pytest.mark.parametrize("name", hwmodels.names())
def test_a_written_device_reads_back_the_same(name: str, tmp_path: Path) -> None:
    spec = hwmodels.read_spec(spec_text(name), name)
    path = hwmodels.write_spec(spec, tmp_path / "copy.toml")
    assert hwmodels.read_spec(path.read_text(), "copy") == spec
    assert [item.name for item in tmp_path.iterdir()] == ["copy.toml"]


def test_a_broken_device_is_not_written(tmp_path: Path) -> None:
    spec = hwmodels.read_spec(T4, "t4")
    with pytest.raises(SpecError, match="no folder"):
        hwmodels.write_spec(spec, tmp_path / "none" / "copy.toml")
    with pytest.raises(SpecError, match="fuses"):
        hwmodels.write_spec(replace(spec, kernels=replace(spec.kernels, fuses=["all"])), tmp_path / "copy.toml")
    assert not list(tmp_path.iterdir())


def test_quotes_and_line_breaks_survive_writing() -> None:
    spec = replace(hwmodels.read_spec(T4, "t4"), title='a "quoted"\\ line\nand a tab\t')
    assert hwmodels.read_spec(spec_to_toml(spec), "copy") == spec


def test_optional_tables_reach_the_device(tmp_path: Path) -> None:
    path = tmp_path / "cpu.toml"
    path.write_text(
        T4.replace('kind = "gpu"', 'kind = "cpu"\nthreads = 4')
        + '\n[vector_peaks]\nsource = "measured here"\norigin = "measured"\n'
        + '[vector_peaks.peak]\nsoftmax = "10 GFLOP/s"\n'
        + '\n[efficiency]\nsource = "measured here"\norigin = "measured"\n[efficiency.factor]\nMatMulNBits = 0.6\n'
    )
    device = hwmodels.load(path)
    assert device.threads == 4
    assert device.vector_kinds == {"softmax": 10e9}
    assert device.efficiency == {"MatMulNBits": 0.6}
    assert device.sources["efficiency"].origin == "measured"
