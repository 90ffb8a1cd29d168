"""Score any model against its own fp32 outputs: for models without a labelled task."""

from __future__ import annotations

import functools
import hashlib
import os
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from workloads.errors import TaskError
from workloads.tasks.session import Model, Session, float_output, open_session, run_batches
from workloads.tasks.task import Score, score_examples

__all__ = ["Agreement"]

Rule = Literal["auto", "argmax", "relative_error"]
Array = NDArray[Any]


def relative_error(outputs: Array, reference: Array) -> NDArray[np.float64]:
    """Return the L2 norm of each example's error over that of its reference: (count, ...) twice -> (count,).

    A reference of (almost) zero is floored at a millionth of the largest, so that one silent example does not rule.

    Example:
        >>> relative_error(np.array([[3.0, 4.0], [1.0, 0.0]]), np.array([[3.0, 0.0], [1.0, 0.0]]))
        array([1.33, 0.  ])
    """
    count = len(reference)
    wanted = reference.reshape(count, -1).astype(np.float64)
    error = outputs.reshape(count, -1).astype(np.float64) - wanted
    norms = np.linalg.norm(wanted, axis=1)
    floor = 1e-6 * norms.max() or 1.0
    ratio: NDArray[np.float64] = np.linalg.norm(error, axis=1) / np.maximum(norms, floor)
    return ratio


def argmax_agreement(outputs: Array, reference: Array, mask: Array | None = None) -> NDArray[np.float64]:
    """Return the share of positions at which the largest entry of the last axis is the same.

    Args:
        outputs: Shape (count, ..., classes).
        reference: The same shape.
        mask: Positions that count, shape (count, ...); all by default.

    Returns:
        Shape (count,).

    Example:
        >>> argmax_agreement(np.array([[[1, 2], [2, 1]]]), np.array([[[1, 2], [1, 2]]]))
        array([0.5])
    """
    count = len(reference)
    equal = (outputs.argmax(axis=-1) == reference.argmax(axis=-1)).reshape(count, -1)
    weights = np.ones(equal.shape) if mask is None else mask.reshape(count, -1).astype(np.float64)
    share: NDArray[np.float64] = (equal * weights).sum(axis=1) / np.maximum(weights.sum(axis=1), 1e-12)
    return share


def _read_inputs(path: Path) -> dict[str, Array]:
    """Read the inputs and check that they have one common, leading example axis."""
    if not path.is_file():
        raise TaskError(f"agreement: {path}: no such file; save the model's inputs by name with numpy.savez")
    try:
        with np.load(path, allow_pickle=False) as data:
            inputs = {name: data[name] for name in data.files}
    except (ValueError, OSError, AttributeError, EOFError, BadZipFile, zlib.error) as error:  # no archive, cut, pickled
        raise TaskError(f"agreement: {path}: not an .npz of plain arrays ({error})") from error
    for name, values in inputs.items():
        if values.dtype.kind == "f" and not np.isfinite(values).all():
            raise TaskError(
                f"agreement: {path}: array {name!r} holds values that are not finite; clean the inputs first"
            )
    counts = {name: values.shape[0] if values.ndim else 0 for name, values in inputs.items()}
    if len(set(counts.values())) != 1 or 0 in counts.values():
        raise TaskError(f"agreement: {path}: arrays need one common leading example axis; lengths are {counts}")
    return inputs


def _model_bytes(model: Model) -> Iterator[bytes]:
    """Yield what identifies a model: its bytes, and those of the files that hold its external data."""
    if not isinstance(model, str | os.PathLike):
        assert not isinstance(model, Session)  # refused on construction
        yield model.SerializeToString(deterministic=True)
        return
    import onnx
    from onnx.external_data_helper import ExternalDataInfo, uses_external_data

    path = Path(model)
    yield path.read_bytes()
    tensors = onnx.load(path, load_external_data=False).graph.initializer
    for name in sorted({ExternalDataInfo(tensor).location for tensor in tensors if uses_external_data(tensor)}):
        yield (path.parent / name).read_bytes()


@dataclass(frozen=True, kw_only=True)
class Agreement:
    """Agreement of a model with its own uncompressed outputs, on a user's inputs.

    The first float output is compared. The rule is "argmax" if its last axis is longer than 1, as in classifiers and
    language models: the metric of an example is the share of its positions whose largest entry is the same (positions
    with attention_mask 0 do not count, where the inputs have one of that shape). Else, as in regression, it is
    "relative_error": the L2 norm of the error over that of the reference, lower is better. Name the rule where the last
    axis is no choice among classes, as in embeddings. The loss is the relative error under both rules.

    Agreement is not accuracy: a compressed model may disagree and be right. It needs no labels, that is its use.

    Attributes:
        inputs: An .npz with the model's inputs by name, each with a leading example axis.
        reference: The uncompressed model, or a path to it.
        rule: "auto", "argmax" or "relative_error".
        calibration_share: Share of the examples, the last ones, that is kept from the test for calibration. A single
            example serves both.
        batch: Examples per run of the model.
    """

    # No slots: the cached properties below need an instance dictionary. They cache pure functions of frozen fields.
    inputs: str | os.PathLike[str]
    reference: Model
    rule: Rule = "auto"
    calibration_share: float = 0.25
    batch: int = 100

    def __post_init__(self) -> None:
        """Refuse what would fail late.

        Raises:
            TaskError: A field is out of range.
        """
        if isinstance(self.reference, Session):
            raise TaskError(
                "agreement: the reference is an open session; give the model or its path, a digest is made of it"
            )
        if self.rule not in ("auto", "argmax", "relative_error"):
            raise TaskError(f"agreement: unknown rule {self.rule!r}; known: auto, argmax, relative_error")
        if not 0 < self.calibration_share < 1:
            raise TaskError(f"agreement: calibration_share is {self.calibration_share}; give a number between 0 and 1")

    @property
    def name(self) -> str:
        """Name for reports."""
        return f"agreement:{Path(self.inputs).name}"

    @property
    def metric(self) -> str:
        """Name of the metric: it follows from the shape of the reference's output under the rule "auto"."""
        return {"argmax": "argmax_agreement", "relative_error": "relative_error"}[self._rule]

    @property
    def higher_is_better(self) -> bool:
        """Direction of the metric."""
        return self._rule == "argmax"

    @functools.cached_property
    def _data(self) -> dict[str, Array]:
        return _read_inputs(Path(self.inputs))

    @functools.cached_property
    def _expected(self) -> Array:
        """The reference's output on all examples. One thread: the sums' order is then the same every time."""
        session = open_session(self.reference)
        return run_batches(session, self._data, float_output(session), self.batch)

    @property
    def _rule(self) -> str:
        if self.rule != "auto":
            return self.rule
        return "argmax" if self._expected.ndim > 1 and self._expected.shape[-1] > 1 else "relative_error"

    def _rows(self, split: str, limit: int | None) -> slice:
        count = len(next(iter(self._data.values())))
        kept = min(max(1, round(self.calibration_share * count)), count - 1)
        bounds = {"test": (0, count - kept), "calibration": (count - kept if kept else 0, count)}
        if split not in bounds:
            raise TaskError(f"agreement has no split {split!r}; known: calibration, test")
        start, stop = bounds[split]
        return slice(start, stop if limit is None else min(stop, start + limit))

    def calibration(self, limit: int | None = None) -> dict[str, Array]:
        """Return the inputs kept for calibration, by name, each of shape (count, ...)."""
        rows = self._rows("calibration", limit)
        return {name: values[rows] for name, values in self._data.items()}

    def evaluate(self, model: Model, split: str = "test", *, limit: int | None = None, threads: int = 1) -> Score:
        """Score a model against the reference.

        Args:
            model: ONNX model, path or open session, with the reference's inputs and outputs.
            split: "test" or "calibration".
            limit: Use only the first examples.
            threads: Threads of ONNX Runtime.

        Returns:
            Agreement or relative error, and relative error as the loss. Outputs that are not finite agree nowhere, and
            their error is infinite.

        Raises:
            TaskError: The model does not take the inputs, or its output has another shape than the reference's.
        """
        rows = self._rows(split, limit)
        data, expected = {name: values[rows] for name, values in self._data.items()}, self._expected[rows]
        session = open_session(model, threads)
        outputs = run_batches(session, data, float_output(session), self.batch)
        if outputs.shape != expected.shape:
            raise TaskError(f"agreement: the output has shape {outputs.shape}, the reference's {expected.shape}")
        finite = np.isfinite(outputs.reshape(len(outputs), -1)).all(axis=1)
        safe = np.where(finite.reshape(-1, *[1] * (outputs.ndim - 1)), outputs, 0)
        errors = np.where(finite, relative_error(safe, expected), np.inf)
        if self._rule == "relative_error":
            return score_examples(self.metric, errors, errors, higher_is_better=False)
        mask = data.get("attention_mask")
        mask = mask if mask is not None and mask.shape == expected.shape[:-1] else None
        return score_examples(
            self.metric, finite * argmax_agreement(safe, expected, mask), errors, higher_is_better=True
        )

    def digest(self) -> str:
        """Return a hash of the inputs, the reference model and the rule."""
        digest = hashlib.sha256(f"agreement {self.rule} {self.calibration_share}".encode())
        for name, values in sorted(self._data.items()):
            digest.update(f"{name} {values.dtype.str} {values.shape}".encode())
            digest.update(values.tobytes())
        for part in _model_bytes(self.reference):
            digest.update(part)
        return digest.hexdigest()
