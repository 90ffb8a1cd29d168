"""Models by name: for now the one that ships with the package, trained, with its weights."""

from __future__ import annotations

from pathlib import Path

from workloads.errors import WorkloadError, nearest

__all__ = ["EMBEDDED", "embedded_model"]

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
