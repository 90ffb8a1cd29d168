"""Products that unpack a stored weight: how a device's measured speed of them enters the cost."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import hwmodels
from hwmodels.specs import spec_text
from workloads import compress
from workloads.errors import SpecError
from workloads.knobs import PerLayer
from workloads.onnx.loader import load_onnx
from workloads.workload import Workload
from workloads.zoo import embedded_model

PLAIN = replace(hwmodels.load("epyc-9654"), fuses=("dequantize",), unpacking={})
SLOW = replace(PLAIN, unpacking={4: 0.5, 8: 0.25})
T4 = spec_text("t4")


@pytest.fixture(scope="module")
def vit() -> Workload:
    return load_onnx(embedded_model("vit-mnist"), batch=256)


def compute_s(work: Workload, device: hwmodels.RooflineDevice, *techniques: compress.Technique) -> float:
    steps = device.plan(compress.cost(work, *techniques) if techniques else work)
    return sum(float(demand.compute_s) for step in steps for demand in device.demands(step))


@pytest.mark.parametrize(("bits", "speed"), [(2, 0.5), (4, 0.5), (5, 0.25), (8, 0.25)])
def test_a_product_with_a_stored_weight_runs_at_the_speed_of_its_width_unpacking_included(
    vit: Workload, bits: int, speed: float
) -> None:
    products = list(compress.quantizable(vit))
    own = sum(float(op.flops()) for op in products) * float(SLOW.matrix_s_per_flop[products[0].format, 0])
    full = compute_s(vit, PLAIN)
    assert compute_s(vit, SLOW) == full
    slow = compute_s(vit, SLOW, compress.Quantize(weight_bits=bits))
    assert slow == pytest.approx(full + own * (1 / speed - 1), rel=1e-12)


def test_kernels_that_quantize_activations_inside_are_the_same_kernel(vit: Workload) -> None:
    inside = compress.Quantize(weight_bits=8, granularity="group", activation_bits=8)
    assert compute_s(vit, SLOW, inside) == pytest.approx(compute_s(vit, SLOW, compress.Quantize(weight_bits=8)))


def test_other_kernels_keep_their_speed(vit: Workload) -> None:
    for technique in (
        compress.Quantize(weight_bits=4, granularity="group"),  # MatMulNBits of its own: efficiency.factor
        compress.Quantize(weight_bits=8, activation_bits=8),  # MatMulInteger
    ):
        assert compute_s(vit, SLOW, technique) == compute_s(vit, PLAIN, technique)


def test_a_batch_of_widths_equals_its_rows(vit: Workload) -> None:
    blocks = tuple(dict.fromkeys(op.block for op in compress.quantizable(vit)))
    widths = np.random.default_rng(0).choice([2, 3, 4, 5, 8, 16, 32], (6, len(blocks)))
    layers = PerLayer(blocks, widths)
    for extra in ({}, {"activation_bits": 8}, {"activation_bits": 8, "granularity": "group"}):
        whole = hwmodels.evaluate(compress.cost(vit, compress.Quantize(weight_bits=layers, **extra)), SLOW).latency_s
        rows = [
            float(
                hwmodels.evaluate(
                    compress.cost(
                        vit, compress.Quantize(weight_bits=dict(zip(blocks, row.tolist(), strict=True)), **extra)
                    ),
                    SLOW,
                ).latency_s
            )
            for row in widths
        ]
        np.testing.assert_allclose(whole, rows, rtol=1e-12)


TABLE = '\n[unpacking]\nsource = "measured here"\norigin = "measured"\n[unpacking.efficiency]\n'


def test_the_table_reaches_the_device_with_its_source(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(T4 + TABLE + "4 = 0.7\n8 = 0.4\n")
    device = hwmodels.load(path)
    assert device.unpacking == {4: 0.7, 8: 0.4}
    assert device.sources["unpacking"].source == "measured here"
    spec = hwmodels.read_spec(path.read_text(), "mine")
    assert hwmodels.read_spec(hwmodels.write_spec(spec, tmp_path / "copy.toml").read_text(), "copy") == spec


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (T4 + TABLE + "8 = 1.5\n", r"unpacking.efficiency.8: found 1.5"),
        (T4 + TABLE + "int8 = 0.5\n", "the key is a width in bits"),
        (T4 + TABLE + "16 = 0.5\n", "from 1 to 8"),
        (T4.replace('"dequantize", ', "") + TABLE + "8 = 0.5\n", "no kernel unpacks"),
    ],
)
def test_a_table_that_cannot_hold_is_refused(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(text)
    with pytest.raises(SpecError, match=message):
        hwmodels.load(path)
