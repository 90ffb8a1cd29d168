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
_RUNNING = ("DequantizeLinear", "QuantizeLinear", "RandomNormal", "RandomUniform")
"""Op types that run even where all their inputs are stored."""


def workload_of(model: onnx.ModelProto) -> Workload:
    """Load a model at some size: techniques need its structure, whatever the batch is.

    Symbols get sizes that are unlikely to coincide with a model dim, so that axes are not confused.
    """
    stored = {tensor.name for tensor in model.graph.initializer}
    symbols: dict[str, Any] = {}
    for item in model.graph.input:
        if item.name in stored:
            continue
        for position, dim in enumerate(item.type.tensor_type.shape.dim):
            if not dim.HasField("dim_value"):
                symbols.setdefault(dim.dim_param or f"{item.name}.{position}", 2 if position == 0 else 17)
    return load_onnx(model, missing_weights="allow", **symbols)


class _Nodes(dict[str, Any]):
    """Nodes of the graph by name; those of its bodies and functions are not among them."""

    def __missing__(self, name: str) -> Any:
        raise TechniqueError(
            f"node {name!r} stands in the body of an If, Loop or Scan, or in a function; techniques edit the graph "
            "itself: inline functions first (onnx.inliner), and export without control flow"
        )


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
        self.nodes = _Nodes(named_nodes(self.model))
        self.position = {name: index for index, name in enumerate(self.nodes)}
        self._index = {id(node): index for index, node in enumerate(self.nodes.values())}
        self._producers = {output: node for node in self.nodes.values() for output in node.output if output}
        self._names = {output for node in self.nodes.values() for output in node.output}
        self._replacements: dict[int, list[Any]] = {}

    def _refuse_missing_data(self) -> None:
        external = [tensor.name for tensor in self.model.graph.initializer if tensor.data_location == 1]
        if external:
            raise TechniqueError(
                f"{self.model.graph.name}: the data of {external[0]!r} and {len(external) - 1} more initializers is in "
                "an external file that was not loaded; load the model with onnx.load(path) first"
            )

    def producer(self, name: str) -> Any:
        """Give the node that writes a tensor, or None."""
        return self._producers.get(name)

    def is_constant(self, name: str) -> bool:
        """Say whether a tensor is stored, or follows from stored ones."""
        if name in self.initializers:
            return True
        node = self._producers.get(name)
        if node is None or node.op_type in _RUNNING:
            return False
        return node.op_type == "Constant" or (bool(node.input) and all(map(self.is_constant, filter(None, node.input))))

    def array(self, name: str) -> NDArray[Any]:
        """Read a stored tensor, or one that follows from stored ones (behind Identity, Transpose, Reshape, ...).

        Raises:
            TechniqueError: It is computed at run time.
        """
        from onnx import numpy_helper

        if name in self.initializers:
            return numpy_helper.to_array(self.initializers[name])
        if not self.is_constant(name):
            raise TechniqueError(
                f"tensor {name!r} is not stored in the model: it is computed, and cannot be changed here"
            )
        node = self._producers[name]
        inputs = [self.array(item) for item in node.input if item]
        if node.op_type == "Identity":
            return inputs[0]
        if node.op_type == "Transpose":
            return np.transpose(inputs[0], attributes_of(node).get("perm"))
        return self._evaluated(node, inputs, list(node.output).index(name))

    def _evaluated(self, node: Any, inputs: Sequence[NDArray[Any]], index: int) -> NDArray[Any]:
        """Run a constant node in the reference evaluator of the `onnx` package."""
        import onnx
        from onnx.reference import ReferenceEvaluator

        names = [item for item in node.input if item]
        declared = [
            onnx.helper.make_tensor_value_info(item, onnx.helper.np_dtype_to_tensor_dtype(array.dtype), array.shape)
            for item, array in zip(names, inputs, strict=True)
        ]
        outputs = [onnx.ValueInfoProto(name=item) for item in node.output]
        graph = onnx.helper.make_graph([node], "constant", declared, outputs)
        model = onnx.helper.make_model(graph, opset_imports=self.model.opset_import)
        results = ReferenceEvaluator(model).run(None, dict(zip(names, inputs, strict=True)))
        return np.asarray(list(results)[index])

    def uses(self, name: str) -> int:
        """Count how often nodes read a tensor."""
        return sum(list(node.input).count(name) for node in self.model.graph.node)

    def edges(self, nodes: Iterable[str], weight: str) -> list[tuple[Any, int, str]]:
        """List where nodes read a stored tensor, directly or behind constant nodes: (node, input index, edge name)."""
        found = []
        for name in nodes:
            node = self.nodes[name]
            found += [(node, index, edge) for index, edge in enumerate(node.input) if self._leads_to(edge, weight)]
        return found

    def _leads_to(self, edge: str, weight: str) -> bool:
        while edge != weight:
            node = self._producers.get(edge)
            if node is None or not node.input or not self.is_constant(edge):
                return False
            edge = node.input[0]
        return True

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
        if name not in self.initializers and name not in self._names:
            return name
        return next(f"{name}.{number}" for number in range(2, 10**6) if f"{name}.{number}" not in self.initializers)

    def replace(self, name: str, nodes: Sequence[onnx.NodeProto]) -> None:
        """Put other nodes where a node was."""
        self._replacements[self.position[name]] = list(nodes)

    def insert_before(self, node: onnx.NodeProto, other: onnx.NodeProto) -> None:
        """Put a node in front of another."""
        index = self._index[id(node)]
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
