"""Compression techniques, each with a cost view (on workloads) and a real view (on ONNX models)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from workloads.compress.prune import PrunedUnits, PruneHeads, PruneNeurons
from workloads.compress.quantize import KEEP_BITS, Quantize, quantizable
from workloads.compress.storage import Sizes, sizes
from workloads.compress.stored import from_dict
from workloads.compress.technique import Fitted, LayerNum, Technique, resolve
from workloads.errors import TechniqueError
from workloads.knobs import PerLayer
from workloads.workload import Workload

if TYPE_CHECKING:
    import onnx

__all__ = [
    "KEEP_BITS",
    "Fitted",
    "LayerNum",
    "PerLayer",
    "PruneHeads",
    "PruneNeurons",
    "PrunedUnits",
    "Quantize",
    "Sizes",
    "Technique",
    "apply",
    "cost",
    "from_dict",
    "quantizable",
    "resolve",
    "sizes",
]


def cost(workload: Workload, *techniques: Technique | Fitted) -> Workload:
    """Say what a workload is after compression, without touching weights.

    Args:
        workload: Scalar; structure is found on it once.
        *techniques: In the order in which they are applied (prune before quantizing). Numeric parameters may be arrays
            of shape (n_points,); the result is then a batch.

    Returns:
        The transformed workload.

    Example:
        >>> from workloads.onnx import load_onnx
        >>> from workloads.zoo import embedded_model
        >>> work = load_onnx(embedded_model("vit-mnist"), batch=1)
        >>> small = cost(work, Quantize(weight_bits=4))
        >>> small.weight_bytes() < work.weight_bytes()
        True
    """
    _check_order(techniques)
    base = workload
    for technique in techniques:
        workload = technique.cost(workload, base)
    return workload


def _check_order(techniques: tuple[Technique | Fitted, ...]) -> None:
    """Refuse pruning after quantization (packed weights have no slices), and quantizing a block twice."""
    quantized: set[str] = set()
    for technique in techniques:
        if not isinstance(technique, Quantize):
            if quantized:
                raise TechniqueError(f"{type(technique).__name__} comes after Quantize; prune first, then quantize")
            continue
        twice = quantized & set(technique.blocks)
        if twice:
            raise TechniqueError(
                f"two Quantize techniques act on {sorted(twice)}; give one of them other blocks, or one technique "
                "a mapping of widths per block"
            )
        quantized |= set(technique.blocks)


def apply(model: onnx.ModelProto, *techniques: Technique | Fitted) -> onnx.ModelProto:
    """Apply techniques to a model's real weights.

    Args:
        model: With its weights loaded; it is left as it is.
        *techniques: In order; a technique that is not fitted is fitted on the model as it stands.

    Returns:
        The compressed model. Loading it gives what `cost` says (the commuting square).
    """
    _check_order(techniques)
    for technique in techniques:
        fitted = technique if not hasattr(technique, "fit") else technique.fit(model)
        model = fitted.apply(model)
    return model
