"""Accuracy of compressed models: sensitivities measured once, combinations predicted from them, fronts measured.

The loss that one change in one block costs is measured on the calibration split. The losses of a combination are taken
to add (Dong et al., HAWQ-V2, 2020, use the same additivity); a monotone curve fitted on measured combinations turns
that sum into the drop of the task's metric, with an error bar. What a report shows on its front is measured again.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from workloads import compress, tasks
from workloads.compress import Fitted, Technique
from workloads.errors import DseError, SpaceError, TaskError
from workloads.knobs import PerLayer
from workloads.tasks import Drop, Score, Task

if TYPE_CHECKING:
    import onnx

__all__ = ["AccuracyCurve", "Change", "Measured", "Scorer", "Sensitivities", "fit_curve", "measure_sensitivities"]

Progress = Callable[[str, int, int], None]
"""Called as progress(what, done, total)."""


@dataclass(frozen=True, slots=True, order=True)
class Change:
    """One change in one block: the unit of sensitivity.

    Attributes:
        knob: "weight_bits", "activation_bits", "head_density" or "neuron_density".
        block: Block name.
        value: Value of the knob there; everything else stays as it is.
    """

    knob: str
    block: str
    value: float

    def technique(self) -> Technique:
        """Give the technique that makes this change alone."""
        root = self.block.partition(".")[0]
        if self.knob == "head_density":
            return compress.PruneHeads(density={root: 1.0, self.block: self.value})
        if self.knob == "neuron_density":
            return compress.PruneNeurons(density={root: 1.0, self.block: self.value})
        bits = {root: float(compress.KEEP_BITS), self.block: self.value}
        return compress.Quantize(weight_bits=bits, activation_bits=8 if self.knob == "activation_bits" else 32)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Measured:
    """A compressed model's measured score beside the uncompressed one's.

    Attributes:
        score: On the split that was asked for.
        drop: In the metric's worse direction, with its paired standard error.
        loss_rise: Of the mean loss, with its paired standard error.
    """

    score: Score
    drop: Drop
    loss_rise: Drop


class Scorer:
    """Scores compressed versions of one model on one task; every combination is measured at most once.

    It holds the scores that it has measured: that is its purpose.
    """

    def __init__(self, model: onnx.ModelProto, task: Task, split: str = "test", limit: int | None = None) -> None:
        self.model = model
        self.task = task
        self.split = split
        self.limit = limit
        self.reference = self._score(model)
        self._known: dict[str, Measured] = {}

    def measure(self, techniques: Sequence[Technique | Fitted]) -> Measured:
        """Apply techniques to the real weights and run the task.

        Args:
            techniques: In order; none scores the model as it is.
        """
        parameters = [technique.to_dict() for technique in techniques]
        key = json.dumps(parameters, sort_keys=True, default=float)
        if key not in self._known:
            small = compress.apply(self.model, *techniques)
            score = self._score(small)
            self._known[key] = Measured(
                score=score,
                drop=tasks.drop(self.reference, score),
                loss_rise=tasks.loss_rise(self.reference, score),
            )
        return self._known[key]

    def _score(self, model: onnx.ModelProto) -> Score:
        """Run the task, and hold a user's task to its word.

        Raises:
            TaskError: It fails, gives no `Score`, a score that is not a number, or another metric than it declares.
        """
        task = self.task
        try:
            score = task.evaluate(model, self.split, limit=self.limit)
        except DseError:
            raise
        except Exception as error:  # a user's task may fail in any way
            raise TaskError(
                f"task {task.name}: evaluate() fails on split {self.split!r}: {type(error).__name__}: {error}"
            ) from error
        if not isinstance(score, Score):
            raise TaskError(f"task {task.name}: evaluate() gives {type(score).__name__}, not a workloads.tasks.Score")
        if (score.metric, score.higher_is_better) != (task.metric, task.higher_is_better):
            raise TaskError(
                f"task {task.name}: declares {task.metric!r} (higher is better: {task.higher_is_better}), but scores "
                f"{score.metric!r} (higher is better: {score.higher_is_better})"
            )
        if not np.isfinite(score.value):
            raise TaskError(f"task {task.name}: the model scores {score.value} on split {self.split!r}")
        return score

    def measure_all(
        self,
        designs: Sequence[Sequence[Technique | Fitted]],
        *,
        workers: int = 2,
        progress: Progress | None = None,
        what: str = "measuring accuracy",
    ) -> list[Measured]:
        """Measure several designs, a few at a time (ONNX Runtime leaves the interpreter lock while it runs)."""
        results: list[Measured] = []
        with ThreadPoolExecutor(workers) as pool:
            for done, measured in enumerate(pool.map(self.measure, designs), start=1):
                results.append(measured)
                if progress is not None:
                    progress(what, done, len(designs))
        return results


@dataclass(frozen=True, slots=True, eq=False)
class Sensitivities:
    """The rise of the loss that each change costs alone.

    Attributes:
        rise: Change to the rise of the mean loss on the calibration split.
        standard_error: Change to the paired standard error of that rise.
    """

    rise: Mapping[Change, float]
    standard_error: Mapping[Change, float]

    def predict(self, knobs: Mapping[str, PerLayer]) -> NDArray[np.float64]:
        """Add up the rises of combinations.

        Args:
            knobs: Knob name to per-layer values, shape (n_points, n_layers) each.

        Returns:
            Predicted rise of the loss, shape (n_points,); one number for one point. Between measured values of a knob
            the rise is interpolated.

        Raises:
            SpaceError: A block's knob has no measured sensitivity.
        """
        total: Any = 0.0
        for knob, layers in knobs.items():
            for column, block in enumerate(layers.blocks):
                values, rises = self._column(knob, block)
                total = total + np.interp(layers.values[..., column], values, rises)
        return np.asarray(total)

    def _column(self, knob: str, block: str) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Give the values of one block's knob, ascending, and their rises, made monotone: less never helps."""
        changes = sorted((c for c in self.rise if c.knob == knob and c.block == block), key=lambda c: -c.value)
        if not changes:
            raise SpaceError(f"the sensitivity of {knob} in {block!r} was not measured; measure it, or drop the knob")
        rises = np.asarray(np.maximum.accumulate([0.0, *(self.rise[change] for change in changes)]))
        untouched = 1.0 if knob.endswith("density") else float(compress.KEEP_BITS)
        return np.array([untouched, *(change.value for change in changes)])[::-1], rises[::-1]

    def to_json(self) -> str:
        """Write as JSON text."""
        rows = [
            {"knob": c.knob, "block": c.block, "value": c.value, "rise": r, "standard_error": self.standard_error[c]}
            for c, r in sorted(self.rise.items())
        ]
        return json.dumps(rows, indent=1)

    @staticmethod
    def from_json(text: str) -> Sensitivities:
        """Read what `to_json` wrote."""
        rows = json.loads(text)
        changes = [Change(row["knob"], row["block"], row["value"]) for row in rows]
        rises = [row["rise"] for row in rows]
        errors = [row["standard_error"] for row in rows]
        return Sensitivities(dict(zip(changes, rises, strict=True)), dict(zip(changes, errors, strict=True)))


def measure_sensitivities(
    scorer: Scorer,
    changes: Iterable[Change],
    *,
    cache: Path | None = None,
    workers: int = 2,
    progress: Progress | None = None,
) -> Sensitivities:
    """Measure what each change costs alone, on the scorer's split.

    Args:
        scorer: On the calibration split.
        changes: What to try.
        cache: Folder in which sensitivities are kept, by digest of model, task and changes.
        workers: Threads.
        progress: Called as progress(what, done, total).
    """
    changes = sorted(set(changes))
    kept = None if cache is None else cache / f"sensitivities-{_digest(scorer, changes)}.json"
    if kept is not None and kept.is_file():
        return Sensitivities.from_json(kept.read_text())
    designs = [[change.technique()] for change in changes]
    measured = scorer.measure_all(designs, workers=workers, progress=progress, what="measuring sensitivities")
    found = Sensitivities(
        {change: item.loss_rise.value for change, item in zip(changes, measured, strict=True)},
        {change: item.loss_rise.standard_error for change, item in zip(changes, measured, strict=True)},
    )
    if kept is not None:
        kept.parent.mkdir(parents=True, exist_ok=True)
        part = kept.with_suffix(".part")
        part.write_text(found.to_json())
        part.replace(kept)
    return found


def _digest(scorer: Scorer, changes: Sequence[Change]) -> str:
    text = scorer.model.SerializeToString(deterministic=True)
    parts = (text, scorer.task.digest().encode(), f"{scorer.split}{scorer.limit}{changes}".encode())
    return hashlib.sha256(b"|".join(hashlib.sha256(part).digest() for part in parts)).hexdigest()[:16]


@dataclass(frozen=True, slots=True, eq=False)
class AccuracyCurve:
    """A monotone curve from the predicted rise of the loss to the drop of the metric.

    Attributes:
        rises: Predicted rises of measured combinations, ascending, shape (n,).
        drops: Fitted drops at these, ascending, shape (n,).
        sd: Standard deviation of a prediction, from leave-one-out residuals.
    """

    rises: NDArray[np.float64]
    drops: NDArray[np.float64]
    sd: float

    def predict(self, rise: Any) -> Any:
        """Predict the drop of the metric, same shape as `rise`."""
        return np.interp(rise, self.rises, self.drops)


def fit_curve(rises: Sequence[float], drops: Sequence[float]) -> AccuracyCurve:
    """Fit the curve by isotonic regression through (0, 0).

    Args:
        rises: Predicted rises of the loss of measured combinations, shape (n,), n >= 2.
        drops: Their measured drops, shape (n,).

    Example:
        >>> curve = fit_curve([0.1, 0.2, 1.0], [0.01, 0.0, 0.3])
        >>> float(curve.predict(1.0))
        0.3

    Source: Barlow et al., Statistical Inference under Order Restrictions, 1972 (isotonic regression).
    """
    order = np.argsort(rises)
    x = np.concatenate([[0.0], np.asarray(rises, dtype=float)[order]])
    y = np.concatenate([[0.0], np.asarray(drops, dtype=float)[order]])
    fitted = _isotonic(y)
    residuals = []
    for left_out in range(1, len(x)):
        keep = np.arange(len(x)) != left_out
        residuals.append(y[left_out] - np.interp(x[left_out], x[keep], _isotonic(y[keep])))
    return AccuracyCurve(x, fitted, float(np.std(residuals)) if len(residuals) > 1 else float("inf"))


def _isotonic(values: NDArray[np.float64]) -> NDArray[np.float64]:
    from scipy.optimize import isotonic_regression

    weights = np.ones(len(values))
    weights[0] = 1e9  # the origin is certain: no change costs nothing
    return np.asarray(isotonic_regression(values, weights=weights).x)
