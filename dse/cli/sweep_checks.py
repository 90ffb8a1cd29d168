"""What is checked of a sweep before it makes a folder: that knobs do something, and their values, by the model."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from dse.batches import Model, evaluate_points
from workloads.errors import DseError, SpaceError

if TYPE_CHECKING:
    from dse.space import Genes, Space

__all__ = ["check_effects", "check_values"]

MOST_VALUES = 1024
"""Of one knob that are tried: more are a grid, whose ends and steps say enough."""


def check_values(space: Space, model: Model, path: Path) -> None:
    """Cost every value of every knob once, the other knobs at their first value, so that a bad one is found at once.

    Of a range, both ends and a point between them.

    Raises:
        SpaceError: The model refuses a value; the file is named.
    """
    try:
        evaluate_points(space, model, np.concatenate([_values_of(space, name) for name in space.names]))
    except DseError as error:
        raise SpaceError(f"{path}: space: {error}") from None


def check_effects(space: Space, path: Path) -> None:
    """Refuse knobs that change no point, because what they belong to is never turned on.

    Raises:
        SpaceError: Naming the file, the knob and what it needs.
    """
    knobs = space.knobs
    dynamic = "activation_bits" in knobs and 8 in knobs["activation_bits"].values
    if "granularity" in knobs and not dynamic and "weight_bits" not in knobs:
        raise SpaceError(f"{path}: space.granularity: no weight is quantized; add weight_bits, or leave it out")
    if "group_size" in knobs and not ("granularity" in knobs and "group" in knobs["granularity"].values):
        raise SpaceError(
            f'{path}: space.group_size: weights have no groups; add granularity = ["group"], or leave it out'
        )


def _values_of(space: Space, name: str) -> Genes:
    count = len(space.knobs[name].values)
    within = np.array([0.0, 1 / 3, 1.0])  # of a range
    values = np.linspace(0, count - 1, min(count, MOST_VALUES)).round() if count else within
    genes = np.zeros((len(values), space.genes))
    genes[:, space.position(name)] = values[:, None]
    return genes
