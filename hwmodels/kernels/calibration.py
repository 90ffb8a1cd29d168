"""Calibrations as data: coefficients with what they were fitted on, when, from where, and how far off they are.

`calibration/FAMILY.toml` holds one entry per device, kernel, pair of formats, timing and framework.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from functools import cache
from importlib import resources
from typing import Any

import numpy as np

from hwmodels.kernels.machine import Machine
from hwmodels.kernels.processor_families import family_named
from hwmodels.kernels.records import Array
from hwmodels.kernels.surface import Surface
from hwmodels.kernels.tables import Key
from workloads.errors import SpecError

__all__ = ["Calibration", "calibrations", "read_calibrations", "write_calibrations"]

COVER = 0.8
"""Share of held-out rows inside the error band."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """What was fitted for one key.

    Attributes:
        key: Family, device, kernel, formats, timing, framework.
        coefficients: Of the family's formula.
        surface: Correction on top; None: none.
        band: Logarithms of measured over predicted between which 80 % of held-out rows lie.
        rows: How many rows it was fitted on.
        split: What was held out for the band.
        mean: Mean absolute error of held-out rows.
        median: Its median.
        date: Of the fit.
        source: Whose measurements.
    """

    key: Key
    coefficients: Any
    surface: Surface | None
    band: tuple[float, float]
    rows: int
    split: str
    mean: float
    median: float
    date: str
    source: str

    def predict(self, record: Any, device: Machine | None) -> tuple[Array, Array, Array]:
        """Predict times, and the ends of their error band, each of shape (rows,) [us]."""
        family = family_named(self.key.family)
        time = family.time_us(record, device, self.coefficients, self.key.kernel)
        if self.surface is not None:
            time = time * self.surface.factor(record.features())
        return time, time * np.exp(self.band[0]), time * np.exp(self.band[1])


@cache
def calibrations(family: str) -> tuple[Calibration, ...]:
    """Give the calibrations that ship for a family of kernels.

    Example:
        >>> calibrations("gemm")[0].key.family
        'gemm'
    """
    path = resources.files("hwmodels") / "calibration" / f"{family}.toml"
    return read_calibrations(path.read_text(encoding="utf-8"), f"calibration/{family}.toml")


def read_calibrations(text: str, origin: str) -> tuple[Calibration, ...]:
    """Read calibrations from TOML.

    Args:
        text: As `write_calibrations` writes it.
        origin: Name of the file, for messages.

    Raises:
        SpecError: Not TOML, or an entry lacks something.
    """
    from hwmodels.reading import read_toml

    found = []
    for number, entry in enumerate(read_toml(text, origin).get("entry", [])):
        try:
            key = Key(**entry["key"])
            fitted = {name: float(value) for name, value in entry["coefficients"].items()}
            surface = entry.get("surface")
            found.append(
                Calibration(
                    key=key,
                    coefficients=family_named(key.family).coefficients(**fitted),
                    surface=Surface(**{name: tuple(value) for name, value in surface.items()}) if surface else None,
                    band=(entry["band"][0], entry["band"][1]),
                    **{name: entry[name] for name in ("rows", "split", "mean", "median", "date", "source")},
                )
            )
        except (KeyError, TypeError, ValueError, IndexError) as error:
            raise SpecError(f"{origin}: entry {number + 1}: {error}; dse calibrate writes them") from None
    return tuple(found)


def write_calibrations(items: tuple[Calibration, ...], written_by: str = "reports/training/kernels_fit.py") -> str:
    """Write calibrations as TOML text that `read_calibrations` reads back."""
    lines = [f"# Written by {written_by}: coefficients only, fitted on the named sources."]
    for item in items:
        lines += ["", "[[entry]]", f"band = {list(item.band)}", f"rows = {item.rows}"]
        lines += [f"{name} = {getattr(item, name)}" for name in ("mean", "median")]
        lines += [f'{name} = "{getattr(item, name)}"' for name in ("split", "date", "source")]
        lines += ["[entry.key]", *[f'{name} = "{value}"' for name, value in asdict(item.key).items()]]
        lines += ["[entry.coefficients]", *[f"{name} = {value}" for name, value in asdict(item.coefficients).items()]]
        if item.surface is not None:
            lines += ["[entry.surface]", *[f"{name} = {list(v)}" for name, v in asdict(item.surface).items()]]
    return "\n".join(lines) + "\n"
