"""Run an ONNX model over many examples: one thread, CPU, quiet, in batches, on ONNX Runtime."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from workloads.errors import TaskError

if TYPE_CHECKING:
    import onnx

__all__ = ["Model", "Session", "float_output", "open_session", "run_batches", "sole_input"]

_FLOAT_TYPES = ("tensor(float)", "tensor(float16)", "tensor(double)")


class Port(Protocol):
    """Name, shape (symbols are strings or None) and type of one input or output."""

    name: str
    shape: Sequence[int | str | None]
    type: str


@runtime_checkable
class Session(Protocol):
    """The part of `onnxruntime.InferenceSession` that tasks use."""

    def get_inputs(self) -> Sequence[Port]:
        """Return the inputs."""

    def get_outputs(self) -> Sequence[Port]:
        """Return the outputs."""

    def run(self, output_names: Sequence[str] | None, input_feed: Mapping[str, NDArray[Any]]) -> Sequence[Any]:
        """Run once."""


Model: TypeAlias = "onnx.ModelProto | str | os.PathLike[str] | Session"


def open_session(model: Model, threads: int = 1) -> Session:
    """Open a model for inference; an open session passes through, with the threads it was opened with.

    Args:
        model: A loaded model, a path to one (the only way above 2 GB or with external data), or an open session.
        threads: Threads per operator.

    Raises:
        TaskError: The file is missing, or ONNX Runtime refuses the model.
    """
    if isinstance(model, Session):
        return model
    import onnxruntime

    source: str | bytes
    if isinstance(model, str | os.PathLike):
        if not Path(model).is_file():
            raise TaskError(f"{os.fspath(model)}: no such model file")
        source = os.fspath(model)
    else:
        try:
            source = model.SerializeToString()
        except Exception as error:  # protobuf's own error types differ between its versions
            raise TaskError(
                f"model {model.graph.name!r} cannot be serialised ({error}); save it and pass the path"
            ) from error
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    options.log_severity_level = 4  # fatal only: what fails is raised, and we say it in our words
    try:
        session: Session = onnxruntime.InferenceSession(source, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # ONNX Runtime raises a dozen unrelated classes
        where = source if isinstance(source, str) else "the model given"
        raise TaskError(f"{where}: ONNX Runtime cannot load it: {error}") from error
    return session


def sole_input(session: Session) -> str:
    """Return the name of the only input.

    Raises:
        TaskError: There are more, or none.
    """
    names = [port.name for port in session.get_inputs()]
    if len(names) != 1:
        raise TaskError(f"the model has inputs {names}; this task feeds exactly one")
    return names[0]


def float_output(session: Session) -> str:
    """Return the name of the first output that is a float tensor.

    Raises:
        TaskError: There is none.
    """
    for port in session.get_outputs():
        if port.type in _FLOAT_TYPES:
            return port.name
    listed = ", ".join(f"{port.name}: {port.type}" for port in session.get_outputs())
    raise TaskError(f"the model has no float output to score ({listed})")


def _fixed_batch(session: Session, names: Sequence[str]) -> int | None:
    """Return the batch size that the model was exported with, None if it is dynamic."""
    sizes = {port.shape[0] for port in session.get_inputs() if port.name in names and port.shape}
    fixed = {size for size in sizes if isinstance(size, int)}
    if len(fixed) > 1:
        raise TaskError(
            f"the model's inputs have different fixed leading sizes {sorted(fixed)}: which axis is the batch?"
        )
    return fixed.pop() if fixed else None


def run_batches(session: Session, feeds: Mapping[str, NDArray[Any]], output: str, batch: int = 250) -> NDArray[Any]:
    """Run the model over all examples and join one output.

    Args:
        session: An open session.
        feeds: Inputs by name, each of shape (count, ...).
        output: Name of the output to return.
        batch: Examples per run. A model with a fixed leading axis is run at its own size, the last run padded.

    Returns:
        The output, shape (count, ...).

    Raises:
        TaskError: Names or shapes do not fit the model.
    """
    known = [port.name for port in session.get_inputs()]
    if set(known) != set(feeds):
        raise TaskError(f"the model's inputs are {sorted(known)}, the data's {sorted(feeds)}")
    count = len(next(iter(feeds.values())))
    fixed = _fixed_batch(session, known)
    size, parts = fixed or batch, []
    for start in range(0, count, size):
        part = {name: values[start : start + size] for name, values in feeds.items()}
        real = min(size, count - start)
        if fixed and real < fixed:
            part = {
                name: np.concatenate([values, np.repeat(values[-1:], fixed - real, axis=0)])
                for name, values in part.items()
            }
        try:
            (result,) = session.run([output], part)
        except Exception as error:  # ONNX Runtime raises a dozen unrelated classes
            raise TaskError(f"the model does not run on the task's data: {error}") from error
        if not result.ndim or len(result) != (fixed or real):
            raise TaskError(
                f"output {output!r} of shape {result.shape} has no leading axis of {fixed or real} examples"
            )
        parts.append(result[:real])
    return np.concatenate(parts)
