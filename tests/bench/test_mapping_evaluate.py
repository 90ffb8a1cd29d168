"""Mappings per second of `hwmodels.mapping.evaluate`: one by one, and many of one structure at once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hwmodels.mapping import MappingBatch, evaluate
from hwmodels.mapping.cases import read_architectures, read_cases

GOLDEN = Path(__file__).resolve().parent.parent / "golden" / "reference" / "mapping"


@pytest.mark.bench
@pytest.mark.parametrize("rows", [1, 20_000])
@pytest.mark.parametrize("name", ["opt_bert_qkvo", "gw10", "ey01"])
def test_mappings_per_second(benchmark: Any, name: str, rows: int) -> None:
    """A GEMM, a 3x3 convolution on gemmini, and one on eyeriss with halos between PEs."""
    cases = read_cases(GOLDEN / "cases.yaml", read_architectures(GOLDEN / "architectures.yaml"))
    (case,) = (case for case in cases if case.name == name)
    one = case.mapping.batch()
    batch = MappingBatch(one.structure, np.repeat(one.steps, rows, axis=0))
    found = benchmark(evaluate, case.operator, case.accelerator, batch)
    benchmark.extra_info["mappings_per_second"] = round(rows / benchmark.stats.stats.min)
    assert len(found) == rows
