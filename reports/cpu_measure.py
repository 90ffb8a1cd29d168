"""Measures the models of `reports/cpu_kernels.md` on this CPU; writes `reports/measurements/cpu_NAME.csv`.

    python -m reports.cpu_measure NAME [--passes 2] [--seconds 5] [--backend torch-cpu] [--only MODEL]

NAME is what predictions know the machine by. All models are measured in turn, several passes over; of every model the
pass in which a probe was fastest is kept. MiniLM and the embedded ViT are
what is predicted; BERTs of other widths, a decoder and a small ViT are what the calibration is fitted on.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pandas as pd

from dse.measure.feeds import random_feeds
from dse.measure.model import Job, measure_model
from dse.measure.rows import write_rows
from workloads import compress
from workloads.onnx.loader import load_onnx
from workloads.zoo import embedded_model, write_onnx
from workloads.zoo.pretrained_exports import pretrained_onnx

HERE = Path(__file__).resolve().parent / "measurements"

HELD_OUT = ("minilm-l6", "vit-mnist")
"""Models that no calibration of the report sees."""

VARIANTS: dict[str, Callable[[onnx.ModelProto], onnx.ModelProto]] = {
    "fp32": lambda model: model,
    "int8": lambda model: compress.apply(model, compress.Quantize(weight_bits=8, activation_bits=8)),
    "w8": lambda model: compress.apply(model, compress.Quantize(weight_bits=8)),
    "w4": lambda model: compress.apply(model, compress.Quantize(weight_bits=4, granularity="group", group_size=32)),
    "qdq": lambda model: static_int8(model),
}
"""fp32; dynamic W8A8; weight-only int8 by channel and int4 in groups of 32; static int8 (Q/DQ)."""


VARIANTS_OF = {"onnxruntime": tuple(VARIANTS), "torch-cpu": ("fp32", "int8")}
"""What each library has kernels for."""


def file_of(name: str, backend: str) -> Path:
    """Give the table of a machine and a backend."""
    return HERE / f"cpu_{name}_{backend.partition('-')[0]}.csv"


@dataclass(frozen=True, slots=True)
class Case:
    """A model, the sizes that it runs at, which of `VARIANTS`, and which libraries time it."""

    name: str
    model: Callable[[], onnx.ModelProto]
    bind: Mapping[str, int]
    variants: tuple[str, ...] = tuple(VARIANTS)
    backends: tuple[str, ...] = tuple(VARIANTS_OF)


def bert(width: int, heads: int, layers: int = 2) -> onnx.ModelProto:
    """Give a BERT encoder of a width with random values."""
    config = {
        "model_type": "bert", "hidden_size": width, "num_hidden_layers": layers, "num_attention_heads": heads,
        "intermediate_size": 4 * width, "vocab_size": 2000, "max_position_embeddings": 512, "type_vocab_size": 2,
        "hidden_act": "gelu", "layer_norm_eps": 1e-12,
    }  # fmt: skip
    return _written(config)


def decoder(width: int, heads: int, layers: int = 2) -> onnx.ModelProto:
    """Give a decoding step of a small Llama with random values."""
    config = {
        "model_type": "llama", "hidden_size": width, "num_hidden_layers": layers, "num_attention_heads": heads,
        "num_key_value_heads": heads, "intermediate_size": 8 * width // 3 // 64 * 64, "vocab_size": 4000,
        "max_position_embeddings": 2048, "rms_norm_eps": 1e-5, "rope_theta": 10000.0, "hidden_act": "silu",
        "tie_word_embeddings": False,
    }  # fmt: skip
    return _written(config, phase="decode")


def _written(source: Any, **options: Any) -> onnx.ModelProto:
    with tempfile.TemporaryDirectory() as folder:
        path = write_onnx(source, Path(folder) / "model.onnx", weights="random", dtype="fp32", **options)
        return onnx.load(str(path))


def static_int8(model: onnx.ModelProto) -> onnx.ModelProto:
    """Quantize weights and activations with fixed scales, by ONNX Runtime's own tool, for its speed alone.

    Scales come from one random input, so the result computes nothing of use.
    """
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

    sizes = {"batch": 1, "seq": 32}
    names = {dim.dim_param for item in model.graph.input for dim in item.type.tensor_type.shape.dim if dim.dim_param}
    feeds = random_feeds(
        model, np.random.default_rng(0), **{k: v for k, v in sizes.items() if len(names) > (k == "seq")}
    )

    class Reader(CalibrationDataReader):  # type: ignore[misc]
        def __init__(self) -> None:
            self.left = [feeds]

        def get_next(self) -> Any:
            return self.left.pop() if self.left else None

    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder) / "model.onnx", Path(folder) / "static.onnx"
        onnx.save(model, str(source))
        quantize_static(
            str(source), str(target), Reader(), quant_format=QuantFormat.QDQ, per_channel=True, reduce_range=True,
            op_types_to_quantize=["MatMul"], activation_type=QuantType.QUInt8, weight_type=QuantType.QInt8,
        )  # fmt: skip
        return onnx.load(str(target))


def _published(name: str) -> onnx.ModelProto:
    return _written(name)


CASES = (
    Case("minilm-l6", lambda: onnx.load(str(pretrained_onnx("minilm-l6"))), {"batch": 1, "seq": 128}),
    Case("minilm-l6", lambda: onnx.load(str(pretrained_onnx("minilm-l6"))), {"batch": 1, "seq": 32}, ("fp32", "int8")),
    Case("vit-mnist", lambda: onnx.load(str(embedded_model("vit-mnist"))), {"batch": 16}),
    Case("vit-mnist", lambda: onnx.load(str(embedded_model("vit-mnist"))), {"batch": 1}, ("fp32", "int8", "w4")),
    Case("bert-64", lambda: bert(64, 4, 4), {"batch": 4, "seq": 32}),
    Case("bert-64", lambda: bert(64, 4, 4), {"batch": 1, "seq": 16}, ("fp32", "int8", "w4")),
    Case("bert-128", lambda: bert(128, 2), {"batch": 1, "seq": 128}),
    Case("bert-128", lambda: bert(128, 8, 4), {"batch": 1, "seq": 12}, ("fp32", "int8", "w4")),
    Case("bert-128", lambda: bert(128, 8), {"batch": 8, "seq": 24}, ("fp32", "int8")),
    Case("bert-256", lambda: bert(256, 4), {"batch": 1, "seq": 96}),
    Case("bert-256", lambda: bert(256, 8), {"batch": 2, "seq": 200}, ("fp32", "w4")),
    Case("bert-320", lambda: bert(320, 10), {"batch": 1, "seq": 48}),
    Case("bert-512", lambda: bert(512, 8), {"batch": 1, "seq": 128}),
    Case("bert-512", lambda: bert(512, 16), {"batch": 1, "seq": 16}, ("fp32", "int8", "w4")),
    Case("bert-768", lambda: bert(768, 12), {"batch": 1, "seq": 64}),
    Case("deit-tiny", lambda: _published("deit-tiny"), {"batch": 1}, ("fp32", "int8")),
    # Published names, of which torch runs the whole model.
    Case("bert-tiny", lambda: _published("bert-tiny"), {"batch": 1, "seq": 64}, ("fp32",), ("torch-cpu",)),
    Case("bert-tiny", lambda: _published("bert-tiny"), {"batch": 4, "seq": 128}, ("fp32",), ("torch-cpu",)),
    Case("bert-mini", lambda: _published("bert-mini"), {"batch": 1, "seq": 96}, ("fp32",), ("torch-cpu",)),
    Case("bert-small", lambda: _published("bert-small"), {"batch": 1, "seq": 48}, ("fp32",), ("torch-cpu",)),
    Case("electra-small", lambda: _published("electra-small"), {"batch": 1, "seq": 128}, ("fp32",), ("torch-cpu",)),
    Case("llama-512", lambda: decoder(512, 8), {"batch": 1, "total": 256}, ("fp32", "w8", "w4")),
)


def measured(
    case: Case, variant: str, model: onnx.ModelProto, device: str, seconds: float, backend: str = "onnxruntime"
) -> pd.DataFrame:
    """Measure one model in one form; its name says which and at what sizes."""
    sizes = "x".join(str(value) for value in case.bind.values())
    job = Job(
        name=f"{case.name} {sizes} {variant}",
        path=model,
        work=lambda: load_onnx(model, **dict[str, Any](case.bind)),
        bind=case.bind,
        seconds=seconds,
        device=device,
        module=case.name if variant == "fp32" else "none",
    )
    return measure_model(job, backend)


def best_of(passes: list[pd.DataFrame]) -> pd.DataFrame:
    """Keep of every model the pass in which the probe was fastest."""
    every = pd.concat([one.assign(number=number) for number, one in enumerate(passes)], ignore_index=True)
    best = every.loc[every.groupby("model")["probe_us"].idxmin()].set_index("model")["number"]
    return every[every["number"] == every["model"].map(best)].drop(columns="number").reset_index(drop=True)


def main() -> None:
    """Measure all cases and write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("name")
    parser.add_argument("--passes", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--backend", default="onnxruntime", choices=("onnxruntime", "torch-cpu"))
    parser.add_argument("--only", default="")
    given = parser.parse_args()
    models = []
    for case in CASES:
        if given.only in case.name and given.backend in case.backends:
            model = case.model()
            chosen = [name for name in case.variants if name in VARIANTS_OF[given.backend]]
            models += [(case, variant, VARIANTS[variant](model)) for variant in chosen]
    passes: list[pd.DataFrame] = []
    for number in range(given.passes):
        for case, variant, model in models:
            passes.append(measured(case, variant, model, given.name, given.seconds, given.backend))
            print(number, case.name, variant, len(passes[-1]), flush=True)
        HERE.mkdir(exist_ok=True)
        write_rows(best_of(passes), file_of(given.name, given.backend))


if __name__ == "__main__":
    main()
