"""A model as it is named on the command line: of the zoo, with its options, or a file, with how it is read."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dse.cli import inputs
from dse.cli.inputs import ModelSource
from dse.cli.zoo_source import ZooOptions, ZooSource, is_zoo_model, refuse_reading
from workloads.errors import WorkloadError

__all__ = ["model_source"]


def model_source(
    model: str, sizes: Mapping[str, int], zoo: ZooOptions, measure: bool = False, **reading: Any
) -> ModelSource | ZooSource:
    """Find a model.

    Args:
        model: A published name, a config.json or a folder with one; else an .onnx file or the name of one.
        sizes: Of symbolic dims.
        zoo: What of a zoo model is computed.
        measure: Whether to measure what the weights really store.
        reading: How a file is read, as the fields of `ModelSource`.

    Raises:
        WorkloadError: Neither a file nor a name, or an option is for the other of them.
    """
    if not is_zoo_model(model):
        zoo.refuse(model)
        path = inputs.model_path(model)
        inputs.check_free_ops(path, reading.get("free_ops", ()))
        return ModelSource(path=path, bind=sizes, measure=measure, **reading)
    if measure:
        raise WorkloadError(f"--weights measure: {model} of the zoo has no stored values; give an .onnx file")
    given = {name: reading.get(name) for name in ("extra_ops", "free_ops", "probabilities", "trips")}
    refuse_reading(model, {"probability" if name == "probabilities" else name: value for name, value in given.items()})
    return ZooSource(model=model, bind=sizes, options=zoo)
