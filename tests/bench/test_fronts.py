"""How many machines a second fronts answer for: BERT-Base on arrays with other buffers and bandwidths."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import pytest

import hwmodels
from hwmodels.mapping.fronts import network_fronts
from hwmodels.spatial import Accelerator
from workloads import zoo

POINTS = 10_000
ASKED_PER_S = 200


@pytest.mark.bench
def test_ten_thousand_machines_of_one_array(record_property: Any) -> None:
    rng = np.random.default_rng(0)
    names = ("capacity_scale.Scratchpad", "capacity_scale.Accumulator", "bandwidth_scale.DRAM", "energy_scale.DRAM")
    knobs = {name: 2.0 ** rng.uniform(-2, 2, POINTS) for name in names}
    fronts = network_fronts(zoo.architecture("bert-base", seq=128), hwmodels.load("gemmini", kind=Accelerator))
    rates = []
    for _ in range(2):
        start = time.process_time()
        columns = fronts.sweep(knobs, dram="LPDDR4")
        rates.append(POINTS / (time.process_time() - start))
    assert np.isfinite(columns["energy_j"]).all()
    record_property("points_per_s_solving", rates[0])
    record_property("points_per_s", rates[1])
    assert rates[1] > ASKED_PER_S
