"""`dse predict`: the time of every kernel of a table, with an error band."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from pandas import DataFrame

    from hwmodels.kernels.calibration import Calibration

__all__ = ["predict", "read_table"]


def predict(
    table: Annotated[Path, typer.Argument(help="CSV with the columns of the measured tables.", show_default=False)],
    out: Annotated[Path, typer.Option("--out", "-o", help="CSV to write.", show_default=False)],
    calibrate: Annotated[
        Path | None, typer.Option(help="CSV of measured rows (latency_us) to calibrate on; ten are enough.")
    ] = None,
    device: Annotated[str, typer.Option(help="Name or .toml file, instead of the column device.")] = "",
    calibration: Annotated[
        list[Path] | None, typer.Option(help="TOML that `dse calibrate` wrote; may be repeated.")
    ] = None,
) -> None:
    """Predict the time of GPU and CPU kernels: predicted_us, low_us and high_us (80 % of errors), a remark."""
    from dse.files import atomic_write
    from hwmodels.kernels.calibration import read_calibrations
    from hwmodels.kernels.predict import predict_table

    given = tuple(
        item for path in calibration or () for item in read_calibrations(path.read_text(encoding="utf-8"), str(path))
    )
    rows = read_table(table)
    measured = read_table(calibrate) if calibrate is not None else None
    if device:
        rows = rows.assign(device=device)
        measured = measured.assign(device=device) if measured is not None else None
    answer = _with_models(predict_table(rows, measured, given), given)
    with atomic_write(out) as part:
        answer.to_csv(part, index=False)
    predicted = int(answer["predicted_us"].notna().sum())
    print(f"{out}: {predicted} of {len(answer)} rows predicted")
    for reason, number in answer.loc[answer["predicted_us"].isna(), "remark"].value_counts().items():
        print(f"  {number} not predicted: {reason}")


def _with_models(answer: DataFrame, given: tuple[Calibration, ...]) -> DataFrame:
    """Predict the rows of whole models from those of their operators, on CPUs."""
    from hwmodels.kernels.processor_totals import WHOLE, model_totals
    from hwmodels.kernels.processors import is_processor

    if not {"model", "count", "in_layers"} <= set(answer.columns):
        return answer
    on_cpu = answer["device"].astype(str).map(is_processor)
    for (_, _), rows in answer[on_cpu].groupby(["device", "framework"]):
        totals = model_totals(rows.drop(columns=["predicted_us", "low_us", "high_us", "remark"]), given)
        for place in rows.index[rows["op"] == WHOLE]:
            total = totals.loc[rows.loc[place, "model"]]
            for name in ("predicted_us", "low_us", "high_us"):
                answer.loc[place, name] = total[name]
            missing = int(total["unknown"])
            answer.loc[place, "remark"] = f"without {missing} operators that no calibration serves" if missing else ""
    return answer


def read_table(path: Path) -> DataFrame:
    """Read a CSV, or say which file is none."""
    import pandas as pd

    from workloads.errors import SpecError

    try:
        return pd.read_csv(path, low_memory=False)
    except (UnicodeDecodeError, ValueError) as error:  # pandas' own faults are ValueErrors
        raise SpecError(f"{path}: not a CSV table: {error}") from None
