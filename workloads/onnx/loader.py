"""ONNX to `Workload` or `Program`: bind the symbolic dims, walk the nodes in order, account for every one of them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from workloads.errors import WorkloadError
from workloads.onnx.binding import GraphInput, bind_dims
from workloads.onnx.bodies import store
from workloads.onnx.branches import if_
from workloads.onnx.builder import Builder, Value
from workloads.onnx.dtypes import code_of_onnx
from workloads.onnx.files import check_contents, open_model
from workloads.onnx.functions import call, check_inlining, functions_of
from workloads.onnx.limits import MAX_ADDED, MAX_ADDED_ASKED, check_shape
from workloads.onnx.loops import loop, scan
from workloads.onnx.registry import Handler
from workloads.onnx.scope import Scope
from workloads.onnx.sequences import SEQUENCES
from workloads.onnx.state import CALL, Load, Special, chances, counts
from workloads.onnx.walking import walk
from workloads.workload import Program, Workload

if TYPE_CHECKING:
    import onnx

__all__ = ["load_onnx", "load_program"]

SPECIAL: Mapping[str, Special] = {CALL: call, "If": if_, "Loop": loop, "Scan": scan, **SEQUENCES}
"""What holds or calls other nodes, or works on sequences: op type of the default domain to how it is walked."""


def load_onnx(
    source: str | Path | onnx.ModelProto,
    /,
    *,
    extra_ops: Mapping[str, Handler] | None = None,
    free_ops: Collection[str] = (),
    missing_weights: Literal["error", "allow"] = "error",
    weights: Literal["describe", "measure"] = "describe",
    structure: bool = True,
    **bind: int,
) -> Workload:
    """Turn an ONNX model into a workload; weights are read only where they are to be measured.

    Branches whose condition, and loops whose number of trips, follow from the file and the sizes are resolved: the
    branch that runs stands in the place of the If, the operators of a loop count as often as it runs. Functions of the
    model are inlined.

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
        WorkloadError: The file, a dim or a node cannot be used, or what runs depends on run-time data (then
            `load_program` takes probabilities and trips); the message says which and what to do.

    Example:
        >>> from workloads.zoo import embedded_model
        >>> work = load_onnx(embedded_model("vit-mnist"), batch=1)
        >>> work.macs() > 1e6
        True
    """
    options = _Options(
        extra_ops or {}, frozenset(free_ops), missing_weights == "allow", weights == "measure", structure
    )
    (_, work), *_ = _loaded(source, options, bind).parts
    return work


def load_program(
    source: str | Path | onnx.ModelProto,
    /,
    *,
    probabilities: Mapping[str, float] | None = None,
    trips: Mapping[str, float] | None = None,
    extra_ops: Mapping[str, Handler] | None = None,
    free_ops: Collection[str] = (),
    missing_weights: Literal["error", "allow"] = "error",
    weights: Literal["describe", "measure"] = "describe",
    structure: bool = True,
    **bind: int,
) -> Program:
    """Turn an ONNX model with control flow into a program: the expectation over what runs.

    Its parts are the graph itself, both branches of every If, and the body of every Loop and Scan, each with its
    expected number of executions; nested bodies multiply. A branch with probability 0 is no part, one with
    probability 1 belongs to what is around it. A loop whose carried shapes change from trip to trip (a KV cache that
    grows) has one part per trip, so that the sum over trips is exact; a fractional number of trips is then the mean
    of the two whole numbers beside it.

    Args:
        source: As for `load_onnx`.
        probabilities: By If node: probability of its then-branch, wherever the condition depends on run-time data.
        trips: By Loop node: expected trips, wherever they depend on run-time data.
        extra_ops: As for `load_onnx`.
        free_ops: As for `load_onnx`.
        missing_weights: As for `load_onnx`.
        weights: As for `load_onnx`.
        structure: As for `load_onnx`.
        **bind: As for `load_onnx`.

    Raises:
        WorkloadError: As for `load_onnx`; a probability or number of trips is missing, impossible, or not needed.

    Example:
        >>> from workloads.zoo import embedded_model
        >>> program = load_program(embedded_model("vit-mnist"), batch=1)
        >>> [weight for weight, _ in program]
        [1.0]
    """
    options = _Options(
        extra_ops or {}, frozenset(free_ops), missing_weights == "allow", weights == "measure", structure
    )
    return _loaded(source, options, bind, chances(probabilities or {}), counts(trips or {}), apart=True)


@dataclass(frozen=True, slots=True)
class _Options:
    extra: Mapping[str, Handler]
    free: frozenset[str]
    allow_missing: bool
    measure: bool
    structure: bool


def _loaded(
    source: str | Path | onnx.ModelProto,
    options: _Options,
    bind: Mapping[str, int],
    probabilities: Mapping[str, float] | None = None,
    trips: Mapping[str, float] | None = None,
    *,
    apart: bool = False,
) -> Program:
    from workloads.onnx.parts import assembled

    folder: Path | None = None
    try:
        model, name, folder, contents = open_model(source)
        check_contents(contents, name, folder, must_exist=not options.allow_missing)
        inputs = _graph_inputs(model, name)
        sizes = bind_dims(inputs, bind, name)
        load = _begun(model, name, contents.node_count(), options, probabilities or {}, trips or {}, apart)
        builder = _filled(model, inputs, sizes, folder)
        walk(model.graph.node, builder, Scope(), load)
        load.refuse_undecided()
        load.refuse_unknown()
        program = assembled(
            Path(name).stem if folder is not None else name,
            builder,
            load,
            inputs=[item.name for item in inputs],
            outputs=[item.name for item in model.graph.output],
            bindings=sizes,
            finish=_finishing(model, folder, options),
        )
    except WorkloadError as error:
        raise _on_one_page(_in_file(error, str(source) if folder is not None else "")) from error.__cause__
    return program


def _in_file(error: WorkloadError, file: str) -> WorkloadError:
    """Name the file in an error that is about a part of it."""
    text = str(error)
    return error if not file or file in text else WorkloadError(f"{file}: {text}")


def _begun(
    model: onnx.ModelProto,
    name: str,
    nodes: int,
    options: _Options,
    probabilities: Mapping[str, float],
    trips: Mapping[str, float],
    apart: bool,
) -> Load:
    functions = functions_of(model)
    if functions:
        check_inlining(model, functions, nodes)
    return Load(
        model=name,
        special=SPECIAL,
        extra=options.extra,
        free=options.free,
        functions=functions,
        visits=nodes + (MAX_ADDED_ASKED if trips else MAX_ADDED),
        apart=apart,
        probabilities=probabilities,
        trips=trips,
    )


def _filled(
    model: onnx.ModelProto, inputs: Collection[GraphInput], sizes: Mapping[str, int], folder: Path | None
) -> Builder:
    """Give a builder that knows the values of inputs and initializers."""
    opset = next((entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx")), 1)
    builder = Builder(opset=opset, folder=folder)
    for item in inputs:
        shape = tuple(sizes[dim] if isinstance(dim, str) else dim for dim in item.dims)
        check_shape(shape, f"input {item.name!r}")
        role: Any = "kv_cache" if "past" in item.name or "cache" in item.name else "activation"
        if item.name in builder.values:
            raise WorkloadError(f"two inputs of the graph are called {item.name!r}; run onnx.checker on the model")
        builder.values[item.name] = Value(item.name, shape, item.code, role=role)
    store(model.graph, builder, Scope())
    return builder


def _finishing(model: onnx.ModelProto, folder: Path | None, options: _Options) -> Callable[[Workload], Workload]:
    """Give what is done to every workload after the walk."""
    measured: Any = None
    if options.measure:
        from workloads.onnx.measured import measure_weights, with_measured_weights

        measured = measure_weights(model, folder, missing=options.allow_missing)

    def finish(workload: Workload) -> Workload:
        if measured is not None:
            workload = with_measured_weights(workload, measured)
        if not options.structure:
            return workload
        from workloads.structure import annotate

        return annotate(workload)

    return finish


def _graph_inputs(model: onnx.ModelProto, name: str) -> list[GraphInput]:
    stored = {tensor.name for tensor in model.graph.initializer}
    stored |= {sparse.values.name for sparse in model.graph.sparse_initializer}
    return [_graph_input(item, name) for item in model.graph.input if item.name not in stored]


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


def _on_one_page(error: WorkloadError) -> WorkloadError:
    """Shorten a message that a file has filled with endless names, and escape what is not printable in them."""
    text = str(error)
    if len(text) > _PAGE:
        text = f"{text[: _PAGE // 2]} [...] {text[-_PAGE // 2 :]}"
    if not text.isprintable():
        text = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
    return error if text == str(error) else WorkloadError(text)


_PAGE = 3000
"""Length from which a message is cut in the middle [characters]."""
