"""A model as it is named on the command line: of the zoo, with its options, or a file, with how it is read."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dse.cli import inputs
from dse.cli.inputs import ModelSource
from dse.cli.zoo_source import ZooOptions, ZooSource, is_zoo_model, refuse_reading
from workloads.errors import WorkloadError, nearest

if TYPE_CHECKING:
    import onnx

__all__ = ["check_free_ops", "model_source"]


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
        check_free_ops(path, reading.get("free_ops", ()))
        return ModelSource(path=path, bind=sizes, measure=measure, **reading)
    if measure:
        raise WorkloadError(f"--weights measure: {model} of the zoo has no stored values; give an .onnx file")
    given = {name: reading.get(name) for name in ("extra_ops", "free_ops", "probabilities", "trips")}
    refuse_reading(model, {"probability" if name == "probabilities" else name: value for name, value in given.items()})
    return ZooSource(model=model, bind=sizes, options=zoo)


def check_free_ops(path: Path, free_ops: Collection[str]) -> None:
    """Refuse an op type to be counted as free that the model, with all bodies and functions, does not hold.

    Raises:
        WorkloadError: One of them; or the model cannot be read.
    """
    from workloads.onnx.files import read_model

    if not free_ops:
        return
    model, name, _ = read_model(path)
    found = {
        op_type for nodes in (model.graph.node, *(item.node for item in model.functions)) for op_type in _ops(nodes)
    }
    for op_type in free_ops:
        if op_type not in found and op_type.rpartition("::")[2] not in found:
            raise WorkloadError(
                f"{name}: --free-ops {op_type}: the model has no such op type; {nearest(op_type, found)}"
            )


def _ops(nodes: Iterable[onnx.NodeProto]) -> Iterator[str]:
    """Give the op types of nodes and of the nodes in their bodies."""
    for node in nodes:
        yield node.op_type
        for attribute in node.attribute:
            for graph in (attribute.g, *attribute.graphs):
                yield from _ops(graph.node)
