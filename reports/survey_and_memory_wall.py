# %% [markdown]
# # The full-stack survey and the memory wall, reproduced
#
# Two papers set the stage for this project: *Full Stack Optimization of Transformer Inference: a Survey* (Kim et al.,
# arXiv 2302.14017v1, 2023) and *AI and Memory Wall* (Gholami et al., arXiv 2403.14123, 2024). Here we count what the
# first one counts, refit what the second one fits, and put both on the devices of this project. Every number that is
# compared with a paper stands in `tests/golden/reference/survey` or `hwmodels/tables`, with its source.
#
# The whole comparison, cell by cell, is [survey.md](survey.md).

# %%
import csv
import io
import tempfile
from collections import Counter
from pathlib import Path

import numpy as np
import onnx
from IPython.display import Image
from PIL import Image as Picture

import dse
import hwmodels
from dse import plots
from hwmodels import trends
from workloads import format_code, survey
from workloads.onnx import load_onnx
from workloads.zoo import architecture, generation

FOLDER = Path(tempfile.mkdtemp())
FP16 = format_code("fp16")


def show(path):
    """Show a figure, with few colours: the notebook stays small."""
    small = io.BytesIO()
    with Picture.open(path) as picture:
        picture.convert("RGB").quantize(64).save(small, format="png", optimize=True)
    return Image(data=small.getvalue(), format="png", width=900)


def printed(name):
    with Path(f"tests/golden/reference/survey/{name}.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


# %% [markdown]
# ## Counting by hand
#
# One layer of BERT-Base has four projections of 768 x 768 and a feed-forward block of 768 x 3072 and back. At 128
# tokens the twelve layers take, with a multiply-add as two FLOPs:

# %%
layers, d, h, d_ff, n = 12, 768, 12, 3072, 128
projections = layers * 4 * 2 * d * d * n
feed_forward = layers * 2 * 2 * d * d_ff * n
attention = layers * h * ((2 * (d // h) - 1) * n**2 + (2 * n - 1) * n * (d // h))  # a sum's first product needs no add
print(f"{projections / 1e9:.2f} + {attention / 1e9:.2f} + {feed_forward / 1e9:.2f} GFLOP; Table 3: 7.25 + 0.6 + 14.5")

# %% [markdown]
# The library counts the same from the model's numbers, and from a graph that torch exported, whose operators it tells
# apart by structure:

# %%
bert = load_onnx("tests/fixtures/bert_base_dynamo.onnx", batch=1, seq=128, missing_weights="allow")
counts = survey.count_workload(bert)
assert counts == survey.count(survey.architecture("BERT-Base"), 128)
for name, found in counts.items():
    line = f"{float(found.flops) / 1e9:6.2f} GFLOP  {float(found.mops) / 1e9:.3f} GB  {float(found.intensity):6.2f}"
    print(f"{survey.TITLES[name]:26} {line} FLOP/B")

# %% [markdown]
# ## Every printed cell
#
# Each number of the survey's tables either rounds to what is printed, or is a named discrepancy with a reason, or is a
# measurement that counting cannot reach. None is left open. Numbers that someone else derived from the printed ones,
# that stand in two tables, and identities between printed numbers are counted apart.

# %%
tables = {path.stem: printed(path.stem) for path in sorted(Path("tests/golden/reference/survey").glob("*.csv"))}
resnet50 = load_onnx(Path(onnx.__file__).parent / "backend/test/data/light/light_resnet50.onnx")
cells = survey.compare(tables, resnet50=resnet50)
for (kind, status), number in sorted(Counter((cell.kind, cell.status) for cell in cells).items(), reverse=True):
    print(f"{number:5} {kind}: {status}")

# %%
reasons = Counter((item.where, item.why) for item in survey.DISCREPANCIES if item.table != "bert_large_discrepancy")
for (where, why), number in reasons.items():
    print(f"{number:2} in {where}: {why}")

# %% [markdown]
# What the tables do not state was fitted to them. The printed digits fix each constant to less than a percent; our own
# operators count otherwise, and that is kept apart: a `survey` convention beside the ordinary one.

# %%
gpt2 = load_onnx("tests/fixtures/gpt2_dynamo.onnx", batch=1, seq=128, missing_weights="allow")
for row in survey.constants_table(tables["op_class_tables_read"], {"BERT": bert, "GPT-2": gpt2}):
    own = ", ".join(f"{name} {value:g}" for name, value in row.ours.items())
    print(f"{row.meaning}: {row.value:g} ({row.kind}; cells allow {row.low:.2f} to {row.high:.2f}); ours: {own}")

# %% [markdown]
# ## Where FLOPs and bytes go (Figs. 4 to 8)
#
# An encoder at short lengths is its feed-forward block; at 4096 tokens the products of activations take half of the
# FLOPs, and softmax and its like half of the bytes. A decoder reads every weight for every token: 2 FLOPs per byte at
# any length.

# %%
show(plots.op_class_bars(FOLDER / "classes.png"))

# %%
scaling = tables["end_to_end_scaling"]


def series(quantity):
    found = {}
    for row in scaling:
        if row["quantity"] == quantity:
            found.setdefault(row["model"], {})[int(row["seq_len"])] = float(row["value"])
    return found


show(plots.intensity_over_length(FOLDER / "intensity.png", printed=series("fig6_arith_intensity")))

# %% [markdown]
# The printed curve of BERT-Large lies below ours: it leaves one of four projections out, exactly so in its FLOPs.

# %%
for row in printed("bert_large_discrepancy"):
    without, _ = survey.without_a_projection(int(row["seq_len"]))
    full = survey.count(survey.architecture("BERT-Large"), int(row["seq_len"]))["total"]
    print(
        f"{row['seq_len']:>5} tokens: printed {row['published_gflops']:>4} GFLOP, without a projection "
        f"{float(without.flops) / 1e9:8.2f}, with all {float(full.flops) / 1e9:8.2f}"
    )

# %%
picked = {f"{name}, {tokens} tokens": survey.count(survey.architecture(name), tokens)
          for name in ("BERT-Base", "GPT-2") for tokens in (128, 4096)}  # fmt: skip
show(plots.flops_breakdown(FOLDER / "flops.png", picked))

# %% [markdown]
# ## A finite buffer (Table 5)
#
# With a 2 MiB buffer between DRAM and the array, operands are read again and results leave with 32 bits where a
# non-linear operator waits. Square tiles and no fitted constant reproduce every printed intensity.

# %%
for tokens in (128, 512, 4096):
    real = survey.tiled_count(survey.architecture("BERT-Base"), tokens)
    print(tokens, {name: round(float(found.intensity), 3) for name, found in real.items()})

# %% [markdown]
# ## ResNet-50 beside BERT-Base

# %%
classes = survey.convolution_classes(resnet50)
stated = {"ResNet-50": (7.31, 66.94), "ResNet-50, fused": (7.28, 121.36), "BERT-Base": (22.42, 159.68)}
show(plots.resnet_beside_bert(FOLDER / "resnet.png", classes, printed=stated))

# %% [markdown]
# ## Latency over the length on a device (like Figs. 9 and 32)
#
# The survey measures on a Xeon Gold 6242 and simulates an accelerator. Here the roofline of a Sapphire Rapids Xeon
# predicts, in bf16, with real graphs: encoders in one pass, GPT-2 as a whole generation with its KV cache. Digits are
# not to be met on another machine; order and trend are: the decoder is tens of times slower at equal FLOPs.

# %%
LENGTHS = (128, 256, 512, 1024, 2048, 4096)


def encoder(arch):
    return {"model_type": "bert", "hidden_size": arch.d_model, "num_hidden_layers": arch.layers,
            "num_attention_heads": arch.heads, "intermediate_size": arch.d_ff, "max_position_embeddings": 4096,
            "vocab_size": 30522, "type_vocab_size": 2, "hidden_act": "gelu"}  # fmt: skip


DECODER = {"model_type": "gpt2", "n_embd": 768, "n_layer": 12, "n_head": 12, "n_positions": 8192, "vocab_size": 50257,
           "activation_function": "gelu_new"}  # fmt: skip
xeon = hwmodels.load("xeon-8480")
latency = {
    name: {
        tokens: float(hwmodels.evaluate(
            generation(DECODER, prompt=1, tokens=tokens, dtype="bf16") if name == "GPT-2"
            else architecture(encoder(survey.architecture(name)), seq=tokens, dtype="bf16"), xeon).latency_s)
        for tokens in LENGTHS
    }
    for name in ("BERT-Base", "BERT-Large", "GPT-2")
}  # fmt: skip
for name, found in latency.items():
    relative = [f"{value / latency['BERT-Base'][128]:.0f}" for value in found.values()]
    measured = [f"{value:.0f}" for value in series("fig9_cpu_normalized_latency")[name].values()]
    print(f"{name:10} predicted {', '.join(relative):38} Fig. 9 {', '.join(measured)}")
show(plots.normalized_latency(FOLDER / "latency.png", latency, series("fig9_cpu_normalized_latency"),
                              "Predicted on xeon-8480; printed: Fig. 9, Xeon Gold 6242"))  # fmt: skip

# %% [markdown]
# ## The memory wall
#
# Least squares of the logarithm on the date, over the markers of the paper's own figures, gives its headline rates
# back. The ranges are one standard error of the slope: transformers grew by a factor of a few hundred in two years, and
# no one knows the second digit.

# %%
for name, fit in hwmodels.refit().items():
    low, high = (float(fit.growth(2.0, errors)) for errors in (-1.0, 1.0))
    print(
        f"{trends.quantity(name).title:24} {fit.per_two_years:7.4g}x in two years ({low:.3g} to {high:.3g}), "
        f"published {fit.headline:g}x, {fit.deviation:+.1%}, {fit.count} points"
    )

# %%
show(plots.hardware_scaling(FOLDER / "hardware.png"))

# %%
show(plots.model_size_scaling(FOLDER / "sizes.png"))

# %%
show(plots.training_compute_scaling(FOLDER / "training.png"))

# %%
for defect in trends.DEFECTS:
    print(f"{defect.key}, {defect.column}: {defect.printed}; holds {defect.holds or 'unknown'}: {defect.why}")

# %% [markdown]
# ## Hardware of another year
#
# A device is projected from its own year by these rates. Compute grows faster than bandwidth, so the ridge point moves
# away: what is bound by compute today is bound by memory tomorrow. In brackets: the latency with every rate one
# standard error of its fit faster, and slower.

# %%
space = dse.Space(device=["h100-sxm"], year=[2022, 2024, 2026, 2028, 2030])
work = architecture(encoder(survey.architecture("BERT-Large")), batch=32, seq=512)
columns = dse.sweep(space, dse.standard_model(work), minimize=("latency_s",)).columns
today = hwmodels.load("h100-sxm")
for index, year in enumerate((2022, 2024, 2026, 2028, 2030)):
    device = hwmodels.project(today, year)
    cost = hwmodels.evaluate(work, device)
    memory = float(cost.latency_by["memory"]) / float(cost.latency_s)
    found, low, high = (columns[f"latency_{name}"][index] * 1e3 for name in ("s", "low_s", "high_s"))
    print(
        f"{year}: ridge {float(device.ridge_point(FP16)):5.0f} FLOP/B, BERT-Large {found:6.2f} ms "
        f"({low:.2f} to {high:.2f}), {memory:.0%} of the time bound by memory"
    )

# %% [markdown]
# Latency follows the bandwidth, not the compute: the wall. (It falls behind even the bandwidth, since the overhead of
# launching a kernel has no trend and stays.)

# %%
gain = float(columns["latency_s"][0] / columns["latency_s"][-1])
compute = trends.growths(today, 2030)["peak_compute"].factor
bandwidth = trends.growths(today, 2030)["dram_bandwidth"].factor
print(f"peak compute {compute:.0f}x, DRAM bandwidth {bandwidth:.1f}x, BERT-Large {gain:.1f}x")
assert gain < bandwidth < compute
assert np.all(np.diff(columns["latency_s"]) < 0)
