"""Edits of ONNX models that techniques share: stored weights in and out, nodes replaced in place."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from workloads.errors import TechniqueError
from workloads.onnx import BITS_KEY, load_onnx, named_nodes
from workloads.workload import Workload

if TYPE_CHECKING:
    import onnx

__all__ = ["ModelEditor", "workload_of"]

MICROSOFT = "com.microsoft"


def workload_of(model: onnx.ModelProto) -> Workload:
    """Load a model at some size: techniques need its structure, whatever the batch is.

    Symbols get sizes that are unlikely to coincide with a model dim, so that axes are not confused.
    """
    stored = {tensor.name for tensor in model.graph.initializer}
    symbols: dict[str, int] = {}
    for item in model.graph.input:
        if item.name in stored:
            continue
        for position, dim in enumerate(item.type.tensor_type.shape.dim):
            if not dim.HasField("dim_value"):
                symbols.setdefault(dim.dim_param or f"{item.name}.{position}", 2 if position == 0 else 17)
    return load_onnx(model, missing_weights="allow", **symbols)


class ModelEditor:
    """A private copy of a model while a technique edits it.

    It changes until `finish` hands the model over; techniques never change the model that they are given.
    """

    def __init__(self, model: onnx.ModelProto) -> None:
        import onnx

        self.model = onnx.ModelProto()
        self.model.CopyFrom(model)
        self._refuse_missing_data()
        self.initializers = {tensor.name: tensor for tensor in self.model.graph.initializer}
        self.nodes = dict(named_nodes(self.model))
        self.position = {name: index for index, name in enumerate(self.nodes)}
        self._replacements: dict[int, list[Any]] = {}

    def _refuse_missing_data(self) -> None:
        external = [tensor.name for tensor in self.model.graph.initializer if tensor.data_location == 1]
        if external:
            raise TechniqueError(
                f"{self.model.graph.name}: the data of {external[0]!r} and {len(external) - 1} more initializers is in "
                "an external file that was not loaded; load the model with onnx.load(path) first"
            )

    def array(self, name: str) -> NDArray[Any]:
        """Read a stored tensor.

        Raises:
            TechniqueError: It is not stored in the model.
        """
        from onnx import numpy_helper

        if name not in self.initializers:
            raise TechniqueError(f"tensor {name!r} is not stored in the model: it is computed, and cannot be changed here")
        return numpy_helper.to_array(self.initializers[name])

    def store(self, name: str, array: NDArray[Any], *, bits: int | None = None, element: int | None = None) -> str:
        """Store a tensor under a name that is free, or replace the one that has it.

        Args:
            name: Wanted name.
            array: Its values.
            bits: True width, where the container is wider.
            element: ONNX element type, where NumPy has none (INT4).
        """
        import onnx

        if element is None:
            tensor = onnx.numpy_helper.from_array(np.asarray(array, order="C"), name)
        else:
            tensor = onnx.helper.make_tensor(name, element, array.shape, array.ravel())
        if bits is not None:
            entry = tensor.metadata_props.add()
            entry.key, entry.value = BITS_KEY, str(bits)
        if name in self.initializers:
            self.initializers[name].CopyFrom(tensor)
        else:
            self.model.graph.initializer.append(tensor)
            self.initializers[name] = self.model.graph.initializer[-1]
        return name

    def free_name(self, name: str) -> str:
        """Give a tensor name that nothing has yet."""
        taken = set(self.initializers) | {output for node in self.model.graph.node for output in node.output}
        if name not in taken:
            return name
        return next(f"{name}.{number}" for number in range(2, 10**6) if f"{name}.{number}" not in taken)

    def replace(self, name: str, nodes: Sequence[onnx.NodeProto]) -> None:
        """Put other nodes where a node was."""
        self._replacements[self.position[name]] = list(nodes)

    def insert_before(self, node: onnx.NodeProto, other: onnx.NodeProto) -> None:
        """Put a node in front of another."""
        index = next(i for i, item in enumerate(self.model.graph.node) if item is node or item == node)
        self._replacements[index] = [other, *self._replacements.get(index, [node])]

    def finish(self, *, domains: Iterable[str] = (), ir_version: int = 0) -> onnx.ModelProto:
        """Apply the replacements, drop what nothing reads, and give the model."""
        import onnx

        graph = self.model.graph
        nodes: list[Any] = []
        for index, node in enumerate(list(graph.node)):
            nodes.extend(self._replacements.get(index, [node]))
        kept = [onnx.NodeProto.FromString(node.SerializeToString()) for node in _needed(nodes, graph.output)]
        del graph.node[:]
        graph.node.extend(kept)
        del graph.value_info[:]
        read = {name for node in graph.node for name in node.input} | {item.name for item in graph.output}
        unused = [tensor for tensor in graph.initializer if tensor.name not in read]
        for tensor in unused:
            graph.initializer.remove(tensor)
        present = {entry.domain for entry in self.model.opset_import}
        for domain in domains:
            if domain not in present:
                self.model.opset_import.append(onnx.helper.make_opsetid(domain, 1))
        self.model.ir_version = max(self.model.ir_version, ir_version)
        return self.model


def _needed(nodes: Sequence[Any], outputs: Iterable[Any]) -> list[Any]:
    """Keep the nodes that some output depends on."""
    wanted = {item.name for item in outputs}
    kept: list[Any] = []
    for node in reversed(nodes):
        if any(output in wanted for output in node.output):
            kept.append(node)
            wanted |= set(node.input)
    return kept[::-1]


def attributes_of(node: Any) -> Mapping[str, Any]:
    """Give a node's attributes as Python values."""
    from onnx.helper import get_attribute_value

    return {attribute.name: get_attribute_value(attribute) for attribute in node.attribute}
