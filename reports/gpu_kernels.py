# %% [markdown]
# # GPU kernels: predicted beside measured
#
# `python -m dse.measure.device` builds kernels on a machine with a GPU, checks each against float64 on fresh random
# operands, times it three ways and reads its energy; the rows go to `reports/measurements/`. This notebook holds the
# predictions of `hwmodels.kernels` against them: kernel by kernel, and for all layers of BERT-Base, GPT-2 and
# Llama-like decoders. Where there are no measurements it says what would be measured, and how.

# %%
import os
import warnings
from pathlib import Path

import numpy as np
import pandas as pd

from dse.measure.device.rows import columns_of
from dse.measure.device.suites import CONFIGS, model_signatures, suite
from dse.measure.device.work import least_bytes
from hwmodels.kernels import predict_table

warnings.simplefilter("ignore")
pd.set_option("display.width", 130, "display.max_rows", 200, "display.max_columns", 20)
FOLDER = Path(os.environ.get("DSE_MEASUREMENTS", "reports/measurements"))
FORMATS = ["a_dtype", "w_dtype", "kv_dtype"]
KIND = "kernel_rotating"


def measured():
    """Read the rows of every GPU that has some; rows of CPUs lie in the same folder and have no check."""
    tables = [pd.read_csv(path, low_memory=False) for path in sorted(FOLDER.glob("*.csv"))]
    tables = [table for table in tables if "check_ratio" in table.columns]
    return pd.concat(tables, ignore_index=True) if tables else None


rows = measured()
if rows is None:
    print("There are no measurements of a GPU in reports/measurements. On a machine with one, torch and Triton:")
    print("  python -m dse.measure.device --suite all --out reports/measurements/GPU.csv --minutes 8")
    print("The same command again goes on with what is left; then run this notebook anew.")
else:
    for gpu, part in rows.groupby("gpu"):
        right, wrong = part[part.error.isna()], part[part.error.notna()]
        print(f"{gpu}: {right.key.nunique()} kernels right, {len(wrong)} without a result")
        print(f"  torch {part.torch.iloc[0]}, Triton {part.triton.iloc[0]}, driver {part.driver.iloc[0]}")
        print(f"  largest error over its bound: {right.check_ratio.max():.2f}")

# %% [markdown]
# ## What is measured
#
# Sizes of the four models' layers, and spreads of products, attention and functions. A bound follows from the number
# formats; integer functions must be equal bit for bit.

# %%
shapes = pd.DataFrame([columns_of(signature) for signature in suite("all")])
print(shapes.groupby(["op", *FORMATS]).size().to_string())

# %% [markdown]
# ## Every kernel
#
# Absolute errors of the predictions, by operation and formats; `inside` is the share inside the 80 % band. Of several
# kernels for one shape the fastest counts, as a runtime would choose it.


# %%
def fastest(table):
    """Keep the fastest kernel of each shape and kind of timing."""
    good = table[table.error.isna() & (table.op != "model_layers")].copy()
    good[FORMATS] = good[FORMATS].fillna("")
    shape = ["device", "timing", "op", "name", "batch", "m", "n", "k", "rows", "cols", "q_len", "kv_len", "heads",
             "kv_heads", "head_dim", "causal", "page_size", "group", *FORMATS]  # fmt: skip
    return good.sort_values("latency_us").drop_duplicates(shape)


def errors(table):
    """Give mean and median error and the share inside the band, over the rows that have a prediction."""
    good = table[table.predicted_us.notna()]
    off = (good.predicted_us / good.latency_us - 1).abs() * 100
    inside = ((good.latency_us >= good.low_us) & (good.latency_us <= good.high_us)) * 100
    return pd.Series({"kernels": len(table), "predicted": len(good), "mean %": off.mean(), "median %": off.median(),
                      "inside %": inside.mean()})  # fmt: skip


if rows is None:
    print("needs measurements")
else:
    best = predict_table(fastest(rows))
    for kind in best.timing.unique():
        print(f"\n{kind}")
        print(best[best.timing == kind].groupby(["device", "op", *FORMATS]).apply(errors).round(1).to_string())

# %% [markdown]
# The same with ten measured kernels of each family to calibrate on, judged on the others.


# %%
def split(table, count=10):
    """Take ten kernels of each operation and pair of formats, spread over their times."""
    taken = []
    for _, group in table.groupby(["device", "timing", "op", *FORMATS]):
        order = group.sort_values("latency_us").index
        taken += list(order[np.linspace(0, len(order) - 1, min(count, len(order) // 2)).round().astype(int)])
    return table.loc[taken], table.drop(taken)


if rows is None:
    print("needs measurements")
else:
    modelled = predict_table(fastest(rows[rows.timing == KIND])).dropna(subset="predicted_us")
    few, rest = split(modelled.drop(columns=["predicted_us", "low_us", "high_us", "remark"]))
    print(predict_table(rest, rows=few).groupby(["device", "op", *FORMATS]).apply(errors).round(1).to_string())

# %% [markdown]
# ## Layers of whole models
#
# The sum of the predicted kernels, the sum of the measured ones, and all layers measured in one graph.


# %%
def totals(device, table):
    """Add up kernels over the layers of each model: predicted ones, and those of a table of the fastest measured."""
    found = []
    for config in CONFIGS:
        signatures = model_signatures(*config)
        asked_for = pd.DataFrame([{**columns_of(s), "bytes": least_bytes(s)} for s in signatures])
        asked_for = asked_for.fillna(dict.fromkeys(FORMATS, "")).assign(device=device, timing=KIND)
        guess = predict_table(asked_for)
        row = {
            "layers of": signatures[0].name.rpartition(": ")[0],
            "predicted_us": (guess.predicted_us * guess["count"]).sum(min_count=len(guess)),
        }
        found.append(row | summed(table, asked_for))
    return pd.DataFrame(found).set_index("layers of")


def summed(table, wanted):
    """Add up the measured times of the wanted kernels; NaN where one is missing."""
    sizes = [name for name in ("op", "batch", "m", "n", "k", "rows", "cols", "q_len", "kv_len", "heads", "kv_heads",
                               "head_dim", "causal", "page_size", "group", *FORMATS) if name in wanted]  # fmt: skip
    best = table.groupby(sizes, dropna=False).latency_us.min().reset_index()
    met = wanted.merge(best, on=sizes, how="left")
    return {"kernels_us": (met.latency_us * met["count"]).sum(min_count=len(met))}


if rows is None:
    print("needs measurements")
else:
    for device, part in rows.groupby("device"):
        table = totals(device, fastest(part[part.timing == KIND]))
        whole = part[(part.op == "model_layers") & part.error.isna()].set_index("name").latency_us
        table["graph_us"] = whole.reindex(table.index)
        table["kernels %"] = (table.predicted_us / table.kernels_us - 1) * 100
        table["graph %"] = (table.predicted_us / table.graph_us - 1) * 100
        print(device)
        print(table.round(1).to_string())

# %% [markdown]
# ## Energy
#
# Power and energy of each kernel while it ran over and over, from the GPU's counter.

# %%
if rows is None or "energy_j" not in rows or rows.energy_j.notna().sum() == 0:
    print("needs measurements of a GPU whose energy can be read")
else:
    seen = rows[rows.energy_j.notna()].assign(pj_per_flop=lambda t: t.energy_j / t.flops * 1e12,
                                              pj_per_byte=lambda t: t.energy_j / t.bytes * 1e12)  # fmt: skip
    columns = ["power_w", "sm_mhz", "pj_per_flop", "pj_per_byte"]
    print(seen.groupby(["device", "op", "a_dtype"])[columns].median().round(2).to_string())
