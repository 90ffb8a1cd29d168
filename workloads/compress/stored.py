"""Techniques as plain data and back: chosen designs are stored as JSON."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from workloads.compress.prune import PrunedUnits, PruneHeads, PruneNeurons
from workloads.compress.quantize import Quantize
from workloads.compress.technique import LayerNum
from workloads.errors import TechniqueError, nearest
from workloads.knobs import PerLayer

__all__ = ["from_dict"]


def from_dict(data: Mapping[str, Any]) -> Quantize | PruneHeads | PruneNeurons | PrunedUnits:
    """Read a technique that `to_dict` wrote, also after a trip through JSON text.

    Args:
        data: With the key "technique"; the others are the technique's parameters or decisions.

    Raises:
        TechniqueError: The technique or a parameter is unknown, or a value is out of range.

    Example:
        >>> import json
        >>> text = json.dumps(Quantize(weight_bits={"layer": 4}).to_dict())
        >>> from_dict(json.loads(text)).weight_bits
        {'layer': 4}
    """
    given = dict(data)
    kind = given.pop("technique", None)
    if "kept" in given:
        return PrunedUnits(technique=str(kind), kept={b: tuple(map(int, u)) for b, u in given["kept"].items()})
    classes: dict[str, type[Quantize] | type[PruneHeads] | type[PruneNeurons]] = {
        "PruneHeads": PruneHeads,
        "PruneNeurons": PruneNeurons,
        "Quantize": Quantize,
    }
    if not isinstance(kind, str) or kind not in classes:
        raise TechniqueError(f"unknown technique {kind!r}; {nearest(str(kind), classes)}")
    for name in ("weight_bits", "density"):
        if name in given:
            given[name] = _layer_number(given[name])
    if "blocks" in given:
        given["blocks"] = tuple(given["blocks"])
    try:
        return classes[kind](**given)
    except TypeError as error:
        raise TechniqueError(f"{kind}: cannot be read from {sorted(given)}: {error}") from None


def _layer_number(value: Any) -> LayerNum:
    if isinstance(value, Mapping) and set(value) == {"blocks", "values"}:
        return PerLayer(tuple(value["blocks"]), np.asarray(value["values"]))
    return np.asarray(value) if isinstance(value, list) else value
