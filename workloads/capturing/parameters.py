"""Torch's parameter names on the initializers of an export."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from workloads.onnx.stored import stored_array

if TYPE_CHECKING:
    import onnx
    import torch

__all__ = ["PARAMETER_KEY", "TRANSPOSED_KEY", "name_parameters"]

PARAMETER_KEY = "dse.torch_name"
"""Initializer metadata: the parameter that it holds; several, with commas, where they hold the same values."""

TRANSPOSED_KEY = "dse.torch_transposed"
"""Initializer metadata, "1": it holds the parameter transposed, as exporters fold a Linear layer."""

_PREFIX = "module."
_SMALLEST = 2  # a scalar that happens to equal a one-element parameter is no evidence
_LOCAL = ("pkg.torch.onnx.stack_trace", "pkg.torch.onnx.fx_node", "pkg.torch.export.ExportedProgram.graph_signature")
"""Notes that exporters leave behind: paths of this machine, and listings that grow with the model."""


def name_parameters(model: onnx.ModelProto, module: torch.nn.Module, folder: Path) -> int:
    """Write into the metadata of every initializer which parameter of the module it holds.

    An initializer is known by its name, or by its values: exporters transpose and rename what they fold. The prefix of
    our wrapper and the exporters' local notes are dropped.

    Args:
        model: The export; changed in place.
        module: Its source.
        folder: Where its external data lies.

    Returns:
        How many initializers hold a parameter.
    """
    parameters = dict(module.named_parameters(remove_duplicate=False)) | dict(module.named_buffers())
    _drop_prefix(model)
    by_content: dict[str, tuple[list[str], bool]] | None = None
    found = 0
    for tensor in model.graph.initializer:
        names, transposed = ([tensor.name], False) if tensor.name in parameters else ([], False)
        if not names and int(np.prod(tensor.dims)) >= _SMALLEST:
            by_content = by_content or _contents(parameters)
            names, transposed = by_content.get(_hash(stored_array(tensor, folder)), ([], False))
        if names:
            found += 1
            tensor.metadata_props.add(key=PARAMETER_KEY, value=",".join(names))
            if transposed:
                tensor.metadata_props.add(key=TRANSPOSED_KEY, value="1")
    return found


def _contents(parameters: dict[str, torch.Tensor]) -> dict[str, tuple[list[str], bool]]:
    """Index the parameters by their values, as they are and transposed."""
    index: dict[str, tuple[list[str], bool]] = {}
    arrays = {name: _array(tensor) for name, tensor in parameters.items()}
    for name, array in arrays.items():
        index.setdefault(_hash(array), ([], False))[0].append(name)
    for name, array in arrays.items():
        if array.ndim == 2:
            names, transposed = index.setdefault(_hash(array.T), ([], True))
            if transposed and name not in names:
                names.append(name)
    return index


def _array(tensor: torch.Tensor) -> NDArray[Any]:
    import torch

    plain = tensor.detach().cpu().contiguous()
    return plain.view(torch.int16).numpy() if plain.dtype == torch.bfloat16 else plain.numpy()


def _hash(array: NDArray[Any]) -> str:
    digest = hashlib.blake2b(f"{array.shape} {array.dtype.itemsize}".encode(), digest_size=16)
    digest.update(np.ascontiguousarray(array).view(np.uint8).data if array.size else b"")
    return digest.hexdigest()


def _drop_prefix(model: onnx.ModelProto) -> None:
    graph = model.graph
    stored = {tensor.name for tensor in graph.initializer if tensor.name.startswith(_PREFIX)}
    for tensor in graph.initializer:
        tensor.name = tensor.name.removeprefix(_PREFIX) if tensor.name in stored else tensor.name
    for node in _nodes(graph):
        node.name = _unwrapped(node.name)
        node.input[:] = [name.removeprefix(_PREFIX) if name in stored else name for name in node.input]
    for info in graph.value_info:
        info.name = info.name.removeprefix(_PREFIX) if info.name in stored else info.name
    for record in (model, graph, *_nodes(graph), *graph.value_info, *graph.initializer, *model.functions):
        kept = [(entry.key, entry.value) for entry in record.metadata_props if entry.key not in _LOCAL]
        del record.metadata_props[:]
        for key, value in kept:
            record.metadata_props.add(key=key, value=value)


def _nodes(graph: onnx.GraphProto) -> Iterator[onnx.NodeProto]:
    """Give the nodes of a graph and of the bodies inside them, which read its initializers too."""
    for node in graph.node:
        yield node
        for attribute in node.attribute:
            for body in (attribute.g, *attribute.graphs):
                yield from _nodes(body)


def _unwrapped(name: str) -> str:
    """Drop the wrapper's scope from a node name of the legacy exporter: /module/layer/MatMul."""
    return name.replace(f"/{_PREFIX[:-1]}/", "/", 1) if name.startswith(f"/{_PREFIX[:-1]}/") else name
