"""Architectures as ONNX files: without weights, with random ones, or with those of a checkpoint."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Literal

import numpy as np

from workloads.errors import WorkloadError
from workloads.zoo.build import Source, graph
from workloads.zoo.checkpoints import Values, Weights, values_of
from workloads.zoo.graph import GraphWriter, Parameter
from workloads.zoo.phase import PhaseName

if TYPE_CHECKING:
    import onnx

__all__ = ["weights_path", "write_onnx"]

_ALIGNMENT = 4096  # ONNX Runtime maps external data by page (onnx, External Data: offset)


def write_onnx(
    source: Source,
    path: str | Path,
    *,
    weights: Weights | None = None,
    phase: PhaseName | None = None,
    dtype: str = "fp16",
    kv_bits: int | None = None,
    logits: Literal["last", "all"] = "last",
    seed: int = 0,
) -> Path:
    """Write an architecture as an ONNX file; `load_onnx` of it gives the workload of `architecture`.

    Args:
        source: A published name, a configuration (a mapping, a config.json, a folder with one).
        path: Where: a name that ends in .onnx. Values go into "NAME.weights" beside it, one parameter at a time.
        weights: None: no values (costs need none: `load_onnx(..., missing_weights="allow")`); "random"; a folder with
            safetensors files, or one such file; or arrays by the checkpoint's names.
        phase: "encode", "prefill" or "decode"; by default the first that the family has.
        dtype: Format of weights and activations: fp32, fp16 or bf16.
        kv_bits: Width of the KV cache: 4, 8, or None for that of `dtype` [bit].
        logits: Of a prefill: for the last token, or for all.
        seed: Of random values.

    Returns:
        The path.

    Raises:
        WorkloadError: Unknown architecture, a checkpoint that does not fit it, a name that does not end in .onnx, or a
            place that cannot be written to.

    Example:
        >>> import tempfile
        >>> from workloads import load_onnx
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = write_onnx("llama-2-7b", f"{folder}/llama.onnx", phase="decode")
        ...     work = load_onnx(path, batch=1, total=101, missing_weights="allow")
        >>> round(work.macs() / 1e9, 2)
        6.63
    """
    target = Path(path)
    if target.suffix != ".onnx":
        raise WorkloadError(f"{target}: an ONNX file's name ends in .onnx")
    writer = graph(source, phase=phase, dtype=dtype, kv_bits=kv_bits, logits=logits)
    values = None if weights is None else values_of(weights, seed=seed)
    if target.is_dir():
        raise WorkloadError(f"cannot write {str(target)!r}: it is a folder; give the name of a file")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=target.parent, prefix=".partial-") as scratch:
            partial = Path(scratch) / target.name
            data = partial.with_suffix(".weights")
            model = writer.model()
            if values is not None:
                _write_values(writer, model, values, data)
            partial.write_bytes(model.SerializeToString())
            if values is not None:
                data.replace(weights_path(target))  # first: a model without its data would be half a file
            partial.replace(target)
    except OSError as error:
        if ".partial-" not in str(error.filename) and str(error.filename) != str(target.parent):
            raise  # of the checkpoint
        reason = (error.strerror or str(error)).lower()
        raise WorkloadError(f"cannot write {str(target)!r}: {reason}; give another place") from None
    return target


def weights_path(path: Path) -> Path:
    """Say where the values of a written file lie.

    Example:
        >>> weights_path(Path("out/llama.onnx")).name
        'llama.weights'
    """
    return path.with_suffix(".weights")


def _write_values(writer: GraphWriter, model: onnx.ModelProto, values: Values, path: Path) -> None:
    """Write every parameter behind the last one and note in the model where it is."""
    tensors = {tensor.name: tensor for tensor in model.graph.initializer}
    with path.open("wb") as file:
        for item in writer.parameters.values():
            offset, length = _append(file, item, values)
            tensor = tensors[item.name]
            del tensor.external_data[:]
            for key, value in (("location", path.name), ("offset", offset), ("length", length)):
                tensor.external_data.add(key=key, value=str(value))


def _append(file: BinaryIO, item: Parameter, values: Values) -> tuple[int, int]:
    from onnx import helper

    array: Any = values(item)
    if array.shape != item.shape:
        raise WorkloadError(
            f"parameter {item.name!r} is {item.shape} in the graph and {array.shape} in the checkpoint; "
            "they belong to different configurations"
        )
    file.seek(-(-file.tell() // _ALIGNMENT) * _ALIGNMENT)
    offset = file.tell()
    data = np.ascontiguousarray(array.astype(helper.tensor_dtype_to_np_dtype(item.onnx_type))).tobytes()
    file.write(data)
    return offset, len(data)
