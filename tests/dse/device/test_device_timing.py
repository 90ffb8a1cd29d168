"""How a GPU is timed, on a stand-in for torch's CUDA functions: what is recorded, replayed, rotated and read."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="kernels need torch")

from dse.measure.device import gpu, layers, measuring, suites  # noqa: E402
from dse.measure.device.kernel import launch_on  # noqa: E402
from dse.measure.device.kernels.library import LIBRARY  # noqa: E402
from dse.measure.device.nvml import open_nvml  # noqa: E402
from dse.measure.device.rows import COLUMNS  # noqa: E402
from dse.measure.device.signatures import KernelError, Signature  # noqa: E402
from dse.measure.device.stopwatch import KINDS, replayed, time_eager, time_loop  # noqa: E402
from dse.measure.device.work import flops  # noqa: E402

H100 = SimpleNamespace(
    name="NVIDIA H100 80GB HBM3",
    multi_processor_count=132,
    major=9,
    minor=0,
    total_memory=80e9,
    L2_cache_size=50 << 20,
    shared_memory_per_block_optin=232448,
    pci_domain_id=0,
    pci_bus_id=0x3B,
    pci_device_id=0,
)


class FakeCuda:
    """Counts what is executed; a replay takes half a millisecond."""

    def __init__(self, captures: bool) -> None:
        self.captures = captures
        self.capturing = False
        self.waited = 0
        self.replays = 0

    def install(self, monkeypatch: pytest.MonkeyPatch) -> None:
        outer = self

        class Event:
            def __init__(self, enable_timing: bool) -> None:
                assert enable_timing

            def record(self) -> None:
                self.at = time.perf_counter()

            def synchronize(self) -> None:
                pass

            def elapsed_time(self, later: Any) -> float:
                return float((later.at - self.at) * 1e3)

        class CUDAGraph:
            def replay(self) -> None:
                outer.replays += 1
                time.sleep(0.0005)

        @contextlib.contextmanager
        def graph(captured: Any) -> Iterator[None]:
            if not outer.captures:
                raise RuntimeError("operation not permitted when stream is capturing")
            outer.capturing = True
            yield
            outer.capturing = False

        def sleep(cycles: int) -> None:
            outer.waited += 1

        fakes: dict[str, Any] = {"Event": Event, "CUDAGraph": CUDAGraph, "graph": graph, "_sleep": sleep}
        fakes |= {"synchronize": lambda: None, "mem_get_info": lambda: (40e9, 80e9)}
        fakes["get_device_properties"] = lambda index: H100
        for name, value in fakes.items():
            monkeypatch.setattr(torch.cuda, name, value)


@pytest.fixture
def cuda(monkeypatch: pytest.MonkeyPatch) -> FakeCuda:
    fake = FakeCuda(captures=True)
    fake.install(monkeypatch)
    return fake


def test_a_graph_holds_every_set_of_operands_equally_often(cuda: FakeCuda) -> None:
    seen: list[int] = []
    calls = [lambda one=one: seen.append(one) if cuda.capturing else None for one in range(7)]
    run, count, method = replayed(calls, estimate_us=10.0)
    assert method == "graph"
    assert count == len(seen)
    assert seen == list(range(7)) * (count // 7)
    assert count * 10 >= 1000  # a sample lasts a millisecond at least
    found = time_loop("kernel_rotating", run, count, method)
    assert found.median == pytest.approx(500 / count, rel=0.5)
    assert found.samples >= 15
    assert not cuda.waited


def test_what_cannot_be_captured_is_queued_behind_a_waiting_kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    fake = FakeCuda(captures=False)
    fake.install(monkeypatch)
    done: list[int] = []
    run, count, method = replayed([lambda: done.append(1)], estimate_us=50.0)
    before = len(done)
    found = time_loop("cuda_graph_or_event_loop", run, count, method)
    assert (method, found.method) == ("event loop", "event loop")
    assert fake.waited == found.samples
    assert len(done) - before == count * (found.samples + 3)


def test_eager_times_hold_one_call_each(cuda: FakeCuda) -> None:
    found = time_eager(lambda: time.sleep(0.002), samples=9)
    assert (found.samples, found.calls) == (9, 1)
    assert found.best >= 2000


def test_a_kernel_gets_a_row_for_each_kind_of_timing_with_its_energy(cuda: FakeCuda) -> None:
    from tests.dse.device.test_device_runner import FakeNvml

    kernel = next(item for item in LIBRARY if item.name == "torch_add")
    settings = measuring.Settings(
        torch_device="cpu", launch=launch_on(gpu.here("cpu")), nvml=open_nvml("", FakeNvml()), energy_seconds=0.1
    )
    signature = Signature(op="add", rows=512, cols=512, a_dtype="fp32")
    operands = measuring.operands_of(kernel, signature, settings)
    rows = measuring._on_gpu(kernel, operands, settings, {"op": "add"})
    assert [row["timing"] for row in rows] == list(KINDS)
    rotating, hot, eager = rows
    assert rotating["copies"] * 2 * 512 * 512 * 4 == rotating["rotating_bytes"]
    assert rotating["rotating_bytes"] >= 3 * (50 << 20)
    assert rotating["calls"] % rotating["copies"] == 0
    assert rotating["power_w"] == pytest.approx(200, rel=0.05)
    assert rotating["energy_j"] * rotating["calls"] == pytest.approx(200 * 0.0006, rel=0.5)
    assert "energy_j" not in hot
    assert "energy_j" not in eager
    assert all(set(row) <= {*COLUMNS} for row in rows)
    assert all(row["lower_us"] <= row["latency_us"] <= row["upper_us"] for row in rows)


def test_all_layers_of_a_model_run_with_weights_of_their_own(cuda: FakeCuda, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(suites.MODELS, "tiny", suites.Model(3, 64, 4, 4, 16, 128, False, False))
    config = ("tiny", 2, 8, 8, "fp16")
    settings = measuring.Settings(torch_device="cpu", launch=launch_on(gpu.here("cpu")))
    row = layers.measure_layers(config, LIBRARY, settings, free_bytes=1e9)
    one = suites.model_signatures("tiny", 2, 8, 8, "fp16")
    assert row["copies"] == 3
    assert row["flops"] == sum(flops(item) * item.count for item in one)
    assert row["latency_us"] == pytest.approx(600, rel=0.5)  # one replay
    assert {"torch_matmul", "torch_sdpa", "torch_gelu"} <= set(row["kernel"].split())
    assert set(row) <= set(COLUMNS)
    half = layers.measure_layers(config, LIBRARY, settings, free_bytes=row["rotating_bytes"] / 3)
    assert half["copies"] == 1
    assert half["latency_us"] == pytest.approx(3 * 600, rel=0.5)  # one layer, scaled up
    with pytest.raises(KernelError, match="no kernel for gemm fp16 int4 runs here"):
        layers.measure_layers((*config, "int4"), LIBRARY, settings, free_bytes=1e9)


def test_a_gpu_is_described_by_what_torch_and_nvml_say(cuda: FakeCuda) -> None:
    from tests.dse.device.test_device_runner import FakeNvml

    device = gpu.here("cuda")
    assert (device.sms, device.capability, device.shared_bytes) == (132, 90, 232448)
    assert gpu.bus_of() == "00000000:3b:00.0"
    facts = gpu.facts_of("cuda", open_nvml("", FakeNvml()))
    assert (facts["device"], facts["driver"], facts["l2_mb"]) == ("h100_sxm_80gb", "580.1", 52.4)
    assert facts["max_sm_mhz"] is None  # this library does not know
