"""Calibrations as data: coefficients with what they were fitted on, when, from where, and how far off they are.

`calibration/FAMILY.toml` holds one entry per device, kernel, pair of formats, timing and framework.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from functools import cache
from importlib import resources
from typing import Any

import numpy as np

from hwmodels.kernels.families import FAMILIES
from hwmodels.kernels.machine import Machine, machine
from hwmodels.kernels.records import Array
from hwmodels.kernels.surface import Surface
from hwmodels.kernels.tables import Key
from workloads.errors import SpecError

__all__ = ["Calibration", "Found", "calibrations", "find", "read_calibrations", "write_calibrations"]

COVER = 0.8
"""Share of held-out rows inside the error band."""

FOREIGN = {"gemm": 3.0, "elementwise": 3.0, "attention_prefill": 6.0, "attention_decode": 6.0, "collective": 3.0}
"""How much wider, in logarithms, the band of a device is that took another one's calibration, by family.

Assumption, about what reports/kernels.md shows: mean errors on devices that the fit did not see are 1.0 to 2.3 times
those of held-out shapes on devices that it saw for 16-bit products, 2.9 to 8 times for attention. For element-wise
kernels nothing was verified.
"""


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
        family = FAMILIES[self.key.family]
        time = family.time_us(record, device, self.coefficients, self.key.kernel)
        if self.surface is not None:
            time = time * self.surface.factor(record.features())
        return time, time * np.exp(self.band[0]), time * np.exp(self.band[1])


@dataclass(frozen=True, slots=True)
class Found:
    """The calibration that serves a key, and what it is not: "" where it is the very one."""

    calibration: Calibration
    remark: str


def find(key: Key, device: Machine | None, among: tuple[Calibration, ...]) -> Found:
    """Find the calibration nearest to a key: same kernel and formats, then timing, device, architecture, framework.

    Args:
        key: What is to be predicted.
        device: Its machine; None: collectives.
        among: Calibrations of the family.

    Raises:
        SpecError: None of the kernel and formats; collectives of another machine.
    """
    fitting = [item for item in among if _same_kernel(item.key, key)]
    if not fitting:
        raise SpecError(f"no calibration of {key.kernel} with {key.a_format} {key.w_format}".rstrip())
    best = max(fitting, key=lambda item: _nearness(item.key, key, device))
    other = _plain(best.key.device) != _plain(device.name if device else key.device)
    if other and device is None:
        raise SpecError(f"no calibration of {key.kernel} on {key.device}: links of another machine say nothing of it")
    remarks = [f"calibrated on {best.key.device}"] if other else []
    if best.key.timing != key.timing:
        remarks.append(f"timing {best.key.timing}")
    if best.key.framework != key.framework:
        remarks.append(f"framework {best.key.framework}")
    if not remarks:
        return Found(best, "")
    wider = FOREIGN[key.family] / (1 if other else 2)
    return Found(replace(best, band=(best.band[0] * wider, best.band[1] * wider)), "; ".join(remarks))


SIXTEEN = {"bf16": "fp16"}


def _same_kernel(one: Key, key: Key) -> bool:
    """Say whether a kernel and its formats are those of a key; both 16-bit formats run on the same path."""
    formats = [
        (SIXTEEN.get(item.a_format, item.a_format), SIXTEEN.get(item.w_format, item.w_format)) for item in (one, key)
    ]
    return one.kernel == key.kernel and formats[0] == formats[1]


def _nearness(one: Key, key: Key, device: Machine | None) -> tuple[bool, ...]:
    name = device.name if device else key.device
    same = _plain(one.device) == _plain(name)
    related = device is not None and machine(one.device).architecture == device.architecture
    return same, related, one.timing == key.timing, one.framework == key.framework, one.a_format == key.a_format


def _plain(name: str) -> str:
    return name.lower().replace("-", "_")


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
                    coefficients=FAMILIES[key.family].coefficients(**fitted),
                    surface=Surface(**{name: tuple(value) for name, value in surface.items()}) if surface else None,
                    band=(entry["band"][0], entry["band"][1]),
                    **{name: entry[name] for name in ("rows", "split", "mean", "median", "date", "source")},
                )
            )
        except (KeyError, TypeError, ValueError, IndexError) as error:
            raise SpecError(
                f"{origin}: entry {number + 1}: {error}; reports/training/kernels_fit.py writes them"
            ) from None
    return tuple(found)


def write_calibrations(items: tuple[Calibration, ...]) -> str:
    """Write calibrations as TOML text that `read_calibrations` reads back."""
    lines = ["# Written by reports/training/kernels_fit.py: coefficients only, fitted on the named sources."]
    for item in items:
        lines += ["", "[[entry]]", f"band = {list(item.band)}", f"rows = {item.rows}"]
        lines += [f"{name} = {getattr(item, name)}" for name in ("mean", "median")]
        lines += [f'{name} = "{getattr(item, name)}"' for name in ("split", "date", "source")]
        lines += ["[entry.key]", *[f'{name} = "{value}"' for name, value in asdict(item.key).items()]]
        lines += ["[entry.coefficients]", *[f"{name} = {value}" for name, value in asdict(item.coefficients).items()]]
        if item.surface is not None:
            lines += ["[entry.surface]", *[f"{name} = {list(v)}" for name, v in asdict(item.surface).items()]]
    return "\n".join(lines) + "\n"
