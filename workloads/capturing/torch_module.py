"""`capture`: a torch module as a workload, and as an ONNX file that was checked on another shape."""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from workloads.capturing.axes import Axes, another_shape, check_axes, inferred_axes, symbol_sizes, with_free_lengths
from workloads.capturing.checking import check_against_torch
from workloads.capturing.exporting import Exporter, export, flat_module, quiet
from workloads.capturing.leaves import bound_arguments, leaves, rebuild, result_names
from workloads.capturing.parameters import name_parameters
from workloads.capturing.requests import check_request, publish, scratch_beside
from workloads.errors import WorkloadError
from workloads.onnx.loader import load_onnx
from workloads.workload import Workload

if TYPE_CHECKING:
    import torch

__all__ = ["capture", "export_checked"]


def capture(
    module: torch.nn.Module,
    inputs: Any,
    *,
    dynamic: Mapping[str, Mapping[int, str]] | Literal["infer"] | None = "infer",
    path: str | Path | None = None,
    outputs: Sequence[str] = (),
    check: Any = True,
    tolerance: float | None = None,
    opset: int = 20,
    exporter: Exporter = "dynamo",
    structure: bool = True,
    **bind: int,
) -> Workload:
    """Export a torch module, check the export against torch on another shape with padding, and load it.

    Args:
        module: In evaluation mode. It may return tensors, mappings, sequences, dataclasses or key-value caches.
        inputs: Example arguments of its forward: a mapping by name, a sequence, or one tensor. Values may be nested;
            a tensor inside is called by its path: `past_key_0`.
        dynamic: Symbolic axes: input name to axis to symbol. "infer": `batch`, `seq` and `past` by the rules of
            `inferred_axes`; of float inputs [batch, length, width] without a mask the length is tried as `seq`, and a
            warning says where it had to stay fixed. None: every size is that of the example.
        path: Where to write the ONNX file; without it the file is dropped once it is loaded. Parameters beyond 1.5 GB
            go into `<path>.data`. A module whose graph needs `load_program` (branches, loops) is captured with a path
            and loaded from it.
        outputs: Names of the outputs; by default the keys of what forward returns.
        check: True: compare with torch on inputs of another size with padded masks, made from the example; or those
            inputs, in the form of `inputs`; False: compare nothing.
        tolerance: Largest difference from torch, relative to the largest value of an output; by default 1e-5 in fp32.
        opset: ONNX opset version.
        exporter: ``dynamo`` (torch.export) or ``legacy`` (TorchScript trace).
        structure: As for `load_onnx`.
        **bind: Sizes of the symbols in the workload; by default those of the example.

    Returns:
        The workload. Each initializer of the file says in its metadata which torch parameter it holds.

    Raises:
        WorkloadError: An argument is of the wrong kind, the file cannot be written, the module cannot be traced, an
            axis cannot stay symbolic, or the export is wrong: by how much, and in which output first.

    Example:
        >>> import torch
        >>> work = capture(torch.nn.Linear(8, 4).eval(), torch.zeros(2, 8), batch=5)
        >>> work.macs()
        160.0
    """
    name = type(module).__name__
    with tempfile.TemporaryDirectory(prefix="capture-") as scratch:
        target = Path(path) if path is not None else Path(scratch) / f"{name}.onnx"
        sizes = export_checked(
            module, inputs, target, dynamic=dynamic, outputs=outputs, check=check, tolerance=tolerance, opset=opset,
            exporter=exporter,
        )  # fmt: skip
        bound: dict[str, Any] = {**sizes, **bind}
        try:
            return load_onnx(target, structure=structure, **bound)
        except WorkloadError as error:
            if path is not None:
                raise
            raise WorkloadError(_without_file(str(error), str(target), f"capture of {name}")) from error


def _without_file(message: str, file: str, where: str) -> str:
    """Word an error about a file that is dropped: name the capture instead, and say how to keep the file."""
    text = message.replace(file, where)
    if "load_program(" not in text:
        return text
    return f"{text}. For that keep the file: pass path= to capture, then give load_program that path as its source"


def export_checked(
    module: torch.nn.Module,
    inputs: Any,
    path: Path,
    *,
    dynamic: Mapping[str, Mapping[int, str]] | Literal["infer"] | None = "infer",
    outputs: Sequence[str] = (),
    check: Any = True,
    tolerance: float | None = None,
    opset: int = 20,
    exporter: Exporter = "dynamo",
) -> dict[str, int]:
    """Write the ONNX file of a torch module, checked against torch; arguments as for `capture`.

    The file appears under its name only once it is right.

    Returns:
        The symbols of the file and their sizes in the example.

    Raises:
        WorkloadError: As for `capture`.
    """
    where = f"capture of {type(module).__name__}"
    check_request(module, path, dynamic, exporter, where)
    arguments = bound_arguments(module, inputs)
    tensors = _leaves(arguments)
    axes = inferred_axes(tensors) if dynamic == "infer" else check_axes(dynamic or {}, tensors, where)
    flat = flat_module(module, arguments)
    names = result_names(_example_result(module, arguments, where), outputs, list(tensors), where)

    def write(axes: Axes) -> dict[str, int]:
        sizes = symbol_sizes(axes, tensors, where)
        with scratch_beside(path, where) as scratch:
            partial = scratch / path.name
            export(flat, tensors, axes, names, partial, exporter=exporter, opset=opset, where=where)
            used = _finish(partial, module)
            if check is not False:
                other = _other_inputs(flat, module, tensors, axes, check)
                check_against_torch(partial, flat, other, names, tolerance=tolerance, where=where)
            publish(scratch, path, where)
        return {symbol: size for symbol, size in sizes.items() if symbol in used}

    free = with_free_lengths(tensors, axes) if dynamic == "infer" else axes
    if free == axes:
        return write(axes)
    try:
        return write(free)
    except WorkloadError as error:
        sizes = write(axes)
        warnings.warn(_fixed_length(where, free, axes, error), stacklevel=3)
        return sizes


def _fixed_length(where: str, free: Axes, axes: Axes, error: WorkloadError) -> str:
    names = ", ".join(repr(name) for name in free if free[name] != axes[name])
    return (
        f"{where}: axis 1 of input {names} stays as in the example, and no other length was checked, because with a "
        f"symbol there the capture fails ({error}); dynamic= says which axes are symbolic, without this warning"
    )


def _leaves(arguments: Mapping[str, Any]) -> dict[str, torch.Tensor]:
    return {label: tensor for name, value in arguments.items() for label, tensor in leaves(value, name).items()}


def _example_result(module: torch.nn.Module, arguments: Mapping[str, Any], where: str) -> Any:
    """Run the module once on copies, because a cache grows in place."""
    import torch

    source = iter(_leaves(arguments).values())
    with quiet(), torch.no_grad():
        try:
            return module(**{name: rebuild(value, source) for name, value in arguments.items()})
        except Exception as error:  # a user's module may fail in any way
            raise WorkloadError(f"{where}: forward fails on the inputs: {type(error).__name__}: {error}") from error


def _finish(path: Path, module: torch.nn.Module) -> set[str]:
    """Write the parameters' names into the file; give the symbols that the exporter kept: equal axes share one."""
    import onnx

    model = onnx.load(str(path), load_external_data=False)
    name_parameters(model, module, path.parent)
    path.write_bytes(model.SerializeToString())
    return {dim.dim_param for item in model.graph.input for dim in item.type.tensor_type.shape.dim if dim.dim_param}


def _other_inputs(
    flat: torch.nn.Module, module: torch.nn.Module, tensors: Mapping[str, torch.Tensor], axes: Axes, check: Any
) -> Mapping[str, torch.Tensor]:
    """Give the inputs to check with: the caller's, or longer ones, or shorter ones where torch takes no longer."""
    import torch

    if check is not True:
        return _leaves(bound_arguments(module, check))
    if not any(axes.values()):
        return another_shape(tensors, axes)
    for longer in (True, False):
        other = another_shape(tensors, axes, longer=longer)
        try:
            with quiet(), torch.no_grad():
                flat(*other.values())
        except Exception as error:  # a table of positions that ends, a window that no longer fits
            reason = f"{type(error).__name__}: {error}"
            continue
        return other
    sizes = ", ".join(f"{name} {tuple(tensor.shape)}" for name, tensor in other.items())
    raise WorkloadError(
        f"capture of {type(module).__name__}: to check the export, torch was run on {sizes}, and failed: {reason}. "
        "Give inputs of another shape that it takes as check=, or fewer symbolic axes as dynamic="
    )
