"""Handwritten digits: 2,000 test images, 512 training images for calibration."""

from __future__ import annotations

import functools
import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from workloads.errors import TaskError, nearest
from workloads.tasks.session import Model, float_output, open_session, run_batches, sole_input
from workloads.tasks.task import Score, score_examples

__all__ = ["MnistClassification", "normalise"]

# Mean and standard deviation of the 60,000 training images' pixels, in units of full scale (255).
# Source: LeCun, Cortes, Burges, MNIST; computed from the training set.
_MEAN, _DEVIATION = 0.1307, 0.3081
_FOLDER = Path(__file__).parent / "data"
_FILES = {"test": _FOLDER / "mnist_test_2000.npz", "calibration": _FOLDER / "mnist_calibration_512.npz"}


def normalise(images: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Turn images (count, 28, 28) of bytes into the model's input (count, 1, 28, 28): zero mean, unit variance.

    Example:
        >>> normalise(np.full((1, 28, 28), 255, dtype=np.uint8)).max().round(3)
        np.float32(2.822)
    """
    scaled = (images[:, np.newaxis].astype(np.float32) / np.float32(255) - np.float32(_MEAN)) / np.float32(_DEVIATION)
    return scaled.astype(np.float32, copy=False)


@functools.cache
def _load(split: str) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Read a shipped sample once per process, and lock it against writing, because it is shared."""
    if split not in _FILES:
        raise TaskError(f"mnist has no split {split!r}; {nearest(split, _FILES)}")
    with np.load(_FILES[split]) as data:
        images, labels = data["images"], data["labels"].astype(np.int64)
    images.flags.writeable = labels.flags.writeable = False
    return images, labels


def cross_entropy(logits: NDArray[np.floating[Any]], labels: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return the loss of each example, in nats: logits (count, classes), labels (count,) -> (count,).

    Example:
        >>> cross_entropy(np.zeros((1, 10)), np.array([3])).round(4)  # ln 10
        array([2.3026])
    """
    shifted = logits.astype(np.float64) - logits.max(axis=-1, keepdims=True)
    chosen = np.take_along_axis(shifted, labels[:, np.newaxis], axis=-1)[:, 0]
    losses: NDArray[np.float64] = np.log(np.exp(shifted).sum(axis=-1)) - chosen
    return losses


@dataclass(frozen=True, slots=True, kw_only=True)
class MnistClassification:
    """Accuracy of a classifier of 28 x 28 digits; the loss is cross entropy, in nats.

    The model has one input, (batch, 1, 28, 28), normalised by `normalise`, and its first float output holds the logits
    (batch, 10).

    Source: Y. LeCun, C. Cortes, C. J. C. Burges, "The MNIST database of handwritten digits", 1998.

    Attributes:
        batch: Examples per run of the model.
    """

    batch: int = 250
    name: str = "mnist"
    metric: str = "accuracy"
    higher_is_better: bool = True

    def labels(self, split: str = "test") -> NDArray[np.int64]:
        """Return the digits of a split, shape (count,)."""
        return _load(split)[1]

    def inputs(self, split: str = "test", limit: int | None = None) -> dict[str, NDArray[Any]]:
        """Return the normalised images of a split, shape (count, 1, 28, 28), under the embedded model's input name."""
        return {"image": normalise(_load(split)[0][:limit])}

    def calibration(self, limit: int | None = None) -> dict[str, NDArray[Any]]:
        """Return images of the training set: {"image": (count, 1, 28, 28)}, at most 512."""
        return self.inputs("calibration", limit)

    def evaluate(self, model: Model, split: str = "test", *, limit: int | None = None, threads: int = 1) -> Score:
        """Score a classifier.

        Args:
            model: ONNX model, path or open session.
            split: "test" (2,000 images) or "calibration" (512).
            limit: Use only the first examples.
            threads: Threads of ONNX Runtime.

        Returns:
            Accuracy and cross entropy. Logits that are not finite count as wrong, with an infinite loss.

        Raises:
            TaskError: The split is unknown, or the model does not take these images and return ten logits.
        """
        labels = _load(split)[1][:limit]
        session = open_session(model, threads)
        # Any input name will do: there is one input, so there is nothing to confuse.
        feeds = {sole_input(session): self.inputs(split, limit)["image"]}
        logits = run_batches(session, feeds, float_output(session), self.batch)
        if logits.shape != (len(labels), 10):
            raise TaskError(f"mnist needs logits of shape ({len(labels)}, 10); the model returned {logits.shape}")
        finite = np.isfinite(logits).all(axis=-1)
        safe = np.where(finite[:, np.newaxis], logits, 0)
        losses = np.where(finite, cross_entropy(safe, labels), np.inf)
        return score_examples(self.metric, finite & (safe.argmax(axis=-1) == labels), losses, higher_is_better=True)

    def digest(self) -> str:
        """Return a hash of the images, labels and normalisation."""
        digest = hashlib.sha256(f"mnist accuracy {_MEAN} {_DEVIATION}".encode())
        for split in _FILES:
            for array in _load(split):
                digest.update(array.tobytes())
        return digest.hexdigest()
