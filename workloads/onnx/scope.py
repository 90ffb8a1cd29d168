"""Names: nodes that are unique in the graph, and edges of bodies and functions that are unique in the workload."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from workloads.errors import WorkloadError
from workloads.onnx.builder import Node
from workloads.onnx.limits import MAX_DEPTH

if TYPE_CHECKING:
    import onnx

__all__ = ["Scope", "all_names", "named", "named_nodes", "node_of"]

# Field of `onnx.AttributeProto` by its type, ONNX specification (onnx.proto3); 0: files from before types were written.
_FIELDS = {
    1: "f", 2: "i", 3: "s", 4: "t", 5: "g", 6: "floats", 7: "ints", 8: "strings", 9: "tensors", 10: "graphs",
    11: "sparse_tensor", 12: "sparse_tensors", 13: "tp", 14: "type_protos",
}  # fmt: skip
_LISTS = frozenset({6, 7, 8, 9, 10, 12, 14})
_GRAPHS = (5, 10)


@dataclass(frozen=True, slots=True)
class Scope:
    """Where a list of nodes stands: in the graph, in a body of one of its nodes, or in a function that one calls.

    A body sees the names around it, a function only its own. Names of nodes and edges that are made inside get a
    prefix. `names` grows while the nodes are walked.

    Attributes:
        prefix: Of names that are made here; with the number of the trip in an unrolled loop.
        path: The same without such numbers: what a user calls a node.
        outer: The scope around; None: this is the graph.
        names: Edges that are known here, by what the file calls them.
        results: Edges around that are written here: what a body or function calls its results.
        attributes: Of the call, where this is a function.
        depth: Bodies and functions around.
    """

    prefix: str = ""
    path: str = ""
    outer: Scope | None = None
    names: dict[str, str] = field(default_factory=dict)
    results: dict[str, str] = field(default_factory=dict)
    attributes: Mapping[str, onnx.AttributeProto] | None = None
    depth: int = 0

    def inside(
        self, node: Node, part: str, trip: str = "", attributes: Mapping[str, onnx.AttributeProto] | None = None
    ) -> Scope:
        """Give the scope of a body or function.

        Args:
            node: Whose.
            part: Name of the body; empty for a function.
            trip: Which trip of a loop: "[3]".
            attributes: Of the call, if it is a function.

        Raises:
            WorkloadError: Nested too deep.
        """
        if self.depth >= MAX_DEPTH:
            raise WorkloadError(
                f"node {node.name!r} ({node.op_type}): bodies and functions are nested more than {MAX_DEPTH} deep; "
                "flatten the control flow"
            )
        end = f"/{part}" if part else ""
        path = f"{self.option_name(node)}{end}/"
        prefix = f"{node.name}{end}{trip}/"
        return Scope(prefix, path, self, attributes=attributes, depth=self.depth + 1)

    def option_name(self, node: Node) -> str:
        """Give the name by which a user speaks of a node, whatever the trip."""
        return self.path + node.name[len(self.prefix) :]

    def edge(self, name: str) -> str:
        """Give the edge that a name means here."""
        scope: Scope | None = self
        while scope is not None:
            if name in scope.names:
                return scope.names[name]
            if scope.attributes is not None:  # a function sees nothing else
                return scope.prefix + name
            scope = scope.outer
        return name

    def declare(self, name: str) -> str:
        """Give the edge that a node or input writes.

        Raises:
            WorkloadError: It was written before.
        """
        if self.outer is None:
            return name
        if name in self.names:
            raise WorkloadError(
                f"{self.prefix[:-1]}: more than one node or input writes {name!r}; run onnx.checker on the model"
            )
        self.names[name] = self.results.get(name) or self.prefix + name
        return self.names[name]

    def call_attributes(self) -> Mapping[str, onnx.AttributeProto]:
        """Give the attributes of the nearest call around."""
        scope: Scope | None = self
        while scope is not None and scope.attributes is None:
            scope = scope.outer
        return {} if scope is None or scope.attributes is None else scope.attributes


def named(nodes: Iterable[onnx.NodeProto], prefix: str = "") -> Iterator[tuple[str, onnx.NodeProto]]:
    """Give every node with a name that is unique among them."""
    taken: set[str] = set()
    for index, proto in enumerate(nodes):
        unique = proto.name or f"{proto.op_type}_{index}"
        while unique in taken:
            unique = f"{unique}#{index}"
        taken.add(unique)
        yield f"{prefix}{unique}", proto


def named_nodes(model: onnx.ModelProto) -> Iterator[tuple[str, onnx.NodeProto]]:
    """Give every node of the graph, not of bodies, with a name that is unique in it."""
    return named(model.graph.node)


def all_names(nodes: Iterable[onnx.NodeProto], prefix: str) -> Iterator[str]:
    """Give the names of nodes and of those in their bodies: of what never runs."""
    for name, proto in named(nodes, prefix):
        yield name
        for attribute in proto.attribute:
            if attribute.type in _GRAPHS:
                for body in (attribute.g, *attribute.graphs):
                    part = str(attribute.name).removesuffix("_branch")
                    yield from all_names(body.node, f"{name}/{part}/")


def node_of(proto: onnx.NodeProto, name: str, scope: Scope) -> Node:
    """Give a node with its edges and attributes as they are here.

    Raises:
        WorkloadError: An attribute has an unknown type, an edge is written twice, or a name is no text.
    """
    op_type, domain = proto.op_type, proto.domain
    inputs, outputs = tuple(proto.input[:]), tuple(proto.output[:])  # [:] takes half as long as to iterate
    try:
        "".join((proto.name, op_type, domain, *inputs, *outputs))  # what is not UTF-8 comes as bytes, which do not join
    except TypeError:
        raise WorkloadError(f"node {name!r}: a damaged ONNX file (a name in it is not text); export it again") from None
    if domain == "ai.onnx":
        domain = ""
    given = resolved(proto, scope)
    attributes = {item.name: _value(item, name) for item in given} if given else {}
    if scope.outer is not None:
        inputs = tuple([scope.edge(item) if item else "" for item in inputs])
        outputs = tuple([scope.declare(item) if item else "" for item in outputs])
    return Node(name, op_type, domain, inputs, outputs, attributes)


def resolved(proto: onnx.NodeProto, scope: Scope) -> Sequence[onnx.AttributeProto]:
    """Give the attributes of a node; in a function, those that refer to the call are taken from it or left out."""
    if scope.outer is None:
        everything: list[onnx.AttributeProto] = proto.attribute[:]
        return everything
    given: list[onnx.AttributeProto] = []
    for item in proto.attribute:
        if not item.ref_attr_name:
            given.append(item)
            continue
        found = scope.call_attributes().get(item.ref_attr_name)
        if found is not None:
            copy = type(item)()
            copy.CopyFrom(found)
            copy.name = item.name
            given.append(copy)
    return given


def _value(item: onnx.AttributeProto, node: str) -> Any:
    kind = item.type
    if kind in _FIELDS:
        value = getattr(item, _FIELDS[kind])
        return value[:] if kind in _LISTS else value
    if kind == 0:
        return None
    raise WorkloadError(f"node {node!r}: attribute {item.name!r} has the unknown type {kind}; export the model again")
