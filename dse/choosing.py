"""Which measured design is recommended for a device: by prediction, and for this machine by what it measured."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from dse.measure.timing import Timing, ratio, time_models
from workloads import compress

if TYPE_CHECKING:
    from dse.measure.timing import Feeds
    from dse.pipeline import Optimized

__all__ = ["LOCAL", "choose_by_speed", "in_order", "measured_gain", "time_designs", "warnings_of"]

LOCAL = "local"
"""The device that is this machine: its designs can be timed."""

TIMED = 4
"""Designs of the local device that are timed: those that are predicted best."""


def in_order(values: NDArray[np.float64], sizes: NDArray[np.float64], allowed: NDArray[np.bool_]) -> list[int]:
    """Order the allowed designs, best first: by the objective; of those within 1 % of the best, by size.

    Args:
        values: The objective, shape (n_designs,).
        sizes: Bytes of the weights, shape (n_designs,).
        allowed: Designs that may be chosen, shape (n_designs,).

    Example:
        >>> in_order(np.array([2.0, 1.005, 1.0]), np.array([1.0, 1.0, 5.0]), np.array([True, True, True]))
        [1, 2, 0]
    """
    candidates = np.flatnonzero(allowed)
    ordered = candidates[np.argsort(values[candidates], kind="stable")]
    near = values[ordered] <= values[ordered].min() * 1.01
    ties = ordered[near]
    return [*ties[np.argsort(sizes[ties], kind="stable")].tolist(), *ordered[~near].tolist()]


def time_designs(found: Optimized, feeds: Feeds, seconds_limit: float) -> dict[str, Timing]:
    """Time the uncompressed model, the chosen designs and the best candidates of the local device, interleaved.

    Args:
        found: The result.
        feeds: Inputs of the model.
        seconds_limit: As of `time_models` [s].

    Raises:
        MeasureError: ONNX Runtime refuses a model.
    """
    names = [found.designs[0].name, *found.chosen.values(), *found.eligible.get(LOCAL, ())[:TIMED]]
    models: dict[str, Any] = {}
    for name in dict.fromkeys(names):
        techniques = found.design(name).techniques
        models[name] = compress.apply(found.model, *techniques) if techniques else found.model
    return time_models(models, feeds, seconds_limit=seconds_limit)


def measured_gain(found: Optimized, timings: Mapping[str, Timing], name: str) -> float:
    """Give how many times faster than the uncompressed model a design ran on this machine; NaN: it was not timed."""
    base = found.designs[0].name
    if name not in timings or base not in timings:
        return float("nan")
    return ratio(timings[base], timings[name]).median


def choose_by_speed(found: Optimized, timings: Mapping[str, Timing]) -> Optimized:
    """Let the local device's choice follow what was measured: never a design that is slower than the original.

    With the objective latency_s it is the design that ran fastest; with energy_j the best predicted one of those that
    are not slower. Where every timed design that meets the limits is slower, the uncompressed model is chosen if it
    meets them too, else the fastest. With size_bytes speed is not what was asked for: the choice stays, and
    `warnings_of` says how slow it is.
    """
    timed = [name for name in found.eligible.get(LOCAL, ()) if name in timings]
    if not timed or found.objective == "size_bytes":
        return found
    gains = {name: measured_gain(found, timings, name) for name in timed}
    best = max(gains, key=lambda name: gains[name])
    if found.objective != "latency_s":
        best = next((name for name in timed if gains[name] >= 1), best)
    return replace(found, chosen={**found.chosen, LOCAL: best})


def warnings_of(found: Optimized, timings: Mapping[str, Timing]) -> Sequence[str]:
    """Say where the local device's choice is the uncompressed model for want of a faster one, or is slower than it."""
    name, base = found.chosen.get(LOCAL, ""), found.designs[0].name
    if not name or base not in timings:
        return ()
    if name == base:
        return (f"{LOCAL}: no design that meets the limits was measured faster than the uncompressed model",)
    gain = measured_gain(found, timings, name)
    if gain >= 1 or np.isnan(gain):
        return ()
    what = f"{name} runs at {gain:.2f}x the speed of the uncompressed model, measured"
    return (f"{LOCAL}: {what}; it was chosen for the least {found.objective}",)
