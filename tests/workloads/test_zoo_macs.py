"""Published encoders, encoder-decoder, vision and speech models: multiply-adds by hand, blocks found, files load."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from workloads import Workload, compress, load_onnx
from workloads.structure import find_attention, find_ffn
from workloads.zoo import architecture, published, write_onnx
from workloads.zoo.families import family_of
from workloads.zoo.phase import PhaseName

TOKENS, SOURCE, FRAMES = 100, 70, 3000
CLASSES = 1000


def attention(queries: int, keys: int, width: int, *, inner: int | None = None, new: int | None = None) -> int:
    """Queries and output for each query, keys and values for each new key, and two products of both."""
    inner = inner or width
    new = keys if new is None else new
    return 2 * queries * width * inner + 2 * new * width * inner + 2 * queries * keys * inner


def feed_forward(tokens: int, width: int, inner: int, products: int = 2) -> int:
    return products * tokens * width * inner


def layer(tokens: int, width: int, inner: int) -> int:
    return attention(tokens, tokens, width) + feed_forward(tokens, width, inner)


def decoder_layer(
    tokens: int, past: int, source: int, width: int, inner: int, *, heads: int | None = None, products: int = 2
) -> int:
    """Attend to the tokens so far and to the source (whose keys a step finds in its cache), and feed forward."""
    own = attention(tokens, past + tokens, width, inner=heads, new=tokens)
    cross = attention(tokens, source, width, inner=heads, new=0 if past else source)
    return own + cross + feed_forward(tokens, width, inner, products)


def conformer_block(steps: int, width: int, kernel: int, *, wide: int) -> int:
    """Attention with a product of positions and their scores; two feed-forward blocks; the convolution module."""
    distances = 2 * steps - 1
    attend = attention(steps, steps, width) + distances * width**2 + steps * distances * width
    convolve = steps * width * 2 * width + steps * wide * kernel + steps * wide * width
    return attend + 2 * feed_forward(steps, width, 4 * width) + convolve


def subsampling(frames: int, width: int, *, depthwise: bool) -> int:
    """Two 3x3 convolutions of stride two over frames x 80 bands, and a product."""
    first = (frames // 2) * 40 * width * 9
    second = (frames // 4) * 20 * (width * 9 + width**2 if depthwise else 9 * width**2)
    return first + second + (frames // 4) * 20 * width * width


def squeezeformer(blocks: int, width: int, reduce: int, recover: int) -> int:
    steps, half = FRAMES // 4, FRAMES // 8
    total = subsampling(FRAMES, width, depthwise=True) + steps * width * 129
    total += half * width * (5 + width) + steps * width**2  # U-Net: depthwise, pointwise; product after repeating
    for block in range(blocks):
        total += conformer_block(half if reduce <= block < recover else steps, width, 31, wide=2 * width)
    return total


def resnet_50(*, early: bool) -> int:
    """He et al. 2016, table 1: side of the output, width inside and blocks of each stage."""
    total = 112**2 * 64 * 3 * 49
    before, side = 64, 56
    for side_out, inner, blocks in ((56, 64, 3), (28, 128, 4), (14, 256, 6), (7, 512, 3)):
        for block in range(blocks):
            first_side = side_out if early else side
            total += first_side**2 * before * inner + side_out**2 * (9 * inner**2 + inner * 4 * inner)
            total += side_out**2 * before * 4 * inner if block == 0 else 0  # shortcut
            before, side = 4 * inner, side_out
    return total + 2048 * CLASSES


def mobilenet_v2() -> int:
    """Sandler et al. 2018, table 2: expansion t, channels c, repeats n, stride s."""
    total, before, side = 112**2 * 32 * 27, 32, 112
    for t, c, n, s in (
        (1, 16, 1, 1),
        (6, 24, 2, 2),
        (6, 32, 3, 2),
        (6, 64, 4, 2),
        (6, 96, 3, 1),
        (6, 160, 3, 2),
        (6, 320, 1, 1),
    ):
        for repeat in range(n):
            inner, stride = t * before, s if repeat == 0 else 1
            total += side**2 * before * inner if t > 1 else 0
            side //= stride
            total += side**2 * (9 * inner + inner * c)
            before = c
    return total + side**2 * 320 * 1280 + 1280 * CLASSES


@dataclass(frozen=True)
class Case:
    """One phase of a published model: what is expected of it."""

    name: str
    macs: int
    attentions: int
    feed_forwards: int
    phase: PhaseName = "encode"
    sizes: dict[str, int] = field(default_factory=dict)

    def workload(self) -> Workload:
        return _built(self.name, self.phase, tuple(self.sizes.items()))


@cache
def _built(name: str, phase: PhaseName, sizes: tuple[tuple[str, int], ...]) -> Workload:
    """Build a workload once for all tests; nothing changes it."""
    given: dict[str, Any] = dict(sizes)
    return architecture(name, phase=phase, **given)


TEXT = {"seq": TOKENS}
BOTH = {"seq": TOKENS, "source": SOURCE}
STEP = {"context": TOKENS, "source": SOURCE}
HEARD = {"seq": FRAMES}
STEPS = FRAMES // 4
CASES = [
    Case("bert-base", 12 * layer(TOKENS, 768, 3072) + 768**2, 12, 12, sizes=TEXT),
    Case("bert-large", 24 * layer(TOKENS, 1024, 4096) + 1024**2, 24, 24, sizes=TEXT),
    Case("roberta-base", 12 * layer(TOKENS, 768, 3072) + 768**2, 12, 12, sizes=TEXT),
    Case("distilbert", 6 * layer(TOKENS, 768, 3072), 6, 6, sizes=TEXT),
    Case("albert-base", 12 * layer(TOKENS, 768, 3072) + TOKENS * 128 * 768 + 768**2, 12, 12, sizes=TEXT),
    Case("electra-base", 12 * layer(TOKENS, 768, 3072), 12, 12, sizes=TEXT),
    Case("electra-small", 12 * layer(TOKENS, 256, 1024) + TOKENS * 128 * 256, 12, 12, sizes=TEXT),
    Case("t5-base", 12 * layer(TOKENS, 768, 3072), 12, 12, sizes=TEXT),
    Case("t5-base", 12 * decoder_layer(TOKENS, 0, SOURCE, 768, 3072) + 768 * 32128, 24, 12, "prefill", BOTH),
    Case("t5-base", 12 * decoder_layer(1, TOKENS, SOURCE, 768, 3072) + 768 * 32128, 24, 12, "decode", STEP),
    Case(
        "t5-v1.1-small",
        8 * (attention(TOKENS, TOKENS, 512, inner=384) + feed_forward(TOKENS, 512, 1024, products=3)),
        8,
        8,
        sizes=TEXT,
    ),
    Case(
        "t5-v1.1-small",
        8 * decoder_layer(1, TOKENS, SOURCE, 512, 1024, heads=384, products=3) + 512 * 32128,
        16,
        8,
        "decode",
        STEP,
    ),
    Case("bart-base", 6 * layer(TOKENS, 768, 3072), 6, 6, sizes=TEXT),
    Case("bart-base", 6 * decoder_layer(TOKENS, 0, SOURCE, 768, 3072) + 768 * 50265, 12, 6, "prefill", BOTH),
    Case("bart-base", 6 * decoder_layer(1, TOKENS, SOURCE, 768, 3072) + 768 * 50265, 12, 6, "decode", STEP),
    Case("whisper-base", 3000 * 80 * 512 * 3 + 1500 * 512 * 512 * 3 + 6 * layer(1500, 512, 2048), 6, 6),
    Case("whisper-base", 6 * decoder_layer(TOKENS, 0, 1500, 512, 2048) + 512 * 51865, 12, 6, "prefill", TEXT),
    Case(
        "whisper-base", 6 * decoder_layer(1, TOKENS, 1500, 512, 2048) + 512 * 51865, 12, 6, "decode",
        {"context": TOKENS},
    ),
    Case("vit-b16", 196 * 768 * 768 + 12 * layer(197, 768, 3072) + 768 * CLASSES, 12, 12),
    Case("vit-b32", 49 * 3072 * 768 + 12 * layer(50, 768, 3072) + 768 * CLASSES, 12, 12),
    Case("deit-base-distilled", 196 * 768 * 768 + 12 * layer(198, 768, 3072) + 2 * 768 * CLASSES, 12, 12),
    Case("resnet-50", resnet_50(early=False), 0, 0),
    Case("resnet-50-v1", resnet_50(early=True), 0, 0),
    Case("mobilenet-v2", mobilenet_v2(), 0, 0),
    Case(
        "conformer-ctc-m",
        subsampling(FRAMES, 256, depthwise=False) + 16 * conformer_block(STEPS, 256, 31, wide=256) + STEPS * 256 * 129,
        16,
        32,
        sizes=HEARD,
    ),
    Case(
        "conformer-m",
        subsampling(FRAMES, 256, depthwise=False) + 16 * conformer_block(STEPS, 256, 32, wide=256),
        16,
        32,
        sizes=HEARD,
    ),
    Case("squeezeformer-xs", squeezeformer(16, 144, 7, 15), 16, 32, sizes=HEARD),
    Case("squeezeformer-m", squeezeformer(20, 324, 9, 19), 20, 40, sizes=HEARD),
]  # fmt: skip
each_case = pytest.mark.parametrize("case", CASES, ids=[f"{case.name}-{case.phase}" for case in CASES])


@each_case
def test_multiply_adds_are_those_of_the_hand_formula(case: Case) -> None:
    assert case.workload().macs() == case.macs


@each_case
def test_structure_finds_every_attention_and_feed_forward_block(case: Case) -> None:
    work = case.workload()
    assert len(find_attention(work)) == case.attentions
    assert len(find_ffn(work)) == case.feed_forwards
    last = f"layer.{case.attentions - 1}.attn"
    assert not case.attentions or {f"{last}.scores", f"{last}.context"} <= {op.block for op in work}


@each_case
def test_loading_the_written_file_gives_the_same_workload(case: Case, tmp_path: Path) -> None:
    work = case.workload()
    path = write_onnx(case.name, tmp_path / "model.onnx", phase=case.phase)
    sizes: dict[str, Any] = dict(work.bindings)
    found = load_onnx(path, missing_weights="allow", **sizes)
    assert found.digest() == work.digest()
    assert found.macs() == case.macs


def test_every_model_type_of_these_families_has_a_case() -> None:
    kinds = {str(published(case.name).config["model_type"]) for case in CASES}
    modules = {"bart", "bert", "conformer", "mobilenet", "resnet", "squeezeformer", "t5", "vit"}
    found = {family_of({"model_type": kind}).read.__module__.rpartition(".")[2] for kind in kinds}
    assert found == modules


def test_one_step_of_a_transducer_is_an_lstm_cell_and_a_joint_network() -> None:
    embedded, state, joint, width, vocabulary = 128, 640, 640, 256, 1024
    macs = 4 * state * (embedded + state) + joint * (width + state) + joint * vocabulary
    assert architecture("conformer-m", phase="decode").macs() == macs


# Kim et al. 2022, as the Zipformer paper quotes it: GFLOP of the encoder for a clip of 30 s.
GFLOP = {"xs": 18.2, "s": 33.7, "sm": 47.6, "m": 88.4, "ml": 183.3, "l": 333.7}


@pytest.mark.parametrize("size", GFLOP)
def test_squeezeformers_published_gflop_count_two_per_multiply_add_and_one_per_other_operation(size: str) -> None:
    work = architecture(f"squeezeformer-{size}", seq=FRAMES)
    assert 1e-9 * float(work.flops()) == pytest.approx(GFLOP[size], rel=0.01)
    assert 2e-9 * float(work.macs()) == pytest.approx(GFLOP[size], rel=0.02)


def test_between_reduce_and_recover_attention_costs_a_quarter() -> None:
    config = published("squeezeformer-xs").config
    reduce, recover = config["time_reduce_layer"], config["time_recover_layer"]
    work = architecture("squeezeformer-xs", seq=FRAMES)
    found = find_attention(work)
    macs = [sum(float(work[name].points()) for name in (block.scores, block.context)) for block in found]
    inside, outside = macs[reduce:recover], macs[:reduce] + macs[recover:]
    assert set(inside) == {2 * (STEPS // 2) ** 2 * 144}
    assert set(outside) == {4 * inside[0]}


def products_of(work: Workload, layer: int) -> list[str]:
    """List the parts of one layer that multiply, in order."""
    names = (op.block for op in work if op.kind in ("matmul", "conv"))
    return [name.removeprefix(f"layer.{layer}.") for name in names if name.startswith(f"layer.{layer}.")]


ATTENTION = ["attn.q", "attn.k", "attn.v", "attn.inner.0", "attn.inner.1", "attn.scores", "attn.context", "attn.out"]
CONVOLUTION = ["conv.0", "conv.1", "conv.2"]
FIRST, SECOND = ["ffn.up", "ffn.down"], ["ffn2.up", "ffn2.down"]


@pytest.mark.parametrize("layer", [0, 7, 15])
def test_every_product_of_a_conformer_block_is_named_within_its_layer(layer: int) -> None:
    work = architecture("conformer-ctc-s", seq=400)
    assert products_of(work, layer) == [*FIRST, *ATTENTION, *CONVOLUTION, *SECOND]


@pytest.mark.parametrize("layer", [0, 5, 14])
def test_every_product_of_a_squeezeformer_block_is_named_within_its_layer(layer: int) -> None:
    work = architecture("squeezeformer-xs", seq=400)
    assert products_of(work, layer) == [*ATTENTION, *FIRST, *CONVOLUTION, *SECOND]


@pytest.mark.parametrize("name", ["conformer-ctc-s", "squeezeformer-xs", "t5-small", "whisper-tiny", "vit-b16"])
def test_what_can_be_quantized_has_a_block_of_its_own(name: str) -> None:
    targets = compress.quantizable(architecture(name, seq=400) if "former" in name else architecture(name))
    assert len({op.block for op in targets}) == len(targets)
