"""Tasks: data and a metric that measure a model's real accuracy."""

from __future__ import annotations

from collections.abc import Callable

from workloads.errors import TaskError, nearest
from workloads.tasks.agreement import Agreement
from workloads.tasks.mnist import MnistClassification
from workloads.tasks.retrieval import WordNetRetrieval
from workloads.tasks.session import Model
from workloads.tasks.task import Drop, Score, Task, drop, loss_rise, score_examples
from workloads.tasks.user import load_user_task

__all__ = [
    "TASKS",
    "Agreement",
    "Drop",
    "MnistClassification",
    "Model",
    "Score",
    "Task",
    "WordNetRetrieval",
    "drop",
    "load",
    "load_user_task",
    "loss_rise",
    "score_examples",
]

TASKS: dict[str, Callable[[], Task]] = {"mnist": MnistClassification, "wordnet-retrieval": WordNetRetrieval}


def load(name: str, *, reference: Model | None = None) -> Task:
    """Return a task by name.

    Args:
        name: A shipped task ("mnist", "wordnet-retrieval"), "agreement:inputs.npz", or a user's
            "path/to/file.py:ClassName".
        reference: The uncompressed model; only agreement needs it.

    Raises:
        TaskError: The name is unknown, agreement has no reference, or the user's class is not a task.

    Example:
        >>> load("mnist").metric
        'accuracy'
    """
    if name in TASKS:
        return TASKS[name]()
    kind, _, argument = name.partition(":")
    if kind == "agreement" and argument:
        if reference is None:
            raise TaskError(f"task {name!r} compares with the uncompressed model: pass it as reference=")
        return Agreement(inputs=argument, reference=reference)
    if ".py" in name:
        return load_user_task(name)
    known = nearest(name, [*TASKS, "agreement:inputs.npz", "path/to/file.py:ClassName"])
    raise TaskError(f"unknown task {name!r}; {known}")
