"""Time and memory of loading graphs: CPU time of one thread, structure included, the least of several rounds."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import onnx
import pytest

from tests.bench.big_graphs import decoder, deep_graph
from workloads import Workload, load_onnx

ROOT = Path(__file__).parents[2]
ZOO = Path(onnx.__file__).parent / "backend" / "test" / "data" / "light"
FIXTURES = ROOT / "tests" / "fixtures"
ROUNDS = 10

pytestmark = pytest.mark.bench


def seconds(load: Callable[[], Workload]) -> float:
    """Give the least CPU time of several rounds [s]; the first one, which imports, does not count."""
    load()
    times = []
    for _ in range(ROUNDS):
        start = time.process_time()
        load()
        times.append(time.process_time() - start)
    return min(times)


def yardstick() -> float:
    """Give the CPU time of a million steps of plain Python [s]: to read the others by, on a machine that is shared."""
    times = []
    for _ in range(ROUNDS):
        start, total = time.process_time(), 0
        for step in range(1_000_000):
            total += step * step
        times.append(time.process_time() - start)
    return min(times)


def test_the_machine_is_what_the_limits_were_written_on() -> None:
    """A modern core takes 0.05 s; the limits below hold on one of half that speed."""
    taken = yardstick()
    print(f"a million steps of Python: {taken:.4f} s")
    assert taken < 0.2


@pytest.mark.parametrize(
    ("name", "limit_s"),
    [("bvlc_alexnet", 0.05), ("squeezenet", 0.05), ("inception_v1", 0.05), ("resnet50", 0.05), ("shufflenet", 0.05),
     ("vgg19", 0.05), ("zfnet512", 0.05), ("inception_v2", 0.09), ("densenet121", 0.15)],
)  # fmt: skip
def test_networks_of_the_onnx_zoo(name: str, limit_s: float, record_property: Any) -> None:
    """The last one has 1,746 nodes."""
    taken = seconds(lambda: load_onnx(ZOO / f"light_{name}.onnx"))
    record_property("seconds", taken)
    print(f"{name}: {taken:.4f} s")
    assert taken < limit_s


def test_a_graph_of_1716_nodes(tmp_path: Path) -> None:
    path = deep_graph(tmp_path)
    taken = seconds(lambda: load_onnx(path, batch=1, seq=128, missing_weights="allow"))
    print(f"a BERT eleven times in a row: {taken:.4f} s")
    assert taken < 0.2


def test_a_transformer_of_an_exporter() -> None:
    taken = seconds(lambda: load_onnx(FIXTURES / "bert_base_dynamo.onnx", batch=1, seq=128, missing_weights="allow"))
    print(f"bert_base_dynamo: {taken:.4f} s")
    assert taken < 0.1


def test_a_model_of_two_gigabytes_of_external_data_is_not_read(tmp_path: Path) -> None:
    """Four layers of Llama 3 8B: 2.4 GB of weights, in a file with a hole."""
    model = decoder(layers=4, width=4096, heads=32, groups=8, inner=14336, vocabulary=40000)
    path = tmp_path / "model.onnx"
    path.write_bytes(model.SerializeToString())
    with (tmp_path / "model.onnx.data").open("wb") as file:
        file.truncate(sum(int(entry.value) for item in model.graph.initializer for entry in item.external_data
                          if entry.key == "length"))  # fmt: skip
    assert (tmp_path / "model.onnx.data").stat().st_size > 2.3e9
    taken = seconds(lambda: load_onnx(path, batch=1, seq=128))
    print(f"2.4 GB of external data, {len(model.graph.node)} nodes: {taken:.4f} s")
    assert taken < 0.1


def measured_apart(path: Path) -> Any:
    """Load a model once in a process of its own; give its CPU time, the first time, and the memory it peaked at."""
    code = f"""
import json, resource, time
import onnx, workloads
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
start = time.process_time()
work = workloads.load_onnx({str(path)!r}, missing_weights="allow", batch=1, seq=2048)
taken = time.process_time() - start
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print(json.dumps([taken, peak * 1024, before * 1024, float(work.macs()), float(work.weight_bytes()), len(work)]))
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


def test_a_decoder_of_seventy_billion_parameters(tmp_path: Path) -> None:
    """80 layers written out by an exporter (5,944 nodes), without the weights: two seconds and half a gigabyte."""
    model = decoder()
    path = tmp_path / "model.onnx"
    path.write_bytes(model.SerializeToString())
    assert len(model.graph.node) > 2500
    runs = [measured_apart(path) for _ in range(3)]
    taken, peak, before, macs, weights, operators = min(runs)
    print(f"{len(model.graph.node)} nodes, {operators} operators: {taken:.2f} s, peak {peak / 1e6:.0f} MB, "
          f"of that {before / 1e6:.0f} MB of imports")  # fmt: skip
    assert weights == pytest.approx(70.55e9 * 2, rel=0.01)  # Llama 3 70B in 16 bits
    assert macs > 1.4e14
    assert taken < 2
    assert peak < 500e6
