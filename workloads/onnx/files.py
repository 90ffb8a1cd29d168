"""Reading an ONNX file safely: without its weights, and without leaving its folder."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import TYPE_CHECKING, Any

from workloads.errors import WorkloadError

if TYPE_CHECKING:
    import onnx

__all__ = ["check_external_data", "external_location", "read_model"]


def read_model(source: str | Path | onnx.ModelProto) -> tuple[onnx.ModelProto, str, Path | None]:
    """Read a model without its external data.

    Args:
        source: A path, or a model in memory.

    Returns:
        The model, its name for messages, and its folder (None in memory).

    Raises:
        WorkloadError: No such file, not ONNX, truncated, or an empty graph.
    """
    import onnx
    from google.protobuf.message import DecodeError  # type: ignore[import-untyped]

    if isinstance(source, onnx.ModelProto):
        model, name, folder = source, source.graph.name or "model", None
    else:
        path = Path(source)
        name, folder = str(source), path.parent
        if path.is_dir():
            raise WorkloadError(f"{name}: is a folder; give the .onnx file inside it")
        if not path.exists():
            raise WorkloadError(f"{name}: no such file; give the path of an .onnx file")
        try:
            # The suffix does not decide: onnx.load would read .json as JSON, with other exceptions.
            model = onnx.load(str(path), format="protobuf", load_external_data=False)
        except PermissionError:
            raise WorkloadError(f"{name}: may not be read; check its permissions") from None
        except (DecodeError, UnicodeDecodeError, ValueError) as error:
            raise WorkloadError(
                f"{name}: not an ONNX file, or a truncated one ({error}); export or copy it again"
            ) from None
    if not model.opset_import and not model.graph.node:
        raise WorkloadError(f"{name}: not an ONNX model (no operator set and no graph); give an .onnx file")
    if not model.graph.node:
        raise WorkloadError(f"{name}: the graph has no nodes; export the model again")
    if any(isinstance(text, bytes) for text in _texts(model.graph)):  # protobuf gives what is not UTF-8 as bytes
        raise WorkloadError(f"{name}: a damaged ONNX file (a name in it is not text); export or copy it again")
    return model, name, folder


def _texts(graph: onnx.GraphProto) -> Iterator[str | bytes]:
    """Give every name in a graph that the loader reads."""
    for node in graph.node:
        yield from (node.name, node.op_type, node.domain, *node.input, *node.output)
    for tensor in graph.initializer:
        yield tensor.name
        yield from (entry.value for entry in tensor.external_data)
    for item in (*graph.input, *graph.output):
        yield item.name
        yield from (dim.dim_param for dim in item.type.tensor_type.shape.dim)


def external_location(tensor: Any) -> str | None:
    """Give the external file of an initializer, or None where its data is inside."""
    if tensor.data_location != 1:  # TensorProto.EXTERNAL
        return None
    return next((entry.value for entry in tensor.external_data if entry.key == "location"), "")


def check_external_data(model: onnx.ModelProto, name: str, folder: Path | None, *, must_exist: bool) -> None:
    """Refuse external data that is outside the model's folder, and, if asked, data that is not there.

    Raises:
        WorkloadError: Naming the tensor and the file.
    """
    seen: set[str] = set()
    for tensor in model.graph.initializer:
        location = external_location(tensor)
        if location is None:
            continue
        if location in seen:
            if must_exist and folder is not None:
                _check_extent(tensor, name, (folder / location).stat().st_size)
            continue
        seen.add(location)
        parts = PurePosixPath(location).parts
        outside = (
            not location
            or "\0" in location
            or PurePosixPath(location).is_absolute()
            or PureWindowsPath(location).is_absolute()
            or ".." in parts
            or ".." in PureWindowsPath(location).parts
        )
        if not outside and folder is not None:
            target = (folder / location).resolve()
            outside = not target.is_relative_to(folder.resolve())
        if outside:
            raise WorkloadError(
                f"{name}: initializer {tensor.name!r} keeps its data at {location!r}, outside the model's folder; "
                "refused. Move the file beside the model and save the model with a relative location"
            )
        if must_exist and folder is not None and not (folder / location).is_file():
            raise WorkloadError(
                f"{name}: the external data file {location!r} of initializer {tensor.name!r} is missing; put it "
                "beside the model (to cost the graph without its weights: missing_weights='allow', --no-weights)"
            )
        if must_exist and folder is not None:
            _check_extent(tensor, name, (folder / location).stat().st_size)


def _check_extent(tensor: Any, name: str, available: int) -> None:
    """Refuse external data that does not lie inside its file."""
    from math import prod

    entries = {entry.key: entry.value for entry in tensor.external_data}
    try:
        offset, length = int(entries.get("offset", 0)), int(entries.get("length", 0))
    except ValueError:
        offset, length = -1, 0
    needed = length or prod(tensor.dims) * _BYTES.get(tensor.data_type, 0)
    if offset < 0 or length < 0 or offset + needed > available:
        raise WorkloadError(
            f"{name}: initializer {tensor.name!r} wants {needed} bytes from offset {entries.get('offset', 0)} of "
            f"{entries.get('location')!r}, which has {available}; the file was cut or belongs to another model"
        )


_BYTES = {1: 4, 2: 1, 3: 1, 6: 4, 7: 8, 9: 1, 10: 2, 11: 8, 16: 2}
"""Bytes per value of float, uint8, int8, int32, int64, bool, float16, double and bfloat16, by ONNX element type [B]."""
