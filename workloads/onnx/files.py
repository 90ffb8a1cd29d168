"""Reading an ONNX file safely: without its weights, without leaving its folder, and nothing but regular files."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from math import prod
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import TYPE_CHECKING, Any

from workloads.errors import WorkloadError
from workloads.onnx.limits import MAX_AXES, MAX_DEPTH, MAX_FILE_BYTES

if TYPE_CHECKING:
    import onnx

__all__ = [
    "Contents",
    "check_contents",
    "check_external_data",
    "external_location",
    "open_model",
    "read_external",
    "read_model",
]

# onnx.AttributeProto.AttributeType, ONNX specification (onnx.proto3).
_TENSOR, _GRAPH, _TENSORS, _GRAPHS, _SPARSE, _SPARSES = 4, 5, 9, 10, 11, 12
_PLAIN = frozenset({0, 1, 2, 3, 6, 7, 8})  # undefined, numbers and texts
_EXTERNAL = 1  # onnx.TensorProto.DataLocation

_BITS = {
    1: 32, 2: 8, 3: 8, 4: 16, 5: 16, 6: 32, 7: 64, 9: 8, 10: 16, 11: 64, 12: 32, 13: 64, 14: 64, 15: 128, 16: 16,
    17: 8, 18: 8, 19: 8, 20: 8, 21: 4, 22: 4, 23: 4, 24: 8, 25: 2, 26: 2,
}  # fmt: skip
"""Bits per value by ONNX element type: float, uint8, int8, uint16, int16, int32, int64, bool, float16, double, uint32,
uint64, complex64, complex128, bfloat16, four 8-bit floats, uint4, int4, float4e2m1, float8e8m0, uint2, int2 [bit]."""


@dataclass(frozen=True, slots=True)
class Contents:
    """What a model holds, at any depth.

    Attributes:
        graphs: The graph and all bodies.
        nodes: Lists of nodes: of each graph, and of each function.
        tensors: Tensors in attributes, dense, and the parts of sparse ones.
    """

    graphs: tuple[onnx.GraphProto, ...]
    nodes: tuple[Sequence[onnx.NodeProto], ...]
    tensors: tuple[onnx.TensorProto, ...]

    def node_count(self) -> int:
        """Count the nodes that the file holds."""
        return sum(map(len, self.nodes))


def read_model(source: str | Path | onnx.ModelProto) -> tuple[onnx.ModelProto, str, Path | None]:
    """Read a model without its external data.

    Args:
        source: A path, or a model in memory.

    Returns:
        The model, its name for messages, and its folder (None in memory).

    Raises:
        WorkloadError: No such file, not a regular file, not ONNX, truncated, or an empty graph.
    """
    model, name, folder, _ = open_model(source)
    return model, name, folder


def open_model(source: str | Path | onnx.ModelProto) -> tuple[onnx.ModelProto, str, Path | None, Contents]:
    """Read a model like `read_model`, and give its contents too."""
    import onnx

    if isinstance(source, onnx.ModelProto):
        model, name, folder = source, source.graph.name or "model", None
    elif not isinstance(source, str | os.PathLike):
        raise WorkloadError(f"a model is the path of an .onnx file or an onnx.ModelProto, not {source!r}")
    else:
        name, folder = str(source), Path(source).parent
        model = _parsed(Path(source), name)
    if not model.opset_import and not model.graph.node:
        raise WorkloadError(f"{name}: not an ONNX model (no operator set and no graph); give an .onnx file")
    if not model.graph.node:
        raise WorkloadError(f"{name}: the graph has no nodes; export the model again")
    contents = _contents(model, name)
    try:
        for texts in _texts(model, contents):
            "".join(texts)  # protobuf gives what is not UTF-8 as bytes, which do not join: faster than looking at each
    except TypeError:
        raise WorkloadError(
            f"{name!a}: a damaged ONNX file (a name in it is not text); export or copy it again"
        ) from None
    return model, name, folder, contents


def _parsed(path: Path, name: str) -> onnx.ModelProto:
    import onnx
    from google.protobuf.message import DecodeError  # type: ignore[import-untyped]

    try:
        if path.is_dir():
            raise WorkloadError(f"{name}: is a folder; {_inside(path)}")
        if not path.exists():
            raise WorkloadError(f"{name}: no such file; give the path of an .onnx file")
        if not path.is_file():  # a pipe or a device may never end
            raise WorkloadError(f"{name}: not a regular file; give the path of an .onnx file")
        if path.stat().st_size > MAX_FILE_BYTES:
            raise WorkloadError(
                f"{name}: larger than 2 GiB, which no ONNX file can be; save the model with external data"
            )
        # The suffix does not decide: onnx.load would read .json as JSON, with other exceptions.
        return onnx.load(str(path), format="protobuf", load_external_data=False)
    except PermissionError:
        raise WorkloadError(f"{name}: may not be read; check its permissions") from None
    except (DecodeError, ValueError) as error:
        raise WorkloadError(
            f"{name}: not an ONNX file, or a truncated one ({error}); export or copy it again"
        ) from None
    except OSError as error:
        raise WorkloadError(f"{name!a}: cannot be read ({error.strerror}); give the path of an .onnx file") from None


def _inside(folder: Path) -> str:
    """Say what to give instead of a folder: a checkpoint's configuration is for the zoo."""
    if (folder / "config.json").is_file():
        return "its config.json is read by workloads.zoo.architecture(folder), on the command line by dse profile"
    return "give the .onnx file inside it, or a folder with a config.json"


def _contents(model: onnx.ModelProto, name: str) -> Contents:
    """List what a model holds.

    Raises:
        WorkloadError: Bodies are nested deeper than `MAX_DEPTH`.
    """
    graphs: list[Any] = [model.graph]
    lists: list[Any] = []
    tensors: list[Any] = []
    level: list[Any] = [model.graph.node, *(function.node for function in model.functions)]
    for _ in range(MAX_DEPTH):
        lists += level
        bodies: list[Any] = []
        for node in chain.from_iterable(level):
            for attribute in node.attribute[:]:  # [:] takes half as long as to iterate
                if attribute.type not in _PLAIN:
                    _collect(attribute, bodies, tensors)
        if not bodies:
            return Contents(tuple(graphs), tuple(lists), tuple(tensors))
        graphs += bodies
        level = [body.node for body in bodies]
    raise WorkloadError(f"{name}: bodies are nested more than {MAX_DEPTH} deep; flatten the control flow")


def _collect(attribute: onnx.AttributeProto, bodies: list[Any], tensors: list[Any]) -> None:
    kind = attribute.type
    if kind == _TENSOR:
        tensors.append(attribute.t)
    elif kind == _GRAPH:
        bodies.append(attribute.g)
    elif kind == _TENSORS:
        tensors.extend(attribute.tensors)
    elif kind == _GRAPHS:
        bodies.extend(attribute.graphs)
    elif kind in (_SPARSE, _SPARSES):
        for sparse in (attribute.sparse_tensor, *attribute.sparse_tensors):
            tensors.extend((sparse.values, sparse.indices))


def _texts(model: onnx.ModelProto, contents: Contents) -> Iterator[Iterable[str]]:
    """Give every name that the loader reads, in bunches; nodes are read, and checked, when they are visited."""
    yield [entry.domain for entry in model.opset_import]
    for function in model.functions:
        yield [function.name, function.domain, function.overload, *(entry.domain for entry in function.opset_import)]
        yield from (function.input, function.output, function.attribute)
        yield [attribute.name for attribute in function.attribute_proto]
    for graph in contents.graphs:
        stored = {tensor.name for tensor in graph.initializer}
        yield stored
        yield [tensor.values.name for tensor in graph.sparse_initializer]
        edges = (*graph.input[:], *graph.output[:])
        yield [item.name for item in edges]
        for item in edges:
            if item.name not in stored:  # old files list every initializer among the inputs
                yield [dim.dim_param for dim in item.type.tensor_type.shape.dim]


def external_location(tensor: Any) -> str | None:
    """Give the external file of an initializer, or None where its data is inside."""
    if tensor.data_location != _EXTERNAL:
        return None
    return next((entry.value for entry in tensor.external_data if entry.key == "location"), "")


def check_external_data(model: onnx.ModelProto, name: str, folder: Path | None, *, must_exist: bool) -> None:
    """Refuse external data that is outside the model's folder, and, if asked, data that is not there.

    Every tensor is looked at: of the graph, of bodies and functions, dense and sparse, stored and in attributes.

    Raises:
        WorkloadError: Naming the tensor and the file.
    """
    check_contents(_contents(model, name), name, folder, must_exist=must_exist)


def check_contents(contents: Contents, name: str, folder: Path | None, *, must_exist: bool) -> None:
    """Check the external data of what a model holds: see `check_external_data`."""
    sizes: dict[str, int | None] = {}
    stored = [tensor for graph in contents.graphs for tensor in graph.initializer]
    for graph in contents.graphs:
        for sparse in graph.sparse_initializer:
            stored += [sparse.values, sparse.indices]
    for tensor in (*stored, *contents.tensors):
        if tensor.data_location == _EXTERNAL:
            _check_tensor(tensor, name, folder, sizes, must_exist)


def _check_tensor(
    tensor: onnx.TensorProto, name: str, folder: Path | None, sizes: dict[str, int | None], must_exist: bool
) -> None:
    location = external_location(tensor) or ""
    if location not in sizes:
        if not isinstance(location, str) or _is_outside(location, folder):
            raise WorkloadError(
                f"{name}: initializer {tensor.name!r} keeps its data at {location!r}, outside the model's folder; "
                "refused. Move the file beside the model and save the model with a relative location"
            )
        sizes[location] = _size_of(folder / location) if folder is not None else None
    size = sizes[location]
    if not must_exist or folder is None:
        return
    if size is None:
        raise WorkloadError(
            f"{name}: the external data file {location!r} of initializer {tensor.name!r} is missing; put it "
            "beside the model (to cost the graph without its weights: missing_weights='allow', --no-weights)"
        )
    _check_extent(tensor, name, size)


def _is_outside(location: str, folder: Path | None) -> bool:
    """Say whether a location leaves the folder: by its text, or by a link on the way."""
    posix, windows = PurePosixPath(location), PureWindowsPath(location)
    if not location or "\0" in location or posix.is_absolute() or windows.drive or windows.root:
        return True
    if ".." in posix.parts or ".." in windows.parts:
        return True
    if folder is None:
        return False
    try:
        return not (folder / location).resolve().is_relative_to(folder.resolve())
    except (OSError, RuntimeError, ValueError):  # a name too long, a circle of links, no name at all
        return True


def _size_of(path: Path) -> int | None:
    """Give the size of a regular file; None where there is none [B]."""
    try:
        return path.stat().st_size if path.is_file() else None
    except (OSError, ValueError):
        return None


def _extent(tensor: onnx.TensorProto) -> tuple[int, int, Mapping[str, str]]:
    """Give offset and length of external data, (-1, -1) where they make no sense, and all that the file says [B]."""
    entries = {entry.key: entry.value for entry in tensor.external_data}
    if len(tensor.dims) > MAX_AXES:
        return -1, -1, entries
    try:
        offset, length = int(entries.get("offset", 0)), int(entries.get("length", 0))
    except ValueError:
        return -1, -1, entries
    return offset, length or -(-prod(tensor.dims) * _BITS.get(tensor.data_type, 0) // 8), entries


def _check_extent(tensor: onnx.TensorProto, name: str, available: int) -> None:
    """Refuse external data that does not lie inside its file."""
    offset, needed, entries = _extent(tensor)
    if offset < 0 or needed < 0 or offset + needed > available:
        raise WorkloadError(
            f"{name}: initializer {tensor.name!r} wants {needed} bytes from offset {entries.get('offset', 0)} of "
            f"{entries.get('location')!r}, which has {available}; the file was cut or belongs to another model"
        )


def read_external(tensor: onnx.TensorProto, folder: Path) -> bytes | None:
    """Read the external data of one (small) tensor that `check_external_data` let pass; None where there is none."""
    offset, length, entries = _extent(tensor)
    path = folder / entries.get("location", "")
    size = _size_of(path)
    if size is None or offset < 0 or length < 0 or offset + length > size:
        return None
    with path.open("rb") as file:
        file.seek(offset)
        return file.read(length)
