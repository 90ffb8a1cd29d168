"""The table [model] of a sweep's file: an ONNX file or an architecture of the zoo, and the sizes of its dims."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from dse.cli.inputs import ModelSource, check_bound, model_path
from dse.cli.sources import check_free_ops
from dse.cli.zoo_source import ZooOptions, ZooSource, is_zoo_model
from workloads.errors import DseError, SpaceError
from workloads.workload import Workload

__all__ = ["MODEL_KEYS", "in_file", "load_workloads", "model_source"]

_READING = ("weights", "free_ops")
_ZOO = ("phase", "context", "dtype", "kv_bits")
MODEL_KEYS = ("path", "bind", *_READING, *_ZOO)


def model_source(model: Mapping[str, Any], folder: Path) -> ModelSource | ZooSource:
    """Find the model that the table asks for: beside the sweep's file, by path, or by name.

    Raises:
        SpaceError: A key has the wrong kind of value, or does nothing for this model.
        WorkloadError: Neither a file nor a name.
    """
    name = model.get("path")
    if not isinstance(name, str) or not name:
        raise SpaceError('model.path: missing; give an .onnx file or a name: path = "vit-mnist"')
    bind = model.get("bind", {})
    if not isinstance(bind, Mapping):
        raise SpaceError(f"model.bind: found {bind!r}; write bind = {{ batch = 1, seq = 128 }}")
    check_bound(bind)
    beside = folder / name
    path = str(beside) if beside.exists() else name
    if is_zoo_model(path):
        _refuse(model, _READING, f"{name} is an architecture of the zoo, which is no file and holds no values")
        return ZooSource(model=path, bind=dict(bind), options=_zoo_options(model))
    _refuse(model, _ZOO, f"{name} is a file, whose graph is what it is")
    free, weights = model.get("free_ops", []), model.get("weights", True)
    if not isinstance(free, list) or not all(isinstance(item, str) for item in free):
        raise SpaceError(f'model.free_ops: found {free!r}; give a list of op types: ["Mystery"]')
    if not isinstance(weights, bool):
        raise SpaceError(f"model.weights: found {weights!r}; give true or false (go without missing external data)")
    file = model_path(path)
    check_free_ops(file, free)
    return ModelSource(path=file, bind=dict(bind), free_ops=tuple(free), weights=weights)


def _refuse(model: Mapping[str, Any], keys: Sequence[str], reason: str) -> None:
    for key in keys:
        if key in model:
            raise SpaceError(f"model.{key}: {reason}; leave the key out")


def _zoo_options(model: Mapping[str, Any]) -> ZooOptions:
    kinds = {"phase": str, "dtype": str, "context": int, "kv_bits": int}
    for key, kind in kinds.items():
        if key in model and (not isinstance(model[key], kind) or isinstance(model[key], bool)):
            raise SpaceError(f"model.{key}: found {model[key]!r}; give a {'word' if kind is str else 'whole number'}")
    return ZooOptions(**{key: model[key] for key in kinds if key in model})


def load_workloads(source: ModelSource | ZooSource, batches: Sequence[int | None]) -> dict[int, Workload]:
    """Load the model once for every batch size; None stands for the size that the file says.

    Raises:
        SpaceError: It cannot be loaded.
    """
    found: dict[int, Workload] = {}
    for batch in batches:
        try:
            work = source.load_work(batch)
        except DseError as error:
            raise SpaceError(f"model: {error}") from None
        assert isinstance(work, Workload), "neither probabilities nor a number of tokens can be given here"
        found[batch or 0] = work
    return found


def in_file(message: str) -> str:
    """Turn advice on options of the command line into keys of a sweep's file.

    Example:
        >>> in_file("no size for batch. Bind it: --bind batch=1,seq=1 (aliases: ...)")
        'no size for batch. Bind it: bind = { batch = 1, seq = 1 } in [model] (aliases: ...)'
    """

    def sizes(match: re.Match[str]) -> str:
        return f"bind = {{ {', '.join(part.replace('=', ' = ') for part in match[1].split(','))} }} in [model]"

    message = re.sub(r"--bind ((?:[^\s,=]+=-?\d+,?)+)", sizes, message)
    message = re.sub(r"--free-ops (\S+):", r"free_ops in [model], \1:", message)
    message = message.replace("--no-weights", "weights = false in [model]")
    return message.replace(", --extra-ops FILE.py", "").replace("--free-ops OpType", 'free_ops = ["OpType"] in [model]')
