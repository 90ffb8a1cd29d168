"""Models by name: published architectures, one that ships trained, pretrained ones by pinned hash."""

from __future__ import annotations

from pathlib import Path

from workloads.errors import WorkloadError, nearest
from workloads.zoo.build import architecture, generation, parameter_count
from workloads.zoo.catalogue import Published, published, published_names
from workloads.zoo.files import write_onnx

__all__ = [
    "EMBEDDED",
    "Published",
    "architecture",
    "embedded_model",
    "generation",
    "parameter_count",
    "published",
    "published_names",
    "write_onnx",
]

EMBEDDED = {"vit-mnist": Path(__file__).parent / "embedded" / "vit_mnist.onnx"}


def embedded_model(name: str = "vit-mnist") -> Path:
    """Return the path of a shipped ONNX model; `embedded/README.md` says how it was made.

    Raises:
        WorkloadError: No model of this name ships.

    Example:
        >>> embedded_model().name
        'vit_mnist.onnx'
    """
    if name not in EMBEDDED:
        raise WorkloadError(f"no embedded model {name!r}; {nearest(name, EMBEDDED)}")
    return EMBEDDED[name]
