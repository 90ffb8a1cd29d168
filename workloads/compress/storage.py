"""How large a model is: true bits, containers, and the file, reported apart."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from workloads.compress.edit import workload_of

if TYPE_CHECKING:
    import onnx

__all__ = ["Sizes", "sizes"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Sizes:
    """Sizes of one model.

    Attributes:
        packed_bytes: All weights that the graph reads, at their true widths, with scales [B]: `Workload.weight_bytes`.
        container_bytes: All stored tensors in the containers that they sit in [B].
        file_bytes: The serialized model, external data included [B].
        parameters: Weight values that the graph reads.
    """

    packed_bytes: float
    container_bytes: int
    file_bytes: int
    parameters: int


def sizes(model: onnx.ModelProto) -> Sizes:
    """Measure a model.

    Args:
        model: With or without its external data; what is declared counts.

    Example:
        >>> import onnx
        >>> from workloads.zoo import embedded_model
        >>> small = sizes(onnx.load(embedded_model("vit-mnist")))
        >>> small.packed_bytes == 4 * small.parameters
        True
    """
    from onnx import external_data_helper

    workload = workload_of(model)
    external = sum(
        int(entry.value)
        for tensor in model.graph.initializer
        if external_data_helper.uses_external_data(tensor)
        for entry in tensor.external_data
        if entry.key == "length"
    )
    return Sizes(
        packed_bytes=float(workload.weight_bytes()),
        container_bytes=sum(_container_bytes(tensor) for tensor in model.graph.initializer),
        file_bytes=model.ByteSize() + external,
        parameters=int(workload.weight_count()),
    )


def _container_bytes(tensor: onnx.TensorProto) -> int:
    from workloads.formats import FORMATS
    from workloads.onnx.dtypes import code_of_onnx

    size = 1
    for extent in tensor.dims:
        size *= extent
    return -(-size * FORMATS[code_of_onnx(tensor.data_type, tensor.name)].bits // 8)
