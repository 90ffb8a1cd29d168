"""Models opened in ONNX Runtime on the CPU."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from workloads.errors import MeasureError

if TYPE_CHECKING:
    import onnx

__all__ = ["reason_of", "session_of"]


def session_of(
    model: onnx.ModelProto | str | Path,
    name: str,
    threads: int = 1,
    optimized: Path | None = None,
    *,
    as_it_is: bool = False,
    trace: Path | None = None,
) -> Any:
    """Open a model in ONNX Runtime on the CPU.

    Args:
        model: With its weights, or a path.
        name: For messages.
        threads: Threads inside an operator; operators run one after the other.
        optimized: Where to write the graph that really runs.
        as_it_is: Change nothing in the graph: it was optimized before.
        trace: Beginning of the name of the file to which ONNX Runtime writes the time of every node.

    Returns:
        An `onnxruntime.InferenceSession`.

    Raises:
        MeasureError: ONNX Runtime refuses the model; the message gives its reason.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 4
    if optimized is not None:
        options.optimized_model_filepath = str(optimized)
    if as_it_is:
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    if trace is not None:
        options.enable_profiling, options.profile_file_prefix = True, str(trace)
    source = str(model) if isinstance(model, str | Path) else model.SerializeToString()
    if isinstance(source, str) and not Path(source).is_file():
        raise MeasureError(f"model {name!r}: there is no file {source!r}")
    try:
        return onnxruntime.InferenceSession(source, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # ONNX Runtime's exceptions share no base of their own
        raise MeasureError(f"model {name!r}: ONNX Runtime cannot open it: {reason_of(error)}") from None


def reason_of(error: Exception) -> str:
    """Give the first line of ONNX Runtime's message, without the tag that it starts with."""
    text = str(error).strip().splitlines()
    return text[0].removeprefix("[ONNXRuntimeError] : ") if text else type(error).__name__
