"""The machine at hand as a device: one short measurement, shared by all tests."""

from __future__ import annotations

import tomllib
from pathlib import Path

import numpy as np
import onnx
import pytest

import hwmodels
from dse.measure import load_local, local_path, measure_local, random_feeds, ratio, time_models
from dse.measure.host import bandwidth, read_host
from dse.measure.local import needs_measuring
from workloads import compress
from workloads.errors import SpecError
from workloads.formats import format_code
from workloads.onnx.loader import load_onnx
from workloads.zoo import embedded_model


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("local") / "local.toml"
    told: list[str] = []
    measure_local(seconds=2, path=path, progress=told.append)
    assert told[-1] == f"wrote {path}"
    return path


def test_the_file_loads_as_any_other_device(measured: Path) -> None:
    device = hwmodels.load(measured)
    assert (device.name, device.kind, device.threads) == ("local", "cpu", 1)
    assert load_local(path=measured).name == "local"
    assert hwmodels.evaluate(load_onnx(embedded_model("vit-mnist"), batch=1), device).latency_s > 0


def test_every_group_has_a_source_and_what_was_not_measured_says_so(measured: Path) -> None:
    sources = hwmodels.load(measured).sources
    assert all(citation.source for citation in sources.values())
    for name in ("matrix", "vector", "vector_peaks", "memory.DRAM", "launch", "efficiency", "kernels"):
        assert sources[name].origin == "measured", name
    for name in ("power", "memory_energy", "arithmetic_energy"):
        assert sources[name].origin == "assumption", name
    assert "ONNX Runtime" in sources["matrix"].source
    assert "dse devices --local" in sources["matrix"].source


def test_power_is_a_cores_share_of_a_server_whose_static_power_knows_no_tdp(measured: Path) -> None:
    local, server = hwmodels.load(measured), hwmodels.load("epyc-9654")
    assert local.tdp_w == pytest.approx(server.tdp_w * local.threads / server.cores)
    # by hand: an idle Haswell's 41 W of 662 mm2 on 1283.1 mm2, and 51.4 W of DDR5, over 96 cores; the file has 3 digits
    assert local.static_w == pytest.approx(local.threads * (41 / 662 * 1283.1 + 51.36) / 96, rel=5e-3)
    assert local.static_memory_share == server.static_memory_share


def test_ceilings_are_of_sensible_order(measured: Path) -> None:
    device = hwmodels.load(measured)
    fp32, int8 = device.peak[format_code("fp32")], device.peak[format_code("int8")]
    assert int8 >= 0.8 * fp32
    assert 1e9 < fp32 < 1e14
    assert all(0 < peak < fp32 for kind, peak in device.vector_kinds.items() if kind != "convert")
    assert 0 < device.launch_s < 1e-4
    assert 0 < device.efficiency["MatMulNBits"] <= 1
    assert all(1e8 < level.bytes_per_s < 1e13 for level in device.memory)


def test_stored_weights_are_timed_as_onnx_runtime_runs_them(measured: Path) -> None:
    device = hwmodels.load(measured)
    assert ("dequantize" in device.fuses) == bool(device.unpacking)
    assert set(device.unpacking) <= {4, 8}
    assert all(0 < speed <= 1 for speed in device.unpacking.values())
    assert device.sources["unpacking"].origin == "measured"
    assert "128x768x768" in device.sources["unpacking"].note


@pytest.mark.parametrize("bits", [4, 8])
def test_predicted_gains_of_exported_designs_are_those_measured(measured: Path, bits: int) -> None:
    """Within 25 %, the error that dse/measure/local.py states: the fp32 model's own error cancels in a gain."""
    model = onnx.load(str(embedded_model("vit-mnist")))
    small = compress.apply(model, compress.Quantize(weight_bits=bits))
    feeds = random_feeds(model, np.random.default_rng(0), batch=64)
    timings = time_models({"full": model, "small": small}, feeds, repeats=9)
    device = hwmodels.load(measured)
    full_s, small_s = (hwmodels.evaluate(load_onnx(item, batch=64), device).latency_s for item in (model, small))
    assert float(full_s / small_s) == pytest.approx(ratio(timings["full"], timings["small"]).median, rel=0.25)


def test_a_file_from_before_stored_weights_were_timed_is_measured_again_on_request(
    measured: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = measured.read_text(encoding="utf-8")
    assert not needs_measuring(measured)
    old = tmp_path / "local.toml"
    old.write_text(text[: text.index("[unpacking]")], encoding="utf-8")
    assert needs_measuring(old)
    assert needs_measuring(tmp_path / "none.toml")
    assert not load_local(path=old).unpacking
    told: list[Path] = []
    monkeypatch.setattr("dse.measure.local.measure_local", lambda path: told.append(path))
    load_local(measure_if_missing=True, path=old)
    assert told == [old]


def test_the_file_names_no_path_of_this_machine(measured: Path) -> None:
    text = measured.read_text(encoding="utf-8")
    assert str(measured.parent) not in text
    assert str(Path.home()) not in text
    assert tomllib.loads(text)["memory"][-1]["name"] == "DRAM"


def test_a_machine_that_was_never_measured_is_an_error_that_says_what_to_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DSE_CACHE", str(tmp_path))
    assert local_path() == tmp_path / "local.toml"
    with pytest.raises(SpecError, match="dse devices --local"):
        load_local()


def test_the_cache_folder_follows_xdg_unless_dse_cache_is_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DSE_CACHE", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert local_path() == tmp_path / "fullstack-dse" / "local.toml"


def test_a_folder_that_does_not_exist_is_refused_before_anything_is_measured(tmp_path: Path) -> None:
    told: list[str] = []
    with pytest.raises(SpecError, match="create it first"):
        measure_local(seconds=60, path=tmp_path / "none" / "local.toml", progress=told.append)
    assert not told


def test_a_host_without_cpuinfo_still_has_a_name_cores_and_caches() -> None:
    host = read_host("")
    assert host.cpu
    assert host.cores >= 1
    assert host.clock_hz > 0
    assert host.isa == ()
    assert all(cache.capacity_bytes > 0 for cache in host.caches)
    assert host.memory_bytes > 0


def test_bandwidths_come_in_the_order_of_the_footprints() -> None:
    speeds = bandwidth([64e3, 4e6], seconds=0.05)
    assert len(speeds) == 2
    assert all(speed > 0 for speed in speeds)
