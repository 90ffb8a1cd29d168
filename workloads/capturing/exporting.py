"""Torch's two exporters behind one call, and their failures in words."""

from __future__ import annotations

import io
import logging
import re
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from workloads.capturing.axes import Axes
from workloads.capturing.leaves import leaves, rebuild
from workloads.errors import WorkloadError

if TYPE_CHECKING:
    import torch

__all__ = ["Exporter", "export", "flat_module", "quiet"]

Exporter = Literal["dynamo", "legacy"]
EXTERNAL_BYTES = 1_500_000_000
"""Parameters beyond this go into a file of their own: protobuf ends at 2 GiB [B]."""


def flat_module(module: torch.nn.Module, arguments: Mapping[str, Any]) -> torch.nn.Module:
    """Give a module that takes the tensors inside the arguments, in order, and returns a tuple of tensors."""
    import torch

    class Flat(torch.nn.Module):
        """Puts tensors into the nested arguments, and takes them out of the nested result."""

        def __init__(self) -> None:
            super().__init__()
            self.module = module

        def forward(self, *tensors: Any) -> Any:
            source = iter(tensors)
            given = {name: rebuild(value, source) for name, value in arguments.items()}
            result = self.module(**given)
            return (result,) if isinstance(result, torch.Tensor) else tuple(leaves(result, "").values())

    return Flat().eval()


def export(
    flat: torch.nn.Module,
    inputs: Mapping[str, torch.Tensor],
    axes: Axes,
    outputs: Sequence[str],
    path: Path,
    *,
    exporter: Exporter,
    opset: int,
    where: str,
) -> None:
    """Write an ONNX file (and, beyond `EXTERNAL_BYTES` of parameters, `<path>.data` beside it).

    Raises:
        WorkloadError: The module cannot be traced, an axis cannot stay symbolic, or an operator has no ONNX form.
    """
    import torch

    size = sum(tensor.numel() * tensor.element_size() for tensor in (*flat.parameters(), *flat.buffers()))
    common: dict[str, Any] = {"input_names": list(inputs), "output_names": list(outputs), "opset_version": opset}
    with quiet(), torch.no_grad():
        if exporter == "legacy":
            given = {name: dict(symbols) for name, symbols in axes.items() if symbols}
            options: dict[str, Any] = {"dynamo": False, "dynamic_axes": given or None}
            _run(where, inputs, lambda: torch.onnx.export(flat, tuple(inputs.values()), path, **common, **options))
            return
        program = _run(where, inputs, lambda: _traced(flat, inputs, axes))
        options = {"dynamo": True, "verbose": False, "external_data": size > EXTERNAL_BYTES}
        if any(axes.values()):
            options["dynamic_shapes"] = [axes[name] for name in inputs]
        _run(where, inputs, lambda: torch.onnx.export(program, (), path, **common, **options))


def _traced(flat: torch.nn.Module, inputs: Mapping[str, torch.Tensor], axes: Axes) -> Any:
    """Run torch.export; a symbol is a promise: an axis that the module fixes is an error."""
    import torch

    free = torch.export.Dim.DYNAMIC
    shapes = tuple(dict.fromkeys(axes[name], free) if axes[name] else None for name in inputs)
    given = (shapes,) if any(axes.values()) else None
    return torch.export.export(flat, tuple(inputs.values()), dynamic_shapes=given, strict=False)


def _run(where: str, inputs: Mapping[str, torch.Tensor], step: Callable[[], Any]) -> Any:
    try:
        return step()
    except Exception as error:  # both exporters raise whatever the module or their own passes raise
        raise WorkloadError(f"{where}: {_reason(error, list(inputs))}") from error


def _reason(error: BaseException, inputs: Sequence[str]) -> str:
    """Say why an export failed, and the way out."""
    chain = [error]
    while (deeper := chain[-1].__cause__) is not None:
        chain.append(deeper)
    text = "\n".join(str(item) for item in chain)
    line = next((part.strip() for part in str(chain[-1]).splitlines() if part.strip()), type(chain[-1]).__name__)
    names = {type(item).__name__ for item in chain}
    if "GuardOnDataDependentSymNode" in names or "data-dependent" in text or "DataDependent" in text:
        place = re.search(r'File "?([^"\n]+?)"?,? line (\d+)|# File: ([^:\n]+):(\d+)', text)
        at = "" if place is None else " at {}:{}".format(*[part for part in place.groups() if part])
        return (
            f"which operations run depends on the data{at}, so there is no one graph ({line}). Write the choice with "
            "torch.where or torch.cond, or capture each branch as a module of its own"
        )
    if "specialized" in text or "Constraints violated" in text:
        fixed = re.search(r"L\['tensors'\]\[(\d+)\]\.size\(\)\[(\d+)\].*?constant \((\d+)\)", text)
        what = f"({line})" if fixed is None else _axis(fixed, inputs)
        return (
            f"a symbolic axis is fixed by the module: {what}. Take the size from the input's shape inside forward, or "
            "leave that axis out of dynamic="
        )
    return f"torch cannot export it: {type(chain[-1]).__name__}: {line}"


def _axis(found: re.Match[str], inputs: Sequence[str]) -> str:
    return f"axis {found[2]} of input {inputs[int(found[1])]!r} only works with {found[3]}"


@contextmanager
def quiet() -> Iterator[None]:
    """Silence the exporters' own notices: our check on another shape says whether the file is right."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "torch.export", "torch.fx", "onnxscript")]
    levels = [logger.level for logger in loggers]
    try:
        for logger in loggers:
            logger.setLevel(logging.CRITICAL)
        with warnings.catch_warnings(), redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
