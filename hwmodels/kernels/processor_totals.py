"""Whole models on a CPU: their operators, what an operator costs more inside of a model, and the call around them.

Inside of a model weights come from as far as all weights of the model reach, and an operator takes somewhat longer than
alone in a loop: its instructions and operands were driven out of the innermost caches, its result needs memory. The
second is the operation `node`, measured as what the whole model takes beyond its operators, per operator.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from hwmodels.kernels.calibration import Calibration
from hwmodels.kernels.cpu import RESULT_BYTES, CpuFunctionCoefficients
from hwmodels.kernels.predict import predict_table
from hwmodels.kernels.processors import processor
from hwmodels.kernels.records import element_bytes
from hwmodels.kernels.tables import Key
from workloads.errors import SpecError

if TYPE_CHECKING:
    from pandas import DataFrame

__all__ = ["inside_models", "model_totals", "node_calibration"]

WHOLE = "model_forward"
LEAST = 3  # models
FLOOR_US = 0.01
NODE_BAND = (-0.7, 0.7)
"""Ends of the band of `node`, in logarithms: half to twice. Assumption: no single operator shows it."""
STORED = ("gemm", "gemm_dynamic", "gemm_static", "gemm_nbits", "gemm_nbits_dynamic", "conv")
"""Products whose right operand is a stored weight."""


def inside_models(table: DataFrame) -> DataFrame:
    """Say of each product with a stored weight how much is touched before its weight is used again: all weights.

    Args:
        table: Rows of `dse measure`; one model or several, by the column `model`.

    Returns:
        The rows of operators, with `reuse_bytes`, and one row `node` per model that counts its operators.

    Raises:
        SpecError: A column is missing.
    """
    import pandas

    for name in ("op", "model", "count"):
        if name not in table.columns:
            raise SpecError(f"totals of models need the column {name!r}, as dse measure writes it")
    rows = table[table["op"] != WHOLE].reset_index(drop=True)
    stored = rows["op"].isin(STORED)
    sizes = [element_bytes(name) for name in rows.loc[stored, "w_dtype"]]
    weights = rows.loc[stored, "count"] * rows.loc[stored, "k"] * rows.loc[stored, "n"] * np.array(sizes)
    rows["reuse_bytes"] = np.where(stored, rows["model"].map(weights.groupby(rows["model"]).sum()), np.nan)
    return pandas.concat([rows, _nodes(rows)], ignore_index=True)


def _nodes(rows: DataFrame) -> DataFrame:
    """Make the row of each model that stands for its operators being inside of it; `bytes` are activations of one."""
    operators = rows[rows["op"] != "call"]
    first = operators.groupby("model", sort=False).first()
    counts = operators.groupby("model", sort=False)[["count", "in_layers"]].sum()
    moved = (_activations(operators) * operators["count"]).groupby(operators["model"], sort=False).sum()
    shared = first[[name for name in ("device", "framework", "timing", "threads", "source") if name in first]]
    sizes: dict[str, Any] = {"op": "node", "rows": 1.0, "cols": 1.0, "bytes": moved / counts["count"], "name": "node"}
    return shared.assign(**sizes, count=counts["count"], in_layers=counts["in_layers"]).reset_index()


def _activations(rows: DataFrame) -> Any:
    """Give the bytes of each row's operands and result that are no weights [B]."""
    width = rows["a_dtype"].map(lambda name: 1.0 if name == "int8" else 4.0)
    left, out = rows["m"] * rows["k"] * width, rows["m"] * rows["n"] * RESULT_BYTES
    right = np.where(rows["op"].isin(STORED), 0.0, rows["k"] * rows["n"] * width)
    return (rows["batch"] * (left + right + out)).fillna(rows["bytes"]).fillna(0.0)


def node_calibration(
    table: DataFrame, calibrations: tuple[Calibration, ...], *, date: str, source: str
) -> Calibration | None:
    """Fit `node` to what whole models take beyond their operators as predicted inside of them.

    Each model weighs as its error relative to its time.

    Args:
        table: Measured rows of one library, with `model_forward`.
        calibrations: Of the operators.
        date: Of the fit.
        source: Whose measurements.

    Returns:
        The calibration; None: fewer than `LEAST` models.
    """
    from scipy.optimize import nnls

    rows = inside_models(table)
    whole = table[table["op"] == WHOLE].set_index("model")["latency_us"]
    parts = predict_table(rows[rows["op"] != "node"], calibrations=calibrations)
    sums = (parts["predicted_us"].fillna(parts["latency_us"]) * parts["count"]).groupby(parts["model"]).sum()
    nodes = rows[(rows["op"] == "node") & rows["model"].isin(whole.index)]
    if len(nodes) < LEAST:
        return None
    first = nodes.iloc[0]
    taken, counts = (nodes["model"].map(whole).to_numpy(dtype=float), nodes["count"].to_numpy(dtype=float))
    moved = nodes["bytes"].to_numpy(dtype=float)
    moved_us = moved * processor(str(first["device"])).seconds_per_byte(moved) * 1e6
    beyond = (taken - nodes["model"].map(sums).to_numpy(dtype=float)) / taken
    (each, per_byte), _ = nnls(np.column_stack([counts, counts * moved_us]) / taken[:, None], beyond)
    values = CpuFunctionCoefficients(
        t0_us=max(round(float(each), 4), FLOOR_US), value=1e-3, row=1.0, memory=round(1 / max(float(per_byte), 1e-3), 4)
    )
    off = np.abs(beyond - counts / taken * (each + per_byte * moved_us))
    key = Key("cpu_elementwise", str(first["device"]), "node", "", "", str(first["timing"]), str(first["framework"]))
    return Calibration(
        key=key, coefficients=values, surface=None, band=NODE_BAND, rows=len(nodes), split="none; of whole models",
        date=date, source=source, mean=round(float(off.mean()), 4), median=round(float(np.median(off)), 4),
    )  # fmt: skip


def model_totals(table: DataFrame, calibrations: tuple[Calibration, ...] = ()) -> DataFrame:
    """Predict whole models and their layers from their operators.

    Args:
        table: Rows of `dse measure`: sizes and counts are taken, times are not.
        calibrations: Beside those that ship.

    Returns:
        By model: `predicted_us`, `low_us`, `high_us` (the operators' bands, taken to be wrong together), `layer_us` of
        one layer (NaN: the model has none), and `unknown`, how many operators no calibration serves.
    """
    import pandas

    rows = predict_table(inside_models(table), calibrations=calibrations)
    found: dict[str, Any] = {}
    for name in ("predicted_us", "low_us", "high_us"):
        found[name] = (rows[name] * rows["count"]).groupby(rows["model"], sort=False).sum()
    layers = table[table["op"] == WHOLE].set_index("model")["in_layers"].replace(0, np.nan)
    inside = (rows["predicted_us"] * rows["in_layers"].fillna(0)).groupby(rows["model"], sort=False).sum()
    unknown = rows[rows["predicted_us"].isna()].groupby("model")["count"].sum()
    out = pandas.DataFrame(found)
    return out.assign(layer_us=inside / layers.reindex(out.index), unknown=unknown.reindex(out.index).fillna(0))
