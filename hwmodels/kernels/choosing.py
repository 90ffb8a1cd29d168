"""Which form of a formula rows support: few coefficients or all, without or with a correction, narrow or wide.

The form is chosen by cross-validation within the rows that a fit sees, so that rows held out from the fit are held out
from the choice too.

Source: Stone, Cross-validatory choice and assessment of statistical predictions, 1974; nested as in Varma and Simon,
Bias in error estimation when using cross-validation for model selection, 2006. Bands: Lei et al., Distribution-free
predictive inference for regression, 2018, section 2.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from hwmodels.kernels.families import Family
from hwmodels.kernels.fitting import LEAST, correction, fit_rows
from hwmodels.kernels.machine import Machine
from hwmodels.kernels.records import Array, Places, some
from hwmodels.kernels.surface import Surface

__all__ = ["Form", "band_of", "choose_form", "forms_of"]

GAIN = 0.98  # a larger form must bring the error below this share of a smaller one's
MANY = 1000  # rows above which few coefficients are not tried
ROUNDS = 6  # of a search that starts at the coefficients of all rows
BAND = (0.1, 0.9)
FAR = (0.04, 0.96)  # no end lies beyond these shares of the residuals, widened
COVER = 0.8  # share of rows inside a band, as the other folds' residuals give it
WIDER = np.linspace(1.0, 2.5, 16)  # how much wider than those residuals a band may become
NARROWEST = 0.01  # half width, in logarithms


@dataclass(frozen=True, slots=True)
class Form:
    """A form of a family's formula: the coefficients that are fitted, and the lengths of its correction (): none."""

    free: tuple[str, ...]
    lengths: tuple[float, ...]

    def text(self) -> str:
        """Say it in a few words."""
        reach = " x ".join(f"{value:g}" for value in self.lengths)
        return f"{len(self.free)} coefficients, " + (f"correction {reach}" if reach else "no correction")


def forms_of(family: Family, rows: int) -> list[Form]:
    """List the forms of a family, from small to large."""
    every = tuple(asdict(family.coefficients()))
    frees = [every] if rows > MANY else [family.few, every]
    kinds: tuple[tuple[float, ...], ...] = ((), *family.corrections) if rows >= LEAST else ((),)
    return [Form(free, lengths) for lengths in kinds for free in frees]


def choose_form(
    family: Family, record: Any, machine: Machine | None, measured: Array, kernel: str, fold: Places
) -> tuple[Form, Array, Any]:
    """Choose the form with the least error on held-out folds.

    Args:
        family: The formula.
        record: Kernels.
        machine: Their device; None: collectives.
        measured: Their times, shape (rows,) [us].
        kernel: Operation.
        fold: Number of the fold that each row is held out in.

    Returns:
        The form, the logarithms of measured over predicted of held-out rows under it, and its coefficients.
    """
    forms = forms_of(family, len(measured))
    whole = [(record, machine, measured)]
    starts = {form.free: fit_rows(family, whole, kernel, lengths=(), free=form.free)[0] for form in forms[:2]}
    ratios = {form: np.full(len(measured), np.nan) for form in forms}
    for number in np.unique(fold):
        seen, held = fold != number, fold == number
        rows = [(some(record, seen), machine, measured[seen])]
        for free, start in starts.items():
            values, _ = fit_rows(family, rows, kernel, start, lengths=(), free=free, rounds=ROUNDS)
            away = some(record, held)
            plain = np.log(measured[held] / family.time_us(away, machine, values, kernel))
            for form in (form for form in forms if form.free == free):
                surface = _correction(family, rows, kernel, values, form.lengths)
                ratios[form][held] = plain - (np.log(surface.factor(away.features())) if surface else 0)
    best = forms[0]
    for form in forms[1:]:
        if _error(ratios[form]) < GAIN * _error(ratios[best]):
            best = form
    return best, ratios[best], starts[best.free]


def _correction(family: Family, rows: Any, kernel: str, values: Any, lengths: tuple[float, ...]) -> Surface | None:
    return correction(family, rows, kernel, values, lengths) if lengths and len(rows[0][2]) >= LEAST else None


def _error(ratio: Array) -> float:
    return float(np.abs(np.exp(-ratio) - 1).mean())


def band_of(ratio: Array, fold: Places, units: int) -> tuple[float, float]:
    """Give the ends of an 80 % band from the residuals of held-out rows, in logarithms.

    Rows of one unit err together: the ends move apart until each fold, on average, has 80 % of its rows within the
    ends that the other folds give, and they lie as far out as so few units ask for, no farther than all rows but 8 %.

    Args:
        ratio: Logarithms of measured over predicted, shape (rows,).
        fold: Of each row.
        units: How many models, (n, k) pairs or sizes there are.
    """
    numbers = np.unique(fold)
    wider = WIDER[0]
    if len(numbers) > 1:
        for wider in WIDER:
            inside = [_inside(ratio[fold == n], _ends(ratio[fold != n], wider, units)) for n in numbers]
            if np.mean(inside) >= COVER:
                break
    return _ends(ratio, wider, units)


def _ends(ratio: Array, wider: float, units: int) -> tuple[float, float]:
    open_share = 1 + 1 / units
    shares = (max(1 - (1 - BAND[0]) * open_share, FAR[0]), min(BAND[1] * open_share, FAR[1]))
    low, high = np.quantile(ratio, shares)
    middle = (low + high) / 2
    half = max((high - low) / 2 * wider, NARROWEST)
    return float(middle - half), float(middle + half)


def _inside(ratio: Array, ends: tuple[float, float]) -> float:
    return float(((ratio >= ends[0]) & (ratio <= ends[1])).mean())
