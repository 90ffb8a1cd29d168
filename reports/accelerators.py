# %% [markdown]
# # A BERT on accelerators
#
# A survey took an accelerator that was made for CNNs, ran a BERT on it, and found that 96 % of the time goes to
# operators that are no matrix product; integer units and other buffers made it 39.6 times as fast (*Full Stack
# Optimization of Transformer Inference*, Kim et al., arXiv 2302.14017v1, section 3.4). Here that story is told with
# this project's models: the accelerators are files with sources, every mapping is the proven best of its space, and
# nothing is fitted to the survey. Number by number, with what matches and what does not:
# [case_study.md](case_study.md).

# %%
import csv
import io
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
from IPython.display import Image
from PIL import Image as Picture

import dse
import hwmodels
from dse import plots
from hwmodels.cascades import find_cascades, search_cascade
from hwmodels.energy import price
from hwmodels.engines import Engine
from hwmodels.machines import run, seconds_by_kind
from hwmodels.machines.rows import vector_units
from hwmodels.mapping import evaluate, mapping_text, problem_on, runtime_mapping, search
from hwmodels.mapping.fronts import network_fronts
from hwmodels.mapping.mapper.memo import Memo
from workloads import survey
from workloads.zoo import architecture

FOLDER = Path(tempfile.mkdtemp())
memo = Memo()  # equal operators on equal accelerators are searched once


def show(path):
    """Show a figure, with few colours: the notebook stays small."""
    small = io.BytesIO()
    with Picture.open(path) as picture:
        picture.convert("RGB").quantize(64).save(small, format="png", optimize=True)
    return Image(data=small.getvalue(), format="png", width=900)


def printed(name):
    with Path(f"tests/golden/reference/survey/{name}.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def costed(work, machine, objective="latency", keep=False):
    """Run a network on a machine: the best mappings with perfect factors; nothing stays on chip, as in the survey."""
    find = lambda op, on, homes: memo.search(op, on, objective, resident=homes)  # noqa: E731
    return run(work, machine, objective, find=find, keep=keep)


# %% [markdown]
# ## The machine
#
# Gemmini as the survey has it: 16 x 16 multipliers that hold a weight each, 256 KiB for operands, 64 KiB for sums,
# and a small core beside it that runs whatever the array does not.

# %%
gemmini, ibert = hwmodels.load("gemmini"), hwmodels.load("gemmini-ibert")
for level in gemmini.levels:
    size = None if level.capacity_words is None else level.capacity_words * level.word_bits // 8
    print(f"{level.name:11} {', '.join(level.keeps):8} {'no bound' if size is None else f'{size:,} B'}")
host = gemmini.engines[0]
print(host.name, "takes cycles per element:", ", ".join(f"{name} {count:g}" for name, count in host.cycles.items()))

# %% [markdown]
# One product of BERT-Base, mapped. The search proves that no mapping is faster.

# %%
bert = architecture("bert-base", seq=512)
products = {}
for task in costed(bert, gemmini).costs:
    if task.task.product is not None and task.task.macs > 1e6:
        found = products.setdefault(task.task.product.signature(), [task.task.product, 0.0])
        found[1] += task.task.executions
projection = next(iter(products.values()))[0]
best = memo.search(projection, gemmini, "latency")
print(mapping_text(best.mapping, projection.dims))
print(f"{best.cost.cycles[0]:,.0f} cycles, utilization {best.cost.utilization[0]:.1%}, gap to the bound {best.gap:.0%}")

# %% [markdown]
# ## Where the time goes
#
# The array is busy with a few percent of a BERT's time. The rest are softmax, GELU and LayerNorm in floating point on
# one scalar core, and what it costs to get there from integers and back.

# %%
NAMES = {"product": "matmul", "softmax": "softmax", "layernorm": "LayerNorm", "add": "residual add",
         "conversion": "(de)quantization", "gelu": "GELU"}  # fmt: skip


def shares(found):
    seconds = seconds_by_kind(found)
    named = {name: 100 * seconds[kind] / sum(seconds.values()) for kind, name in NAMES.items()}
    return {**named, "other": max(0.0, 100 - sum(named.values()))}


def stated(which):
    names = {"layernorm": "LayerNorm", "de_quantization": "(de)quantization", "gelu": "GELU",
             "residual_add": "residual add", "matmul_gelu": "matmul + GELU"}  # fmt: skip
    start = f"fig14_{which}_share_"
    rows = {row["quantity"].removeprefix(start): float(row["value"]) for row in printed("gemmini_case_study")
            if row["quantity"].startswith(start)}  # fmt: skip
    return {names.get(name, name): value for name, value in rows.items()}


baseline = costed(bert, gemmini)
show(plots.machine_run(costed(architecture("bert-base", seq=128), gemmini, "edp"), FOLDER / "baseline.png"))

# %% [markdown]
# It was made for CNNs, and there it does well: batch norm, bias and ReLU leave the array with its results, and
# Gemmini itself adds residuals and pools (here as an engine beside it, since the residuals of this BERT are floats).

# %%
mover = Engine(name="Mover", kind="vector", level="Accumulator", lanes=16, clock_hz=1e9,
               cycles={"add": 1, "max": 1, "relu": 1})  # fmt: skip
resnet = costed(architecture("resnet-18"), replace(gemmini, engines=(mover, *gemmini.engines)))
for name, found in {"ResNet-18": resnet, "BERT-Base, 512 tokens": baseline}.items():
    beyond = 100 - shares(found)["matmul"]
    print(f"{name:22} {found.latency_s * 1e3:8.1f} ms, {beyond:5.1f} % no product, array used {found.utilization:.1%}")

# %% [markdown]
# ## Integer units
#
# I-BERT computes softmax, GELU and LayerNorm in integers. Sixteen lanes at the accumulator do that without leaving
# the chip. The survey gains 39.6x with them and other buffers; here nearly all of it is the units.

# %%
machines = {
    "baseline": gemmini,
    "units alone": replace(gemmini, engines=ibert.engines),
    "buffers alone": replace(ibert, engines=gemmini.engines),
    "both": ibert,
}
runs = {name: costed(bert, machine) for name, machine in machines.items()}
for name, found in runs.items():
    gain = baseline.latency_s / found.latency_s
    print(f"{name:14} {found.latency_s * 1e3:8.1f} ms {gain:6.1f}x, no product: {100 - shares(found)['matmul']:.1f} %")
show(plots.time_shares(FOLDER / "shares.png", {name: shares(runs[name]) for name in ("baseline", "both")},
                       {"baseline": stated("baseline"), "both": stated("ibert")}))  # fmt: skip

# %%
bill = price(ibert, vector_units=vector_units(ibert))
unit = float(bill.component("Non-linear unit").area_mm2.value)
print(f"area of the units over the rest: {unit / (float(bill.area_mm2.value) - unit):.1%}, printed 14 %")

# %% [markdown]
# ## Buffers
#
# The survey turns both buffers and finds that sums need room and operands do not. Two things must come together for
# that: a memory that does not deliver the 16 GB/s of the bus, and a runtime that reads both operands again for every
# output tile. Its tiles follow the accumulator; a larger scratchpad only makes them deeper. The best mapping would
# have used it: it keeps a panel of an operand there.

# %%
SIZES = (64, 128, 256)


def by_runtime(op, machine):
    return evaluate(problem_on(op, machine, machine.conventions), machine, runtime_mapping(op, machine),
                    machine.conventions)  # fmt: skip


def by_search(op, machine):
    return memo.search(op, machine, "latency").cost


def grid(find, rate):
    found = {}
    for accumulator in SIZES:
        for scratchpad in SIZES:
            machine = hwmodels.resized(
                gemmini,
                capacity={"Scratchpad": f"{scratchpad} KiB", "Accumulator": f"{accumulator} KiB"},
                bandwidth={"DRAM": f"{rate} GB/s"},
            )
            costs = [(times, find(op, machine)) for op, times in products.values()]
            cycles = sum(times * float(cost.cycles[0]) for times, cost in costs)
            found[accumulator, scratchpad] = sum(times * cost.macs for times, cost in costs) / cycles / 256
    return found


grids = {"printed, Fig. 13": {
    (int(row["accumulator_kb"]), int(row["scratchpad_kb"])): float(row["matmul_utilization_pct"]) / 100
    for row in printed("gemmini_buffer_utilization")
}}  # fmt: skip
grids |= {f"runtime's tiles, {rate} GB/s": grid(by_runtime, rate) for rate in (4, 6, 16)}
grids |= {f"best mappings, {rate} GB/s": grid(by_search, rate) for rate in (4, 16)}
show(plots.buffer_grids(FOLDER / "buffers.png", grids))

# %%
for title, found in grids.items():
    saved = 1 - found[64, 256] / found[256, 64]
    print(f"{title:28} 64 kB for sums and 256 for operands, turned round: {saved:5.1%} less time in products")

# %% [markdown]
# ## What stays on chip
#
# So far every tensor went out to memory and came back. Let it stay where the next operator finds it, if the network
# gets better by it: products are then mapped anew in the room that is left.

# %%
small = architecture("bert-mini", seq=128)
apart, kept = (costed(small, ibert, "edp", keep=keep) for keep in (False, True))
for name, found in {"through memory": apart, "kept on chip": kept}.items():
    moved = sum(found.moved_bytes("DRAM")) / 1e6
    print(f"{name:15} DRAM {moved:5.2f} MB, {found.energy_j * 1e3:.3f} mJ, {found.latency_s * 1e3:.3f} ms")
print("kept:", ", ".join(f"{item.bytes / 1024:g} KiB in {item.level}" for item in kept.placements[:4]), "...")
show(plots.machine_run(kept, FOLDER / "kept.png"))

# %% [markdown]
# ## Fusion
#
# A tensor that is too large to stay can be made and used piece by piece: products and the functions between them in
# one loop nest. It is a choice of the search, and it may lose: each cascade below is at its proven best, for the
# energy-delay product, and compared with its operators one by one, each at its own best.

# %%
for cascade in find_cascades(architecture("bert-base", seq=128), ibert):
    if cascade.executions < 12:
        continue
    fused = search_cascade(cascade, ibert)
    change = fused.changes()
    parts = " ".join(f"{name} {change[name]:+6.1%}" for name in ("latency", "energy", "outer_bytes"))
    print(f"{cascade.kind:28} {parts}, gap {fused.gap:.0%}")

# %% [markdown]
# ## Longer texts, and text that is generated
#
# On the survey's analytical machine: encoders in one pass, GPT-2 token by token, its steps at a few lengths of the
# cache and a line between them. A pass is bound by the array until attention takes over; a generation reads all
# weights for every token.

# %%
LENGTHS = (128, 512, 2048, 4096)
machine = hwmodels.load("survey-machine")


def encoder(arch):
    """One layer: all of them take the same."""
    return {"model_type": "bert", "hidden_size": arch.d_model, "num_attention_heads": arch.heads,
            "num_hidden_layers": 1, "intermediate_size": arch.d_ff, "max_position_embeddings": 4096,
            "vocab_size": 30522, "type_vocab_size": 2, "hidden_act": "gelu"}  # fmt: skip


DECODER = {"model_type": "gpt2", "n_embd": 768, "n_layer": 1, "n_head": 12, "n_positions": 8192, "vocab_size": 50257,
           "activation_function": "gelu_new"}  # fmt: skip


def step(keys):
    """Give a step of a layer of GPT-2 without its head, which the survey leaves out."""
    work = architecture(DECODER, phase="decode", context=keys - 1)
    body = work.operators[:-1]
    return replace(work, operators=body, outputs=tuple(tensor.name for tensor in body[-1].outputs))


latency = {
    name: {tokens: survey.architecture(name).layers
           * costed(architecture(encoder(survey.architecture(name)), seq=tokens), machine).latency_s
           for tokens in LENGTHS}
    for name in ("BERT-Base", "BERT-Large")
}  # fmt: skip
steps = {keys: 12 * costed(step(keys), machine).latency_s for keys in (64, 512, 4096)}
latency["GPT-2"] = {
    tokens: float(np.interp(np.arange(1, tokens + 1), list(steps), list(steps.values())).sum()) for tokens in LENGTHS
}
fig32 = {}
for row in printed("end_to_end_scaling"):
    if row["quantity"] == "fig32_analytic_normalized_latency":
        fig32.setdefault(row["model"], {})[int(row["seq_len"])] = float(row["value"])
for name, found in latency.items():
    ours = ", ".join(f"{found[tokens] / latency['BERT-Base'][128]:.1f}" for tokens in LENGTHS)
    print(f"{name:10} {ours:26} Fig. 32: {', '.join(f'{fig32[name][tokens]:g}' for tokens in LENGTHS)}")
show(plots.normalized_latency(FOLDER / "lengths.png", latency, fig32, "survey-machine; printed: Fig. 32"))

# %% [markdown]
# ## Other hardware
#
# Every product is solved once for all sizes of buffers and all bandwidths; a thousand machines are then a look-up,
# with area and energies by the energy models. The front of latency, energy and area, for the products of a small
# BERT:

# %%
fronts = network_fronts(small, gemmini)
rng = np.random.default_rng(0)
n = 600
knobs = {
    "capacity_scale.Scratchpad": 2.0 ** rng.uniform(-4, 0, n),
    "capacity_scale.Accumulator": 2.0 ** rng.uniform(-2, 2, n),
    "array_rows": rng.choice([8, 16, 32], n),
}
knobs["array_columns"] = knobs["array_rows"]
columns = fronts.sweep(knobs)
known = fronts.sweep({"capacity_scale.Scratchpad": [1.0, 0.25], "capacity_scale.Accumulator": [1.0, 4.0]})
marks = {name: {column: float(values[at]) for column, values in known.items()}
         for at, name in enumerate(("gemmini", "its buffers resized"))}  # fmt: skip
table = np.stack([columns[name] for name in ("latency_s", "energy_j", "area_mm2")], axis=1)
print(f"{dse.non_dominated(table).sum()} of {n} machines are on the front")
show(plots.hardware_front(columns, FOLDER / "front.png", marks=marks, title="Products of bert-mini, 128 tokens"))

# %% [markdown]
# One point of the sweep, searched afresh, says the same:

# %%
at = int(np.argmin(columns["edp_j_s"]))
side = knobs["array_rows"][at]
scales = {name.split(".")[1]: float(knobs[name][at]) for name in knobs if name.startswith("capacity_scale")}
sized = hwmodels.resized(gemmini, rows=int(side), columns=int(side))
fresh = hwmodels.energy.priced(sized, price(sized, capacity=scales))
total = sum(item.executions * float(search(item.operator, fresh).cost.energy_j[0]) for item in fronts.products)
print(f"best of {n}: {side} x {side} PEs, "
      + ", ".join(f"{name} {level.capacity_words * level.word_bits / 8192:.0f} KiB" for name in scales
                  for level in fresh.levels if level.name == name))  # fmt: skip
assert np.isclose(total, columns["energy_j"][at], rtol=1e-9)
print(f"energy from fronts and from fresh searches: {total * 1e3:.4f} and {columns['energy_j'][at] * 1e3:.4f} mJ")
