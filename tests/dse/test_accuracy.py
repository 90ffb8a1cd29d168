"""Accuracy: a user's task is held to its word; curves are monotone and pass through the origin."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dse.accuracy import Change, Scorer, Sensitivities, fit_curve
from workloads.errors import TaskError
from workloads.knobs import PerLayer
from workloads.tasks import MnistClassification, Score, score_examples
from workloads.zoo import embedded_model


@dataclass
class Broken:
    """A task that does something wrong."""

    outcome: Any
    name: str = "broken"
    metric: str = "accuracy"
    higher_is_better: bool = True
    inner: MnistClassification = field(default_factory=MnistClassification)

    def evaluate(self, model: Any, split: str = "test", *, limit: int | None = None, threads: int = 1) -> Any:
        if isinstance(self.outcome, Exception):
            raise self.outcome
        return self.outcome

    def calibration(self, limit: int | None = None) -> dict[str, Any]:
        return {}

    def digest(self) -> str:
        return "broken"


def _score(value: float, metric: str = "accuracy", higher_is_better: bool = True) -> Score:
    return score_examples(metric, [value, value], [0.0, 0.0], higher_is_better=higher_is_better)


@pytest.mark.parametrize(
    ("outcome", "message"),
    [
        (KeyError("boom"), "broken: evaluate.. fails on split 'test': KeyError: 'boom'"),
        (0.9, "gives float, not a workloads.tasks.Score"),
        (_score(float("nan")), "scores nan"),
        (_score(0.9, metric="f1"), "declares 'accuracy'.*scores 'f1'"),
        (_score(0.9, higher_is_better=False), "higher is better: False"),
    ],
)
def test_a_task_that_breaks_its_word_is_named_with_what_it_did(outcome: Any, message: str) -> None:
    model = onnx.load(str(embedded_model()))
    with pytest.raises(TaskError, match=message):
        Scorer(model, Broken(outcome))


pairs = st.lists(st.tuples(st.floats(1e-6, 10), st.floats(0, 1)), min_size=2, max_size=20)


@settings(max_examples=100)
@given(pairs)
def test_a_curve_is_monotone_and_passes_through_the_origin(points: list[tuple[float, float]]) -> None:
    curve = fit_curve([rise for rise, _ in points], [drop for _, drop in points])
    grid = curve.predict(np.linspace(0, 10, 50))
    assert np.all(np.diff(grid) >= -1e-12)
    assert curve.predict(0.0) == pytest.approx(0.0, abs=1e-12)


def test_sensitivities_add_over_blocks_and_survive_json() -> None:
    changes = {Change("weight_bits", "layer.0", 4): 0.1, Change("weight_bits", "layer.1", 4): 0.25}
    found = Sensitivities.from_json(Sensitivities(changes, dict.fromkeys(changes, 0.01)).to_json())
    bits = PerLayer(("layer.0", "layer.1"), np.array([[4.0, 4.0], [4.0, 32.0], [32.0, 32.0]]))
    assert found.predict({"weight_bits": bits}).tolist() == pytest.approx([0.35, 0.1, 0.0])
