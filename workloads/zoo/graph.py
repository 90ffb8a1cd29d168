"""Writing ONNX graphs by hand: nodes, parameters that may have values later, and constants.

A zoo architecture is written once, as an ONNX graph. Its workload is what `load_onnx` makes of that graph, so the file
and the workload cannot differ.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from workloads.errors import WorkloadError

if TYPE_CHECKING:
    import onnx

__all__ = ["OPSET", "TOTAL", "GraphWriter", "Parameter", "State", "stored", "transposed"]

OPSET = 24
"""TensorScatter (a KV cache that grows in place) came with 24, RMSNormalization and RotaryEmbedding with 23."""

TOTAL = "total"
"""The dim of a KV cache's tokens, the new one included."""

_IR_VERSION = 11  # of opset 23 and 24 (ONNX specification, Versioning)
_MICROSOFT = 1

State = Mapping[str, NDArray[Any]]
"""Values by the name that the published checkpoint gives them."""


@dataclass(frozen=True, slots=True)
class Parameter:
    """One stored tensor of a graph.

    Attributes:
        name: Initializer name: the checkpoint's name of (the first of) its sources.
        shape: As the graph stores it.
        onnx_type: ONNX element type.
        make: Values from a checkpoint.
        fill: Value of every element where there is no checkpoint; None: random.
        statistic: It was measured, not trained (mean and variance of a batch norm), so it is no parameter of the model.
    """

    name: str
    shape: tuple[int, ...]
    onnx_type: int
    make: Callable[[State], NDArray[Any]]
    fill: float | None = None
    statistic: bool = False

    @property
    def size(self) -> int:
        """Number of values."""
        return math.prod(self.shape)


def stored(name: str) -> Callable[[State], NDArray[Any]]:
    """Take a checkpoint's tensor as it is."""
    return lambda state: _lookup(state, name)


def transposed(name: str) -> Callable[[State], NDArray[Any]]:
    """Take a checkpoint's matrix [out, in] as [in, out]: what MatMul reads."""
    return lambda state: _lookup(state, name).T


def _lookup(state: State, name: str) -> NDArray[Any]:
    if name not in state:
        raise WorkloadError(
            f"the checkpoint has no tensor {name!r}; give one of this architecture, with its own tensor names"
        )
    return np.asarray(state[name])


@dataclass(slots=True)
class GraphWriter:
    """The graph written so far. It changes while an architecture is written; that is its purpose.

    Attributes:
        name: Of the graph.
        dtype: Number format of weights and activations: fp32, fp16 or bf16.
        parameters: Stored tensors by name, in order of first use.
        limits: Symbolic dims that do not grow beyond a size: the ring of a sliding window.
        longest: Symbolic dims that must not be larger: there are no positions beyond.
    """

    name: str
    dtype: str = "fp32"
    parameters: dict[str, Parameter] = field(default_factory=dict)
    limits: dict[str, int] = field(default_factory=dict)
    longest: dict[str, int] = field(default_factory=dict)
    _nodes: list[onnx.NodeProto] = field(default_factory=list)
    _inputs: list[onnx.ValueInfoProto] = field(default_factory=list)
    _outputs: list[onnx.ValueInfoProto] = field(default_factory=list)
    _constants: dict[tuple[str, tuple[int, ...], bytes], onnx.TensorProto] = field(default_factory=dict)
    _scopes: list[str] = field(default_factory=list)
    _used: dict[str, int] = field(default_factory=dict)
    _renamed: dict[str, str] = field(default_factory=dict)

    @property
    def float_type(self) -> int:
        """The ONNX element type of weights and activations."""
        return _onnx_type(self.dtype)

    @contextmanager
    def scope(self, name: str) -> Iterator[None]:
        """Put a prefix before the names of nodes and parameters: "encoder.layer.0"."""
        self._scopes.append(name)
        try:
            yield
        finally:
            self._scopes.pop()

    def path(self, name: str) -> str:
        """Give the name of a parameter or node inside the present scope."""
        return ".".join((*self._scopes, name)) if name else ".".join(self._scopes)

    def node(self, op_type: str, *inputs: str, domain: str = "", **attributes: Any) -> str:
        """Append a node with one output; give the output's name. An empty input name leaves the input out."""
        return self.nodes(op_type, inputs, 1, domain=domain, **attributes)[0]

    def nodes(
        self, op_type: str, inputs: Sequence[str], outputs: int, *, domain: str = "", **attributes: Any
    ) -> tuple[str, ...]:
        """Append a node with several outputs; give their names."""
        from onnx import helper

        name = self._unique(self.path(op_type.lower()))
        names = tuple(f"{name}:{index}" if index else f"{name}:out" for index in range(outputs))
        self._nodes.append(helper.make_node(op_type, list(inputs), list(names), name, domain=domain, **attributes))
        return names

    def _unique(self, name: str) -> str:
        count = self._used.get(name, 0)
        self._used[name] = count + 1
        return f"{name}_{count}" if count else name

    def parameter(
        self,
        name: str,
        shape: Sequence[int],
        make: Callable[[State], NDArray[Any]] | None = None,
        *,
        fill: float | None = None,
        absolute: bool = False,
        statistic: bool = False,
    ) -> str:
        """Declare a stored tensor (once; a second call with its name shares it) and give its edge name.

        Args:
            name: The checkpoint's name, below the present scope unless `absolute`.
            shape: As the graph stores it.
            make: Values from a checkpoint; by default the tensor of that name as it is.
            fill: Value of every element where there is no checkpoint; None: random.
            absolute: The name is the whole name.
            statistic: It was measured, not trained.
        """
        full = name if absolute else self.path(name)
        wanted = tuple(int(extent) for extent in shape)
        known = self.parameters.get(full)
        if known is None:
            self.parameters[full] = Parameter(full, wanted, self.float_type, make or stored(full), fill, statistic)
        elif known.shape != wanted:
            raise WorkloadError(
                f"{self.name}: parameter {full!r} is {known.shape} and {wanted}; check the configuration"
            )
        return full

    def constant(self, values: Any, dtype: str = "int64") -> str:
        """Declare a small constant (equal ones are shared) and give its edge name."""
        from onnx import helper

        array = np.asarray(values, dtype=np.float64 if dtype not in _INTEGERS else np.int64)
        key = (dtype, array.shape, array.tobytes())
        if key not in self._constants:
            name = f"constant_{len(self._constants)}"
            self._constants[key] = helper.make_tensor(name, _onnx_type(dtype), array.shape, array.ravel().tolist())
        return str(self._constants[key].name)

    def scalar(self, value: float) -> str:
        """Declare a scalar in the format of the activations."""
        return self.constant(value, self.dtype)

    def input(self, name: str, shape: Sequence[int | str], dtype: str | None = None) -> str:
        """Declare a graph input; text stands for a symbolic dim."""
        from onnx import helper

        kind = _onnx_type(dtype or self.dtype)
        self._inputs.append(helper.make_tensor_value_info(name, kind, list(shape)))
        return name

    def output(self, name: str, edge: str, rank: int, dtype: str | None = None) -> None:
        """Declare a graph output under its own name."""
        from onnx import helper

        self._renamed[edge] = name
        kind = _onnx_type(dtype or self.dtype)
        self._outputs.append(helper.make_tensor_value_info(name, kind, [f"{name}.{axis}" for axis in range(rank)]))

    def inputs(self) -> tuple[str, ...]:
        """List the names of the inputs, in order."""
        return tuple(item.name for item in self._inputs)

    def yields(self, dtype: str) -> bool:
        """Say whether an output has a format."""
        return any(item.type.tensor_type.elem_type == _onnx_type(dtype) for item in self._outputs)

    def grows(self) -> bool:
        """Say whether the graph reads a cache that grows with the context."""
        return TOTAL in self.symbols() or any(name in self.symbols() for name in self.limits)

    def symbols(self) -> tuple[str, ...]:
        """List the symbolic dims of the inputs, in order."""
        dims = (dim.dim_param for item in self._inputs for dim in item.type.tensor_type.shape.dim)
        return tuple(dict.fromkeys(dim for dim in dims if dim))

    def model(self, values: Callable[[Parameter], NDArray[Any]] | None = None) -> onnx.ModelProto:
        """Finish the graph.

        Args:
            values: Gives the values of each parameter; None: every parameter refers to an absent external file, which
                is all that costs need.

        Returns:
            The model; `workloads.zoo.files` writes one with values to disk, one parameter at a time.
        """
        from onnx import helper

        self._rename_outputs()
        initializers = [
            _absent(item) if values is None else _present(item, values(item)) for item in self.parameters.values()
        ]
        graph = helper.make_graph(
            self._nodes, self.name, self._inputs, self._outputs, [*initializers, *self._constants.values()]
        )
        opsets = [helper.make_opsetid("", OPSET), helper.make_opsetid("com.microsoft", _MICROSOFT)]
        return helper.make_model(graph, opset_imports=opsets, ir_version=_IR_VERSION, producer_name="fullstack-dse")

    def _rename_outputs(self) -> None:
        """Give the edges that are outputs their public names; an Identity would make runtimes copy a whole KV cache."""
        for node in self._nodes:
            for edges in (node.input, node.output):
                for index, edge in enumerate(edges):
                    if edge in self._renamed:
                        edges[index] = self._renamed[edge]


_ONNX_TYPES = {
    "fp32": "FLOAT", "fp16": "FLOAT16", "bf16": "BFLOAT16", "int64": "INT64", "int32": "INT32", "bool": "BOOL",
    "int8": "INT8", "uint8": "UINT8", "int4": "INT4", "fp8_e4m3": "FLOAT8E4M3FN",
}  # fmt: skip
_INTEGERS = {"int64", "int32", "bool", "int8", "uint8", "int4"}


def _onnx_type(dtype: str) -> int:
    from onnx import TensorProto

    if dtype not in _ONNX_TYPES:
        raise WorkloadError(f"unknown format {dtype!r} for a graph; known: {', '.join(_ONNX_TYPES)}")
    return int(getattr(TensorProto, _ONNX_TYPES[dtype]))


def _absent(item: Parameter) -> onnx.TensorProto:
    """Describe a parameter whose values are in a file that is not there."""
    from onnx import TensorProto

    tensor = TensorProto(name=item.name, data_type=item.onnx_type, dims=item.shape)
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="weights.bin")
    return tensor


def _present(item: Parameter, values: NDArray[Any]) -> onnx.TensorProto:
    from onnx import helper, numpy_helper

    if values.shape != item.shape:
        raise WorkloadError(
            f"parameter {item.name!r} is {item.shape} in the graph and {values.shape} in the checkpoint"
        )
    dtype = helper.tensor_dtype_to_np_dtype(item.onnx_type)
    return numpy_helper.from_array(np.ascontiguousarray(values.astype(dtype)), item.name)
