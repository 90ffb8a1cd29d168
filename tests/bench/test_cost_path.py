"""Points per second of the cost path: BERT-Base, every weight its own widths, pruned heads, two device knobs."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import hwmodels
from tests.hwmodels.bert import bert


@pytest.mark.bench
@pytest.mark.parametrize("points", [1024, 4096, 16384])
def test_bert_base_points_per_second(benchmark: Any, points: int) -> None:
    rng = np.random.default_rng(0)
    bits = [rng.choice([4.0, 8.0, 16.0], points) for _ in range(72)]
    workload = bert(bits=bits, heads=rng.integers(3, 13, points).astype(float))
    device = hwmodels.load("h100-sxm").at(
        clock_scale=rng.uniform(0.5, 1.2, points), bandwidth_scale=rng.uniform(0.5, 1.5, points)
    )
    cost = benchmark(hwmodels.evaluate, workload, device)
    benchmark.extra_info["points_per_second"] = round(points / benchmark.stats.stats.min)
    assert np.shape(cost.latency_s) == (points,)
