"""Random inputs that a model accepts: right names, shapes and element types, integers within sensible ranges."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from workloads.errors import MeasureError, WorkloadError

if TYPE_CHECKING:
    import onnx

__all__ = ["random_feeds"]

_PASSES_ON = {"Cast", "Flatten", "Identity", "Reshape", "Squeeze", "Transpose", "Unsqueeze"}


def random_feeds(model: onnx.ModelProto | str | Path, rng: np.random.Generator, **bind: int) -> dict[str, NDArray[Any]]:
    """Draw inputs for a model.

    Floats are standard normal. Integers that index the rows of a stored table (a Gather says so) are below its length;
    masks and booleans are ones; other integers are 0 or 1.

    Args:
        model: Or its path; weights outside the file are not read.
        rng: Source of randomness.
        **bind: Sizes of symbolic dims: the graph's own symbols, or the aliases `batch` and `seq`.

    Raises:
        MeasureError: A dim has no size, or an input is of a type that has no random values.

    Example:
        >>> from workloads.zoo import embedded_model
        >>> feeds = random_feeds(embedded_model("vit-mnist"), np.random.default_rng(0), batch=2)
        >>> {name: (array.shape, array.dtype.name) for name, array in feeds.items()}
        {'image': ((2, 1, 28, 28), 'float32')}
    """
    import onnx

    if isinstance(model, str | Path):
        name, model = Path(model).stem, onnx.load(str(model), load_external_data=False)
    else:
        name = model.graph.name or "model"
    stored = {tensor.name for tensor in model.graph.initializer}
    inputs = [item for item in model.graph.input if item.name not in stored]
    shapes = _shapes(inputs, bind, name)
    limits = _index_limits(model)
    return {item.name: _draw(item, shapes[item.name], limits.get(item.name), rng, name) for item in inputs}


def _shapes(inputs: list[Any], bind: Mapping[str, int], model: str) -> dict[str, tuple[int, ...]]:
    from workloads.onnx.binding import GraphInput, bind_dims

    described = []
    for item in inputs:
        dims = [
            int(dim.dim_value) if dim.HasField("dim_value") else dim.dim_param or f"{item.name}.{position}"
            for position, dim in enumerate(item.type.tensor_type.shape.dim)
        ]
        described.append(GraphInput(item.name, 0, tuple(dims)))
    try:
        sizes = bind_dims(described, bind, model)
    except WorkloadError as error:
        raise MeasureError(str(error)) from None
    return {item.name: tuple(sizes[dim] if isinstance(dim, str) else dim for dim in item.dims) for item in described}


def _index_limits(model: onnx.ModelProto) -> dict[str, int]:
    """Map each graph input that indexes a stored table to the table's length; the shortest of several tables."""
    lengths = {tensor.name: tuple(tensor.dims) for tensor in model.graph.initializer}
    origin = {item.name: item.name for item in model.graph.input}
    limits: dict[str, int] = {}
    for node in model.graph.node:
        if node.op_type in _PASSES_ON and node.input and node.input[0] in origin:
            origin.update(dict.fromkeys(node.output, origin[node.input[0]]))
        if node.op_type == "Gather" and node.input[0] in lengths and node.input[1] in origin:
            dimension = next((attribute.i for attribute in node.attribute if attribute.name == "axis"), 0)
            source, length = origin[node.input[1]], lengths[node.input[0]][dimension]
            limits[source] = min(length, limits.get(source, length))
    return limits


def _draw(item: Any, shape: tuple[int, ...], limit: int | None, rng: np.random.Generator, model: str) -> NDArray[Any]:
    from onnx import helper

    number = item.type.tensor_type.elem_type
    try:
        dtype = np.dtype(helper.tensor_dtype_to_np_dtype(number))
    except KeyError:
        dtype = np.dtype(object)
    if dtype.kind == "O":
        raise MeasureError(f"{model}: input {item.name!r} has element type {number}, which has no random values here")
    if dtype.kind == "b" or "mask" in item.name.lower():
        return np.ones(shape, dtype)
    if np.issubdtype(dtype, np.integer):
        return rng.integers(0, 2 if limit is None else limit, shape).astype(dtype)
    return rng.standard_normal(shape).astype(dtype)
