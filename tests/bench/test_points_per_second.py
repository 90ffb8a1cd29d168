"""Design points per second: BERT-Base, 72 weight widths x pruning x clock x bandwidth, one core."""

from __future__ import annotations

import time
from functools import partial
from pathlib import Path

import numpy as np
import pytest

import dse
from dse.batches import evaluate_chunks, evaluate_points
from dse.model import StandardModel, standard_model
from workloads import compress
from workloads.onnx import load_onnx

MODEL = Path(__file__).parents[1] / "fixtures" / "bert_base_dynamo.onnx"
BATCHES = (512, 1024, 2048, 4096, 8192, 16384, 32768)
ROUNDS = 7
TARGET = 300_000.0


def bert_model() -> StandardModel:
    return standard_model(load_onnx(MODEL, batch=1, seq=128, missing_weights="allow"), "a100-sxm-80gb")


def bert_space(model: StandardModel) -> dse.Space:
    """Everything but the device: 72 widths of their own, pruned heads and neurons, clock and bandwidth."""
    blocks = [op.block for op in compress.quantizable(model.workloads[1])]
    assert len(blocks) == 72
    return dse.Space(
        weight_bits=dse.per_layer(blocks, [2, 3, 4, 5, 6, 8, 16]),
        head_density=dse.grid(0.25, 1.0, 4),
        neuron_density=dse.grid(0.25, 1.0, 4),
        clock_scale=dse.grid(0.5, 1.2, 8),
        bandwidth_scale=dse.grid(0.5, 1.5, 8),
    )


def points_per_second(space: dse.Space, model: StandardModel, batch: int) -> float:
    """Time whole batches, from genes to columns, in CPU time of this process; the least of several rounds."""
    genes = space.sample(np.random.default_rng(0), batch)
    cost = partial(evaluate_points, space, model, genes)
    cost()
    repeats = max(1, 8192 // batch)
    taken = []
    for _ in range(ROUNDS):
        start = time.process_time()
        for _ in range(repeats):
            cost()
        taken.append((time.process_time() - start) / repeats)
    return batch / min(taken)


@pytest.mark.bench
def test_one_core_costs_300_000_design_points_per_second() -> None:
    model = bert_model()
    space = bert_space(model)
    rates = {batch: points_per_second(space, model, batch) for batch in BATCHES}
    table = "\n".join(f"| {batch} | {rate:,.0f} |" for batch, rate in rates.items())
    print(f"\n| batch | points/s |\n|---|---|\n{table}")
    assert max(rates.values()) >= TARGET, table


@pytest.mark.bench
def test_decoding_a_million_points_of_72_genes_takes_less_than_a_microsecond_a_point() -> None:
    model = bert_model()
    space = bert_space(model)
    genes = space.sample(np.random.default_rng(0), 1_000_000)

    def trivial(points: dse.Points) -> dict[str, object]:
        return {"cost": points.clock_scale}

    start = time.process_time()
    evaluate_chunks(space, trivial, genes)
    assert (time.process_time() - start) / len(genes) < 1e-6
