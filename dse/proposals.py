"""From the knobs of a design to its techniques and its predicted loss: what `optimize` does to a proposal."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np

from dse.accuracy import AccuracyCurve, Sensitivities
from workloads import compress
from workloads.compress import KEEP_BITS
from workloads.knobs import PerLayer

__all__ = ["key_of", "loss_limits", "loss_of", "predicted_loss", "techniques_of"]


def techniques_of(knobs: Mapping[str, Any]) -> list[compress.Technique]:
    """Give the techniques of a design, leaving out those that change nothing."""
    found: list[compress.Technique] = []
    for name, technique in (("head_density", compress.PruneHeads), ("neuron_density", compress.PruneNeurons)):
        densities = knobs.get(name, {})
        if any(value < 1 for value in densities.values()):
            found.append(technique(density=densities))
    bits = knobs.get("weight_bits", {})
    if any(value < KEEP_BITS for value in bits.values()):
        found.append(compress.Quantize(weight_bits=bits, activation_bits=knobs["activation_bits"]))
    return found


def predicted_loss(sensitivities: Sensitivities, activation: int, point: Any) -> Any:
    """Predict the rise of the loss for a batch of design points (or one)."""
    knobs = {name: getattr(point, name) for name in ("weight_bits", "head_density", "neuron_density") if name in point}
    bits = knobs["weight_bits"]
    if activation == 8:
        knobs["activation_bits"] = PerLayer(bits.blocks, np.where(np.asarray(bits.values) < KEEP_BITS, 8.0, 32.0))
    return sensitivities.predict(knobs)


def loss_of(knobs: Mapping[str, Any], sensitivities: Sensitivities) -> float:
    """Predict the rise of the loss of one design, given by its knobs."""
    layers = {
        name: PerLayer(tuple(values), np.array([list(values.values())], dtype=float))
        for name, values in knobs.items()
        if isinstance(values, Mapping)
    }
    if knobs["activation_bits"] == 8:
        bits = layers["weight_bits"]
        layers["activation_bits"] = PerLayer(bits.blocks, np.where(bits.values < KEEP_BITS, 8.0, 32.0))
    return float(sensitivities.predict(layers)[0])


def loss_limits(loss: Any, curve: AccuracyCurve | None, allowed: float) -> list[float]:
    """Give the predicted losses up to which designs are looked for, the most wanted first."""
    if curve is None:  # nothing measured yet: spread over the range of the front
        low = max(float(np.quantile(loss, 0.02)), 1e-3)
        return [float(limit) for limit in np.geomspace(low, max(float(loss.max()), 2 * low), 7)]
    grid = np.linspace(0, float(curve.rises.max()), 2000)
    drops = curve.predict(grid)
    return [float(grid[drops <= allowed * factor].max()) for factor in (1.0, 0.7, 1.4, 0.4, 3.0, 8.0)]


def key_of(knobs: Mapping[str, Any]) -> str:
    """Say what a design does to the model: two that do the same are one."""
    return json.dumps([technique.to_dict() for technique in techniques_of(knobs)], sort_keys=True)
