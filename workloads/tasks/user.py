"""Load a task that a user wrote, from `path/to/file.py:ClassName`."""

from __future__ import annotations

import importlib.util
import inspect
from pathlib import Path
from types import ModuleType

from workloads.errors import TaskError, nearest
from workloads.tasks.task import Task

__all__ = ["load_user_task"]

_METHODS = ("evaluate", "calibration", "digest")
_ATTRIBUTES = ("name", "metric", "higher_is_better")


def _run_file(path: Path) -> ModuleType:
    if not path.is_file():
        raise TaskError(f"task file {path}: no such file")
    spec = importlib.util.spec_from_file_location(f"user_task_{path.stem}", path)
    if spec is None or spec.loader is None:
        raise TaskError(f"task file {path}: not a Python file; a task is named as path/to/file.py:ClassName")
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:  # a user's file may fail in any way
        raise TaskError(f"task file {path}: fails on import: {type(error).__name__}: {error}") from error
    return module


def _missing(task: object) -> list[str]:
    """Return what the object lacks of the Task protocol, each with its mend."""
    faults = [f"method {name}()" for name in _METHODS if not callable(getattr(task, name, None))]
    return faults + [f"attribute {name}" for name in _ATTRIBUTES if not hasattr(task, name)]


def load_user_task(reference: str) -> Task:
    """Load a task class from a file and make one, without arguments.

    The file is run: load only what you would run.

    Args:
        reference: "path/to/file.py:ClassName".

    Raises:
        TaskError: The file or class is missing, fails, or lacks a part of the `Task` protocol; all parts are named.
    """
    file, separator, class_name = reference.rpartition(":")
    if not separator or not file or not class_name:
        raise TaskError(f"task {reference!r}: write path/to/file.py:ClassName")
    path = Path(file)
    module = _run_file(path)
    task_class = getattr(module, class_name, None)
    if not inspect.isclass(task_class):
        own = [
            name
            for name, value in vars(module).items()
            if inspect.isclass(value) and value.__module__ == module.__name__
        ]
        raise TaskError(f"task file {path}: no class {class_name!r}; {nearest(class_name, own)}")
    try:
        task = task_class()
    except (Exception, SystemExit) as error:  # likewise
        raise TaskError(f"{reference}: cannot be made without arguments: {type(error).__name__}: {error}") from error
    faults = _missing(task)
    if faults or not isinstance(task, Task):
        raise TaskError(f"{reference}: a task also needs {', '.join(faults)}; see workloads.tasks.Task")
    return task
