"""The pretrained models of other people load, with the counts of their formulas; skipped where they cannot be had."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from workloads import WorkloadError, load_onnx, weight_table
from workloads.zoo.fetch import cache_folder
from workloads.zoo.pretrained import PRETRAINED
from workloads.zoo.pretrained_exports import pretrained_onnx

pytestmark = pytest.mark.slow


def model(name: str) -> Path:
    """Give the file of a model, or skip with the reason."""
    try:
        return pretrained_onnx(name)
    except WorkloadError as error:
        pytest.skip(str(error))


def encoder(layers: int, s: int, h: int) -> int:
    return layers * (4 * s * h * h + 2 * s * s * h + 8 * s * h * h)


def smollm2_macs(s: int, t: int) -> int:
    """30 layers of width 576, 9 heads and 3 key heads of 64, gated FFN of 1536; 49,152 words."""
    h, up, words = 576, 1536, 49152
    layer = 2 * s * h * 9 * 64 + 2 * s * h * 3 * 64 + 2 * 9 * s * t * 64 + 3 * s * h * up
    return 30 * layer + s * h * words


# magika: 2,048 one-hot bytes of 257 by 64; a convolution of 5 over 512 rows of 256, to 512 filters; 214 types.
CASES: list[tuple[str, dict[str, Any], int]] = [
    ("minilm-l3", {"batch": 1, "seq": 128}, encoder(3, 128, 384)),
    ("minilm-l6-int8", {"batch": 1, "seq": 128}, encoder(6, 128, 384)),
    ("magika", {"batch": 1}, 2048 * 257 * 64 + 508 * 512 * 256 * 5 + 512 * 214),
    ("minilm-l6", {"batch": 1, "seq": 128}, encoder(6, 128, 384)),
    (
        "whisper-tiny-en",
        {"batch": 1},
        3000 * 384 * 80 * 3 + 1500 * 384 * 384 * 3 + encoder(4, 1500, 384),
    ),
    ("smollm2-135m", {"batch": 2, "total": 100}, 2 * smollm2_macs(1, 100)),
]
EXPORTED = ("minilm-l6", "whisper-tiny-en")
"""These are exported first, by torch; in the default run only where that was done already (a minute each)."""


def test_every_pinned_model_has_a_case() -> None:
    assert {name for name, _, _ in CASES} == set(PRETRAINED)


@pytest.mark.parametrize(("name", "sizes", "macs"), CASES, ids=[name for name, _, _ in CASES])
def test_pretrained_models_have_the_macs_of_their_formula(name: str, sizes: dict[str, Any], macs: int) -> None:
    if name in EXPORTED and not any((cache_folder() / "exported").glob(f"{name}-*.onnx")):
        pytest.skip(f"{name} was not exported yet: workloads.zoo.pretrained_exports.pretrained_onnx({name!r})")
    assert load_onnx(model(name), **sizes).macs() == macs


def test_someone_elses_int8_keeps_its_width() -> None:
    path = model("minilm-l6-int8")
    work = load_onnx(path, batch=1, seq=128, weights="measure")
    widths = {t.bits for op in work if op.kind == "matmul" for t in op.inputs if t.role == "weight"}
    assert widths == {8}
    table = weight_table(path)
    assert set(table.loc[table["format"] == "int8", "true_bits"]) == {8}
