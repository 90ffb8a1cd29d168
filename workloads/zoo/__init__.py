"""Models by name: published architectures, one that ships trained, pretrained ones by pinned hash."""

from __future__ import annotations

from pathlib import Path

from workloads.errors import WorkloadError, nearest
from workloads.zoo.build import architecture, generation, graph, parameter_count
from workloads.zoo.files import write_onnx
from workloads.zoo.published import Published, published, published_names

__all__ = [
    "EMBEDDED",
    "Published",
    "architecture",
    "embedded_model",
    "generation",
    "graph",
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
