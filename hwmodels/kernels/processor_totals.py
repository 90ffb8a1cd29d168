"""Whole models on a CPU: their operators, what they take more inside of a model, and the call around them.

Inside of a model an operator takes somewhat longer than alone in a loop: its instructions and operands were driven out
of the innermost caches, its result needs memory (operation `node`: so much per operator and per byte of activations);
and weights come from where all weights of the model lie (`weights`: per byte at the bandwidth of that level). Both are
fitted to what whole models take beyond their operators.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from hwmodels.kernels.calibration import Calibration
from hwmodels.kernels.cpu import RESULT_BYTES, CpuFunctionCoefficients
from hwmodels.kernels.predict import predict_table
from hwmodels.kernels.processors import Processor, processor
from hwmodels.kernels.records import Array, element_bytes
from hwmodels.kernels.tables import Key
from workloads.errors import SpecError

if TYPE_CHECKING:
    from pandas import DataFrame

__all__ = ["WHOLE", "inside_calibrations", "inside_models", "model_totals"]

WHOLE = "model_forward"
LEAST = 3  # models
FLOOR = 1e-4
BAND = (-0.7, 0.7)
"""Ends of the band of `node` and `weights`, in logarithms: half to twice. Assumption: no single operator shows them."""

STORED = ("gemm", "gemm_dynamic", "gemm_static", "gemm_nbits", "gemm_nbits_dynamic", "conv")
"""Products whose right operand is a stored weight."""

INSIDE = ("node", "weights")


def inside_models(table: DataFrame) -> DataFrame:
    """Add to the operators of models the rows `node` and `weights`.

    Args:
        table: Rows of `dse measure`; one model or several, by the column `model`.

    Returns:
        The rows of operators, without fused kernels that stand beside those which they replace; per model one row
        `node` that counts its operators and has the bytes of their activations on average, and one row `weights` with
        the bytes of all products' weights.

    Raises:
        SpecError: A column is missing.
    """
    import pandas

    for name in ("op", "model", "count"):
        if name not in table.columns:
            raise SpecError(f"totals of models need the column {name!r}, as dse measure writes it")
    rows = table[(table["op"] != WHOLE) & ~_stands_in(table)].reset_index(drop=True)
    operators = rows[rows["op"] != "call"]
    first = operators.groupby("model", sort=False).first()
    shared = first[[name for name in ("device", "framework", "timing", "threads", "source") if name in first]]
    added = [_row(shared, name, operators) for name in INSIDE]
    every: DataFrame = pandas.concat([rows, *added], ignore_index=True)
    return every


def _stands_in(table: DataFrame) -> Any:
    """Say which rows are fused kernels beside the operators that they replace, as `dse measure` notes it."""
    if "note" not in table.columns:
        return np.zeros(len(table), dtype=bool)
    return table["note"].astype(object).fillna("").astype(str).str.startswith("fused")


def _row(shared: DataFrame, name: str, operators: DataFrame) -> DataFrame:
    """Make a row per model: of its operators on average, or of all weights at once."""
    moved = _activations(operators) if name == "node" else _weights(operators)
    inside = operators["in_layers"].fillna(0) / operators["count"]

    def total(values: Any) -> Any:
        return values.groupby(operators["model"], sort=False).sum()

    every = moved * operators["count"]
    if name == "node":
        count, layers = total(operators["count"]), total(operators["in_layers"].fillna(0))
        size = total(every) / count
    else:
        count, size = 1.0, total(every).clip(lower=1)
        layers = total(every * inside) / size
    values: dict[str, Any] = {"op": name, "name": name, "rows": 1.0, "cols": 1.0, "bytes": size, "count": count}
    made: DataFrame = shared.assign(**values, in_layers=layers).reset_index()
    return made


def _activations(rows: DataFrame) -> Any:
    """Give the bytes of each row's operands and result that are no weights [B]."""
    width = rows["a_dtype"].map(lambda name: 1.0 if name == "int8" else 4.0)
    left, out = rows["m"] * rows["k"] * width, rows["m"] * rows["n"] * RESULT_BYTES
    right = np.where(rows["op"].isin(STORED), 0.0, rows["k"] * rows["n"] * width)
    return (rows["batch"] * (left + right + out)).fillna(rows["bytes"]).fillna(0.0)


def _weights(rows: DataFrame) -> Any:
    """Give the bytes of each row's stored weight; 0: none [B]."""
    stored = rows["op"].isin(STORED)
    size = [element_bytes(str(name)) if known else 0.0 for name, known in zip(rows["w_dtype"], stored, strict=True)]
    return (rows["k"] * rows["n"] * np.array(size)).where(stored, 0.0)


def inside_calibrations(
    table: DataFrame, calibrations: tuple[Calibration, ...], *, date: str, source: str
) -> tuple[Calibration, ...]:
    """Fit `node` and `weights` to what whole models take beyond their operators as predicted.

    Each model weighs as its error relative to its time.

    Args:
        table: Measured rows of one library, with `model_forward`.
        calibrations: Of the operators.
        date: Of the fit.
        source: Whose measurements.

    Returns:
        Both; none where there are fewer than `LEAST` models.
    """
    from scipy.optimize import nnls

    rows = inside_models(table)
    whole = table[table["op"] == WHOLE].set_index("model")["latency_us"]
    parts = predict_table(rows[~rows["op"].isin(INSIDE)], calibrations=calibrations)
    sums = (parts["predicted_us"].fillna(parts["latency_us"]) * parts["count"]).groupby(parts["model"]).sum()
    nodes, weights = (rows[rows["op"] == name].set_index("model").reindex(whole.index) for name in INSIDE)
    if len(whole) < LEAST:
        return ()
    cpu = processor(str(nodes["device"].iloc[0]))
    counts = nodes["count"].to_numpy(dtype=float)
    near, far = (_moved_us(item["bytes"].to_numpy(dtype=float), cpu) for item in (nodes, weights))
    taken = whole.to_numpy(dtype=float)
    beyond = 1 - sums.reindex(whole.index).to_numpy(dtype=float) / taken
    terms = np.column_stack([counts, counts * near, far]) / taken[:, None]
    (each, per_byte, per_weight), _ = nnls(terms, beyond)
    off = np.abs(beyond - terms @ np.array([each, per_byte, per_weight]))
    first = nodes.iloc[0]
    made = []
    for name, constant, slope in (("node", each, per_byte), ("weights", 0.0, per_weight)):
        key = Key("cpu_elementwise", str(first["device"]), name, "", "", str(first["timing"]), str(first["framework"]))
        values = CpuFunctionCoefficients(
            t0_us=_rounded(constant), value=1e-3, row=1.0, memory=_rounded(1 / max(float(slope), 1e-3)), blend=1e-3
        )
        errors = {"mean": _rounded(off.mean()), "median": _rounded(np.median(off))}
        made.append(Calibration(key=key, coefficients=values, surface=None, band=BAND, rows=len(off), date=date,
                                split="none; errors of whole models", source=source, **errors))  # fmt: skip
    return tuple(made)


def _moved_us(size: Array, cpu: Processor) -> Array:
    return np.asarray(size * cpu.seconds_per_byte(size) * 1e6)


def _rounded(value: float | np.floating[Any]) -> float:
    return max(round(float(value), 4), FLOOR)


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
