"""ONNX to `Workload`: bind the symbolic dims, walk the nodes in order, account for every one of them."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from workloads.errors import WorkloadError
from workloads.formats import FORMATS, format_code, integer_code
from workloads.onnx.binding import GraphInput, bind_dims
from workloads.onnx.builder import Builder, Node, Value
from workloads.onnx.dtypes import code_of_onnx
from workloads.onnx.files import check_external_data, external_location, read_model
from workloads.onnx.folding import LIMIT, fold
from workloads.onnx.registry import HANDLERS, RUNS, Handler, handler_of, refusal
from workloads.workload import Workload

if TYPE_CHECKING:
    import onnx

__all__ = ["BITS_KEY", "load_onnx", "named_nodes"]

BITS_KEY = "dse.bits"
"""Initializer metadata: the true width of values that sit in a wider container [bit]."""

_SMALL = 1024
_SHAPE = 8
"""More values than the shapes and scales of shape arithmetic have: one per axis."""

_INTEGERS = {6, 7, 9, 2, 3}


def load_onnx(
    source: str | Path | onnx.ModelProto,
    *,
    extra_ops: Mapping[str, Handler] | None = None,
    free_ops: Collection[str] = (),
    missing_weights: Literal["error", "allow"] = "error",
    weights: Literal["describe", "measure"] = "describe",
    structure: bool = True,
    **bind: int,
) -> Workload:
    """Turn an ONNX model into a workload; weights are read only where they are to be measured.

    Args:
        source: A path to an .onnx file, or an `onnx.ModelProto`.
        extra_ops: Handlers of further op types: op type (or "domain::op type") to handler.
        free_ops: Op types to count as free, with the shape of their first input.
        missing_weights: What to do when external data is not there.
        weights: "describe": widths as the containers declare them. "measure": read the stored values, one tensor at a
            time, and say what they need: true bits, density, sparsity pattern (`weight_table` lists it).
        structure: Collapse decomposed chains and name the blocks (attention, FFN, norms).
        **bind: Sizes of symbolic dims: the graph's own symbols, or the aliases `batch` and `seq`.

    Returns:
        The workload: one operator per node that runs, `folded` names of the nodes that compute constants.

    Raises:
        WorkloadError: The file, a dim or a node cannot be used; the message says which and what to do.

    Example:
        >>> from workloads.zoo import embedded_model
        >>> work = load_onnx(embedded_model("vit-mnist"), batch=1)
        >>> work.macs() > 1e6
        True
    """
    model, name, folder = read_model(source)
    check_external_data(model, name, folder, must_exist=missing_weights == "error")
    stored = {tensor.name for tensor in model.graph.initializer}
    inputs = [_graph_input(item, name) for item in model.graph.input if item.name not in stored]
    sizes = bind_dims(inputs, bind, name)
    opset = next((entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx")), 1)
    builder = Builder(opset=opset)
    for item in inputs:
        shape = tuple(sizes[dim] if isinstance(dim, str) else dim for dim in item.dims)
        role: Any = "kv_cache" if "past" in item.name or "cache" in item.name else "activation"
        builder.values[item.name] = Value(item.name, shape, item.code, role=role)
    for tensor in model.graph.initializer:
        builder.values[tensor.name] = _initializer(tensor)
    _walk(model, builder, name, extra_ops or {}, frozenset(free_ops))
    workload = Workload(
        name=Path(name).stem if folder is not None else name,
        operators=tuple(builder.operators),
        inputs=tuple(item.name for item in inputs),
        outputs=tuple(item.name for item in model.graph.output),
        folded=_folded(builder),
        groups=tuple(builder.groups),
        bindings=sizes,
    )
    if weights == "measure":
        from workloads.onnx.measured import measure_weights, with_measured_weights

        workload = with_measured_weights(workload, measure_weights(model, folder, missing=missing_weights == "allow"))
    if not structure:
        return workload
    from workloads.structure import annotate

    return annotate(workload)


def _folded(builder: Builder) -> tuple[str, ...]:
    """List the nodes that compute constants; a node that dequantizes a stored weight runs, so it is not among them."""
    running = {node for op in builder.operators for node in op.nodes}
    return tuple(node for node in builder.folded if node not in running)


def _graph_input(item: Any, model: str) -> GraphInput:
    if not item.type.HasField("tensor_type"):
        raise WorkloadError(f"{model}: input {item.name!r} is not a tensor; only tensors are supported")
    tensor = item.type.tensor_type
    if not tensor.HasField("shape"):
        raise WorkloadError(f"{model}: input {item.name!r} has no shape in the file; export it with a rank")
    dims: list[int | str] = []
    for position, dim in enumerate(tensor.shape.dim):
        if dim.HasField("dim_value") and dim.dim_value > 0:
            dims.append(int(dim.dim_value))
        elif dim.HasField("dim_value") and dim.dim_value == 0 and "past" in item.name:
            dims.append(0)
        elif dim.HasField("dim_value"):
            raise WorkloadError(
                f"{model}: axis {position} of input {item.name!r} has the impossible size {dim.dim_value}; "
                "export it with a positive size or a symbol"
            )
        else:
            dims.append(dim.dim_param or f"{item.name}.{position}")
    return GraphInput(item.name, code_of_onnx(tensor.elem_type, f"input {item.name!r}"), tuple(dims))


def _initializer(tensor: Any) -> Value:
    """Describe a stored tensor; read its data only where it is small and may carry a shape."""
    shape = tuple(tensor.dims)
    size = 1
    for extent in shape:
        size *= extent
    data = None
    if size <= (LIMIT if tensor.data_type in _INTEGERS else _SMALL) and external_location(tensor) is None:
        from onnx import numpy_helper

        try:
            data = numpy_helper.to_array(tensor)
        except (TypeError, ValueError, KeyError) as error:
            raise WorkloadError(
                f"initializer {tensor.name!r}: its data do not fit its shape {shape} and element type "
                f"{tensor.data_type} ({error}); export the model again"
            ) from None
    code = code_of_onnx(tensor.data_type, f"initializer {tensor.name!r}")
    value = Value(tensor.name, shape, code, data=data, constant=True, role="weight")
    for entry in tensor.metadata_props:
        if entry.key == BITS_KEY:
            value.bits = float(entry.value)
            value.stored = int(integer_code(int(entry.value)))
    return value


def named_nodes(model: onnx.ModelProto) -> Iterator[tuple[str, onnx.NodeProto]]:
    """Give every node with a name that is unique in the graph."""
    taken: set[str] = set()
    for index, proto in enumerate(model.graph.node):
        unique = proto.name or f"{proto.op_type}_{index}"
        if unique in taken:
            unique = f"{unique}#{index}"
        taken.add(unique)
        yield unique, proto


def _walk(
    model: onnx.ModelProto, builder: Builder, name: str, extra: Mapping[str, Handler], free: frozenset[str]
) -> None:
    from onnx.helper import get_attribute_value

    unknown: dict[str, list[str]] = {}
    for unique, proto in named_nodes(model):
        node = Node(
            unique,
            proto.op_type,
            "" if proto.domain == "ai.onnx" else proto.domain,
            tuple(proto.input),
            tuple(proto.output),
            {attribute.name: get_attribute_value(attribute) for attribute in proto.attribute},
        )
        if not _described(node, builder, extra, free, proto):
            unknown.setdefault(f"{node.domain}::{node.op_type}" if node.domain else node.op_type, []).append(unique)
            _mark_opaque(node, builder)
    if unknown:
        listed = "; ".join(
            f"{op_type} ({len(nodes)}: {', '.join(nodes[:3])}{', ...' if len(nodes) > 3 else ''}){refusal(op_type)}"
            for op_type, nodes in sorted(unknown.items())
        )
        raise WorkloadError(
            f"{name}: no handler for {listed}. Two ways out: describe the op with a handler "
            "(load_onnx(..., extra_ops={'OpType': handler}), --extra-ops FILE.py), or count it as free, with the "
            "shape of its first input (free_ops=['OpType'], --free-ops OpType)"
        )


def _described(
    node: Node, builder: Builder, extra: Mapping[str, Handler], free: frozenset[str], proto: onnx.NodeProto
) -> bool:
    """Describe one node, or pass on that its input has no shape. False: nobody knows its op type.

    Raises:
        WorkloadError: Its attributes or inputs are not those of its op type.
    """
    handler = handler_of(node, extra)
    if any(builder.values[item].opaque for item in node.inputs if item in builder.values):
        _mark_opaque(node, builder)
        return node.op_type in free or handler is not None or node.op_type in _SOURCES
    try:
        if node.op_type in free:
            _pass_through(node, builder)
            return True
        return _step(node, builder, handler, proto)
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        shapes = ", ".join(str(builder.values[item].shape) for item in node.inputs if item in builder.values)
        raise WorkloadError(
            f"node {node.name!r} ({node.op_type}): its attributes do not fit its inputs of shape {shapes or '(none)'} "
            f"({type(error).__name__}: {error}); run onnx.checker on the model, or mend the handler if it is yours"
        ) from error


def _mark_opaque(node: Node, builder: Builder) -> None:
    for output in node.outputs:
        if output:
            builder.values[output] = Value(output, (), opaque=True)


def _pass_through(node: Node, builder: Builder) -> None:
    first = builder.value(node, 0)
    for index, output in enumerate(node.outputs):
        if output:
            builder.put(node, first.shape, first.code, index)
    handler = HANDLERS["Identity"]
    handler(Node(node.name, node.op_type, node.domain, node.inputs[:1], node.outputs[:1], {}), builder)


def _step(node: Node, builder: Builder, handler: Handler | None, proto: Any) -> bool:
    """Describe one node: a constant source, a node that folds, or work that runs. False: nobody can."""
    if handler is None and not node.domain and node.op_type in _SOURCES:
        _SOURCES[node.op_type](node, builder)
        builder.folded.append(node.name)
        return True
    values = [builder.value(node, index) if item else None for index, item in enumerate(node.inputs)]
    present = [value for value in values if value is not None]
    constant = bool(present) and all(value.constant for value in present) and node.op_type not in RUNS
    computed = constant and any(value.computed for value in present)
    if computed and any(map(_is_parameter, present)):  # as in a runtime: sizes are known only when it runs
        constant = False
    if constant and _folds(node, values, computed, builder, proto):
        return True
    if handler is None:
        return False
    if not constant:
        handler(node, builder)
        return True
    builder.quiet = True
    handler(node, builder)
    builder.quiet = False
    builder.folded.append(node.name)
    for output in node.outputs:
        if output:
            value = builder.values[output]
            value.constant, value.computed, value.role = True, computed, "weight"
    return True


def _is_parameter(value: Value) -> bool:
    """Say whether a constant is a stored matrix or float vector, and no shape: what sizes cut from it runs."""
    if value.computed or (value.data is not None and value.data.size <= _SHAPE):
        return False
    return sum(extent > 1 for extent in value.shape) > 1 or FORMATS[value.code].kind == "float"


def _folds(node: Node, values: Sequence[Value | None], computed: bool, builder: Builder, proto: Any) -> bool:
    """Evaluate the node if all its inputs are known; say whether that worked."""
    if any(value is not None and value.data is None for value in values):
        return False
    arrays = fold(node, [None if value is None else value.data for value in values], proto, builder.opset)
    if arrays is None:
        return False
    for output, array in zip(node.outputs, arrays, strict=False):
        if output:
            builder.values[output] = _known(output, array, computed)
    builder.folded.append(node.name)
    return True


def _known(name: str, array: Any, computed: bool = False) -> Value:
    """Describe a folded array."""
    from onnx.helper import np_dtype_to_tensor_dtype

    code = code_of_onnx(int(np_dtype_to_tensor_dtype(array.dtype)), name)
    return Value(name, array.shape, code, data=array, constant=True, role="weight", computed=computed)


def _constant(node: Node, builder: Builder) -> None:
    from onnx import numpy_helper

    attributes = node.attributes
    if "value" in attributes:
        builder.values[node.outputs[0]] = _initializer(attributes["value"])
        builder.values[node.outputs[0]].name = builder.values[node.outputs[0]].root = node.outputs[0]
        if builder.values[node.outputs[0]].data is None and attributes["value"].ByteSize() < LIMIT * 16:
            builder.values[node.outputs[0]].data = numpy_helper.to_array(attributes["value"])
        return
    for key, dtype in (("value_int", np.int64), ("value_ints", np.int64), ("value_float", np.float32),
                       ("value_floats", np.float32)):  # fmt: skip
        if key in attributes:
            builder.values[node.outputs[0]] = _known(node.outputs[0], np.asarray(attributes[key], dtype=dtype))
            return
    builder.put(node, (), format_code("string"), constant=True, role="weight")


def _constant_of_shape(node: Node, builder: Builder) -> None:
    shape = builder.known(node, 0, "shape").ravel().tolist()
    fill = node.attributes.get("value")
    from onnx import numpy_helper

    array = np.zeros(1, np.float32) if fill is None else numpy_helper.to_array(fill)
    code = format_code("fp32") if fill is None else code_of_onnx(fill.data_type, node.name)
    computed = builder.value(node, 0).computed
    value = builder.put(node, shape, code, constant=True, role="weight", computed=computed)
    if value.size <= _SMALL:
        value.data = np.broadcast_to(array.ravel()[:1], shape).copy() if shape else array.reshape(())


def _shape(node: Node, builder: Builder) -> None:
    value = builder.value(node, 0)
    start, end = node.int("start"), node.int("end", value.rank)
    shape = value.shape[slice(start, end)] if "start" in node.attributes or "end" in node.attributes else value.shape
    computed = not value.constant or value.computed
    builder.values[node.outputs[0]] = _known(node.outputs[0], np.asarray(shape, dtype=np.int64), computed)


def _size(node: Node, builder: Builder) -> None:
    value = builder.value(node, 0)
    computed = not value.constant or value.computed
    builder.values[node.outputs[0]] = _known(node.outputs[0], np.asarray(value.size, dtype=np.int64), computed)


_SOURCES = {"Constant": _constant, "ConstantOfShape": _constant_of_shape, "Shape": _shape, "Size": _size}
