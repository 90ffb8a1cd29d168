"""What a task is: data, a metric and an evaluation that returns a score with its standard error."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol, runtime_checkable

import numpy as np
from numpy.typing import ArrayLike, NDArray

from workloads.errors import TaskError
from workloads.tasks.session import Model

__all__ = ["Drop", "Score", "Task", "drop", "loss_rise", "score_examples"]

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Score:
    """The mean of a per-example metric, how sure it is, and a loss that moves before the metric does.

    Attributes:
        metric: Name of the metric, such as "accuracy".
        value: Mean of `per_example`.
        standard_error: Standard error of `value`, over examples.
        count: Number of examples.
        higher_is_better: Direction of the metric. The loss is always better when lower.
        per_example: Metric of each example, shape (count,).
        loss: Mean of `loss_per_example`: a smoother signal than the metric, for sensitivities.
        loss_per_example: Loss of each example, shape (count,); the unit is the task's (nats for cross entropy).
    """

    metric: str
    value: float
    standard_error: float
    count: int
    higher_is_better: bool
    per_example: Floats
    loss: float
    loss_per_example: Floats


class Drop(NamedTuple):
    """How much worse a score is than its reference, and the paired standard error of that."""

    value: float
    standard_error: float


@runtime_checkable
class Task(Protocol):
    """Data and a metric. `workloads.tasks.testing.check_task` checks an implementation."""

    @property
    def name(self) -> str:
        """Name for reports."""

    @property
    def metric(self) -> str:
        """Name of the metric."""

    @property
    def higher_is_better(self) -> bool:
        """Direction of the metric."""

    def evaluate(self, model: Model, split: str = "test", *, limit: int | None = None, threads: int = 1) -> Score:
        """Score a model on the first `limit` examples (all by default) of a split, "test" or "calibration"."""

    def calibration(self, limit: int | None = None) -> dict[str, NDArray[Any]]:
        """Return the model's inputs by name, each with a leading example axis, for sensitivities. Never test data."""

    def digest(self) -> str:
        """Return a hash of data and settings: equal digests and equal models give equal scores."""


def _mean_error(values: Floats) -> float:
    """Standard error of the mean; infinite losses (a model that returns NaN) give an infinite one."""
    if not np.isfinite(values).all():
        return float("inf")
    return float(values.std(ddof=1) / np.sqrt(len(values))) if len(values) > 1 else float("inf")


def score_examples(
    metric: str, per_example: ArrayLike, loss_per_example: ArrayLike, *, higher_is_better: bool
) -> Score:
    """Summarise metric and loss of each example, both of shape (count,).

    Raises:
        TaskError: There is no example, or the two arrays differ in shape.

    Example:
        >>> score = score_examples("accuracy", [1, 0, 1, 1], [0.1, 2.0, 0.3, 0.2], higher_is_better=True)
        >>> score.value, round(score.standard_error, 3), score.count
        (0.75, 0.25, 4)
    """
    values, losses = np.asarray(per_example, dtype=np.float64), np.asarray(loss_per_example, dtype=np.float64)
    if values.ndim != 1 or not len(values) or values.shape != losses.shape:
        raise TaskError(
            f"{metric}: per-example shapes {values.shape} and {losses.shape}; give two of shape (count,), count >= 1"
        )
    return Score(
        metric=metric, value=float(values.mean()), standard_error=_mean_error(values), count=len(values),
        higher_is_better=higher_is_better, per_example=values, loss=float(losses.mean()), loss_per_example=losses,
    )  # fmt: skip


def _check_pair(reference: Score, score: Score) -> None:
    if (reference.metric, reference.count) != (score.metric, score.count):
        raise TaskError(
            f"scores do not pair: {reference.metric} of {reference.count} examples and {score.metric} of {score.count};"
            " evaluate both models with the same task, split and limit"
        )


def _difference(worse: Floats, better: Floats) -> Drop:
    if not np.isfinite(worse).all() or not np.isfinite(better).all():
        return Drop(float("inf"), float("inf"))
    difference = worse - better
    return Drop(float(difference.mean()), _mean_error(difference))


def drop(reference: Score, score: Score) -> Drop:
    """Return how much worse `score` is than `reference`: positive is worse, whatever the metric's direction.

    The standard error is that of the mean of the per-example differences: both models saw the same examples, so what is
    hard for both cancels. It is far smaller than the two scores' own errors suggest.

    Raises:
        TaskError: The scores are of different metrics or numbers of examples.

    Example:
        >>> before = score_examples("accuracy", [1, 1, 1, 1], [0, 0, 0, 0], higher_is_better=True)
        >>> after = score_examples("accuracy", [1, 0, 1, 1], [0, 3, 0, 0], higher_is_better=True)
        >>> drop(before, after)
        Drop(value=0.25, standard_error=0.25)
    """
    _check_pair(reference, score)
    pair = (reference.per_example, score.per_example)
    return _difference(*pair) if reference.higher_is_better else _difference(*pair[::-1])


def loss_rise(reference: Score, score: Score) -> Drop:
    """Return by how much the mean loss of `score` exceeds that of `reference`, with its paired standard error.

    Raises:
        TaskError: The scores are of different metrics or numbers of examples.
    """
    _check_pair(reference, score)
    return _difference(score.loss_per_example, reference.loss_per_example)
