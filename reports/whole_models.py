"""Writes `reports/whole_models.md`: whole models, layers and served models, predicted beside measured.

    DSE_REFERENCE=FOLDER python -m reports.whole_models PICTURES

FOLDER/measured holds layer_e2e.csv and serving_e2e.csv: public measurements that do not ship. PICTURES is a folder for
the figure; the report names its file. No coefficient was fitted on a whole model.
"""

from __future__ import annotations

import csv
import os
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from dse.files import atomic_write
from hwmodels.kernels.calibration import Calibration, calibrations
from hwmodels.kernels.clusters import STYLES, Style
from hwmodels.kernels.families import FAMILIES
from hwmodels.kernels.finding import find
from hwmodels.kernels.lowering import Kernel, lower_kernels
from hwmodels.kernels.machine import machine
from hwmodels.kernels.parallel import split_kernels
from hwmodels.kernels.tables import Key
from hwmodels.kernels.whole import WholeTime, predict_workload
from workloads.workload import Workload
from workloads.zoo import architecture

HERE = Path(__file__).resolve().parent

HEAD = """# Whole models, predicted and measured

Written by `DSE_REFERENCE=FOLDER python -m reports.whole_models PICTURES`. Measurements are public (NeuSight,
LLMCompass, aiconfigurator) and do not ship. Times are sums over kernels: each operator of the model's graph is put into
a kernel (`hwmodels.kernels.clusters`), each kernel predicted by the calibration of its device; what stays in the
last-level cache is not charged to the memory. **No coefficient was fitted on a whole model.** One choice was made with
these numbers in view: that libraries add a residual inside the norm behind it (0.3 points of the served models).

Errors are mean / median of |predicted - measured| / measured in percent. Roofline: data sheet alone, launches not
counted: uncalibrated. Band: share of totals inside the 80 % band. Asked of layer and whole-model totals: within 7 %.

## Forward passes

Hugging Face models in fp32, PyTorch (plain: operator by operator; fusion: torch.compile), CUDA events around the pass.
Source: NeuSight. Left out: Switch Transformer, whose experts that table runs in a loop of its own.
"""

SERVED = """## Time per output token of a served model

Llama 3.1 8B in bf16, TensorRT-LLM 1.0.0rc3 on H100 SXM, tensor parallelism over 1 to 8 of them. A step is a decoding
step of all requests in flight plus requests / output tokens prompts: continuous batching, without the overlap that a
server may find. Source: aiconfigurator.
"""

LAYER = """## A layer by its parts

GPT-3 175B, batch 8, on four A100 SXM; every part timed alone by the host's clock. Source: LLMCompass. *Its framework*:
calibrated on LLMCompass's own tables of kernels, 20 products and 64 element-wise kernels. The shape of the two
feed-forward products of the prompt is among them, every other shape of both layers is not. *Other frameworks*: no row
of LLMCompass was seen; its feed-forward product of a prompt reaches 283 TFLOP/s, predicted from other tables 244.
"""

NEW_GELU = ("mul", "mul", "mul", "add", "mul", "tanh", "add", "mul")
"""Kernels of GPT-2's activation. Source: transformers, activations.py, NewGELUActivation."""


def gpt(width: int, heads: int, layers: int, positions: int) -> dict[str, Any]:
    """Give the configuration of a GPT-2 of some size."""
    return {
        "model_type": "gpt2", "n_embd": width, "n_head": heads, "n_layer": layers, "n_ctx": positions,
        "n_positions": positions, "vocab_size": 50257, "activation_function": "gelu_new", "layer_norm_epsilon": 1e-5,
    }  # fmt: skip


MODELS: dict[str, Any] = {
    "bert_large": "bert-large",
    "gpt2_large": "gpt2-large",
    "gpt3_xl": gpt(3072, 24, 24, 2048),
    "gpt3_27": gpt(2560, 32, 32, 2048),
    "opt_13": "opt-1.3b",
}
"""Models of the forward passes. Source of two configurations: NeuSight, DLmodel_configs, gpt3_xl.json, gpt3_27.json."""


@dataclass(frozen=True)
class Case:
    """A total, predicted and measured [us]."""

    group: str
    name: str
    measured: float
    roofline: float
    time: float
    low: float
    high: float

    @property
    def error(self) -> float:
        """Of the prediction [%]."""
        return 100 * (self.time / self.measured - 1)


def folder() -> Path:
    """Give the folder of measured tables."""
    if not os.environ.get("DSE_REFERENCE"):
        raise SystemExit("set DSE_REFERENCE to the folder that holds measured/*.csv")
    return Path(os.environ["DSE_REFERENCE"]) / "measured"


@cache
def forward_graph(model: str, batch: int, length: int) -> Workload:
    """Give the graph of a forward pass in fp32, with logits of all tokens as Hugging Face models give them."""
    options = {} if model == "bert_large" else {"logits": "all"}
    return architecture(MODELS[model], batch=batch, seq=length, dtype="fp32", **options)  # type: ignore[arg-type]


def style_of(model: str, variant: str) -> Style:
    """Give how a variant runs: torch.compile, or operator by operator."""
    if variant == "fusion":
        return STYLES["compiled"]
    expand = {"gelu": NEW_GELU} if model.startswith("gpt") else {}
    return replace(STYLES["eager"], expand=expand)


def forward_cases() -> Iterator[Case]:
    """Predict the forward passes of NeuSight's table that the zoo has graphs of."""
    table = pd.read_csv(folder() / "layer_e2e.csv")
    for row in table[(table.source == "neusight") & table.model.isin(list(MODELS))].itertuples():
        work = forward_graph(str(row.model), int(row.batch), int(row.q_len))  # type: ignore[arg-type]
        whole = predict_workload(
            work, str(row.device), timing="eager", style=style_of(str(row.model), str(row.variant))
        )
        name = f"{row.model}, {row.batch} x {row.q_len}, {row.variant}"
        yield case(str(row.device), name, float(row.latency_us), whole)  # type: ignore[arg-type]


def case(group: str, name: str, measured: float, whole: WholeTime) -> Case:
    """Make a case of a prediction."""
    times = [float(getattr(whole, f"{part}_us")) for part in ("roofline", "time", "low", "high")]
    return Case(group, name, measured, *times)


@cache
def served(phase: str, batch: int, tokens: int, gpus: int) -> WholeTime:
    """Predict a prompt of one request, or a decoding step of a batch, of Llama 3.1 8B on H100s."""
    size = {"seq": tokens} if phase == "prefill" else {"context": tokens}
    work = architecture("llama-3.1-8b", phase=phase, batch=batch, dtype="bf16", **size)  # type: ignore[arg-type]
    return predict_workload(work, "h100_sxm_80gb", timing="graph", gpus=gpus)


def serving_cases() -> Iterator[Case]:
    """Predict the time per output token of Llama 3.1 8B, served by TensorRT-LLM.

    Continuous batching: with b requests in flight, each of o output tokens, b / o prompts are computed per step.
    """
    table = pd.read_csv(folder() / "serving_e2e.csv")
    for row in table[table.model_path.str.endswith("Llama-3.1-8B-Instruct")].itertuples():
        batch, gpus, inside, outside = (int(v) for v in (row.batch_size, row.tp_size, row.isl, row.osl))  # type: ignore[arg-type]
        step, prompt = served("decode", batch, inside + outside // 2, gpus), served("prefill", 1, inside, gpus)
        share = batch / outside
        time = float(step.time_us + share * prompt.time_us)
        spread = [float(part.sd_independent_us**2 + part.sd_shared_us**2) ** 0.5 for part in (step, prompt)]
        width = float(np.exp(1.2816 * (spread[0] + share * spread[1]) / time))
        sheet = float(step.roofline_us + share * prompt.roofline_us)
        name = f"{inside} + {outside} tokens, {batch} in flight"
        yield Case(f"{gpus} GPU", name, float(row.silicon_tpot_ms) * 1e3, sheet, time, time / width, time * width)  # type: ignore[arg-type]


def peer_line(cases: Sequence[Case]) -> str:
    """Say how far GenZ is off on the same cases: its steps and prompts, put together in the same way."""
    found = {}
    with (HERE / "whole_models_peer.csv").open(encoding="utf-8") as file:
        for row in csv.DictReader(file):
            name = f"{row['prompt']} + {row['output']} tokens, {row['batch']} in flight"
            share = int(row["batch"]) / int(row["output"])
            found[f"{row['gpus']} GPU", name] = float(row["decode_ms"]) + share * float(row["prefill_ms"])
    off = {c: 100 * abs(found[c.group, c.name] * 1e3 / c.measured - 1) for c in cases}

    def said(chosen: Sequence[Case]) -> str:
        errors = np.array([off[c] for c in chosen])
        return f"{errors.mean():.1f} / {np.median(errors):.1f}"

    names = dict.fromkeys(c.group for c in cases)
    by = ", ".join(f"{said([c for c in cases if c.group == name])} on {name}" for name in names)
    return (
        f"GenZ (genz-llm 0.0.16, its own H100, steps and prompts put together in the same way): {said(cases)} ({by}); "
        "`reports/whole_models_peer.py` ran it."
    )


PARTS = {
    "attn.qkv gemm": "qkv_proj", "attn.scores bgemm": "q_mul_k", "attn.softmax softmax": "softmax",
    "attn.context bgemm": "a_mul_v", "attn.out gemm": "out_proj", "attn.out all_reduce": "allreduce_attn",
    "ffn.up gemm": "ffn_up", "ffn.activation gelu": "gelu", "ffn.down gemm": "ffn_down",
    "ffn.down all_reduce": "allreduce_ffn", "attn.norm layernorm": "layernorm_attn",
    "ffn.norm layernorm": "layernorm_ffn",
}  # fmt: skip
"""Parts of LLMCompass's layer by block and kernel of ours."""


def others(family: str) -> tuple[Calibration, ...]:
    """Give the calibrations that did not see LLMCompass's rows."""
    return tuple(item for item in calibrations(family) if "LLMCompass" not in item.source)


def layer_cases(own: bool) -> Iterator[Case]:
    """Predict the parts of a layer of GPT-3 175B on four A100s, each timed alone by the host's clock, and their sum.

    Args:
        own: With the calibrations of LLMCompass's own kernels (other shapes); else with those of all others alone.
    """
    table = pd.read_csv(folder() / "layer_e2e.csv")
    for phase, size in (("prefill", {"seq": 2048}), ("decode", {"context": 3071})):
        work = architecture(gpt(12288, 96, 1, 4096), phase=phase, batch=8, **size)  # type: ignore[arg-type]
        chosen = (table.source == "llmcompass") & (table.variant == f"{phase} tp4")
        rows = table[chosen].set_index("op").latency_us
        found: dict[str, np.ndarray[Any, Any]] = {}
        for kernel in split_kernels(lower_kernels(work, "eager"), 4):
            part = PARTS.get(f"{kernel.block.removeprefix('layer.0.')} {kernel.op}")
            if part is not None and part not in found:
                found[part] = alone(kernel, own)
        group = f"{phase}, {'its framework' if own else 'other frameworks'}"
        for part, values in found.items():
            yield Case(group, part, float(rows[part]), *[float(value) for value in values])
        total = np.sum(list(found.values()), axis=0)
        yield Case(group, "sum of its parts", float(rows[list(found)].sum()), *[float(value) for value in total])


def alone(kernel: Kernel, own: bool) -> np.ndarray[Any, Any]:
    """Predict a kernel timed alone on an A100: roofline, time, low and high [us]."""
    chip = None if kernel.family == "collective" else machine("a100_sxm_80gb")
    timing = "host_clock_with_sync" if own and chip is not None else "eager"
    key = Key(kernel.family, "a100_sxm_80gb", kernel.op, kernel.a_format, str(kernel.w_format), timing, "torch")
    columns = {name: np.atleast_1d(np.asarray(value, dtype=float)) for name, value in kernel.sizes.items()}
    record = FAMILIES[kernel.family].record(columns, key.a_format, key.w_format)
    sheet = FAMILIES[kernel.family].roofline_us(record, chip, kernel.op)
    among = calibrations(kernel.family) if own else others(kernel.family)
    found = find(key, chip, among).calibration.predict(record, chip)
    return np.array([float(values[0]) for values in (sheet, *found)])


def summary(cases: Sequence[Case]) -> str:
    """Write the cells of a row: how many, roofline, calibrated, band."""
    measured, sheet, time = (np.array([getattr(c, name) for c in cases]) for name in ("measured", "roofline", "time"))
    cells = [str(len(cases))]
    for values in (sheet, time):
        off = 100 * np.abs(values / measured - 1)
        cells.append(f"{off.mean():.1f} / {np.median(off):.1f}")
    inside = np.mean([c.low <= c.measured <= c.high for c in cases])
    bias = 100 * (np.mean(time / measured) - 1)
    return " | ".join([*cells, f"{bias:+.1f}", f"{100 * inside:.0f} %"])


def grouped(cases: Sequence[Case]) -> list[str]:
    """Write a table with a row per group, and one for all."""
    lines = ["| group | totals | roofline | calibrated | bias | in band |", "|---|---|---|---|---|---|"]
    names = dict.fromkeys(c.group for c in cases)
    lines += [f"| {name} | {summary([c for c in cases if c.group == name])} |" for name in names]
    return [*lines, f"| **all** | {summary(cases)} |", ""]


def listed(cases: Sequence[Case]) -> list[str]:
    """Write a table with a row per case [ms]."""
    header = ("group", "total", "measured ms", "roofline", "calibrated", "80 % band", "error")
    lines = [f"| {' | '.join(header)} |", "|---" * len(header) + "|"]
    for c in cases:
        values = [f"{value / 1e3:.4g}" for value in (c.measured, c.roofline, c.time, c.low, c.high)]
        cells = (c.group, c.name, *values[:3], f"{values[3]} to {values[4]}", f"{c.error:+.1f} %")
        lines.append(f"| {' | '.join(cells)} |")
    return [*lines, ""]


def draw(path: Path, groups: dict[str, Sequence[Case]]) -> None:
    """Draw predicted over measured, with bands, beside the roofline."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 4.2), layout="constrained")
    axes = figure.subplots(1, 2, sharex=True, sharey=True)
    for axis, name, title in zip(
        axes, ("roofline", "time"), ("data-sheet roofline", "calibrated kernels"), strict=True
    ):
        for label, cases in groups.items():
            x = np.array([c.measured for c in cases]) / 1e3
            y = np.array([getattr(c, name) for c in cases]) / 1e3
            (line,) = axis.loglog(x, y, ".", markersize=4, label=label)
            if name == "time":
                ends = np.array([[c.low / 1e3, c.high / 1e3] for c in cases]).T
                axis.vlines(x, *ends, color=line.get_color(), linewidth=0.6, alpha=0.5)
        ends = np.array(axis.get_xlim())
        axis.plot(ends, ends, color="0.4", linewidth=0.8)
        axis.set(title=title, xlabel="measured [ms]")
        axis.grid(True, which="major", color="0.9", linewidth=0.6)
    axes[0].set_ylabel("predicted [ms]")
    axes[0].legend(frameon=False, fontsize=8)
    with atomic_write(path) as part:
        figure.savefig(part, dpi=160, format="png")


def main(pictures: str) -> None:
    """Predict everything and write the report."""
    forward, serving, layers = list(forward_cases()), list(serving_cases()), [*layer_cases(True), *layer_cases(False)]
    sums = [one for one in layers if one.name.startswith("sum")]
    lines = [HEAD, *grouped(forward), *listed(forward)]
    lines += [SERVED, *grouped(serving), peer_line(serving), ""]
    lines += [LAYER, *grouped(sums), *listed(layers)]
    picture = Path(pictures) / "whole_models.png"
    draw(picture, {"forward passes": forward, "served, per token": serving, "layer": sums})
    lines += [f"Picture: `{picture.name}`.", ""]
    with atomic_write(HERE / "whole_models.md") as part:
        part.write_text("\n".join(lines), encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1])
