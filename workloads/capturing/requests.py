"""What a capture is asked for, checked before torch is started; where its file goes."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, get_args

from workloads.capturing.exporting import Exporter
from workloads.errors import WorkloadError, nearest

__all__ = ["check_request", "publish", "scratch_beside"]


def check_request(module: Any, path: Path, dynamic: Any, exporter: str, where: str) -> None:
    """Check the arguments of a capture that are of one kind only.

    Raises:
        WorkloadError: One is of another kind; the path is a folder, or its folder cannot be made.
    """
    import torch

    if not isinstance(module, torch.nn.Module):
        raise WorkloadError(
            f"capture takes a torch.nn.Module, and this is a {type(module).__name__}; an ONNX file is read by "
            "workloads.load_onnx(path), a published architecture by workloads.zoo.architecture(name)"
        )
    if module.training:
        raise WorkloadError(f"{where}: the module is in training mode; call module.eval() first")
    if exporter not in get_args(Exporter):
        raise WorkloadError(f"{where}: no exporter {exporter!r}; {nearest(str(exporter), get_args(Exporter))}")
    if not (dynamic is None or dynamic == "infer" or isinstance(dynamic, Mapping)):
        raise WorkloadError(
            f"{where}: dynamic={dynamic!r} is not 'infer', None or a mapping of input name to axis to symbol: "
            "{'input_ids': {0: 'batch', 1: 'seq'}}"
        )
    if path.is_dir():
        raise WorkloadError(f"{where}: path {str(path)!r} is a folder; give the name of a file: 'model.onnx'")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _unwritable(path, error, where) from None


@contextmanager
def scratch_beside(path: Path, where: str) -> Iterator[Path]:
    """Give a folder beside a path, to write into first; it is gone afterwards.

    Raises:
        WorkloadError: There is no writing there.
    """
    try:
        scratch = tempfile.TemporaryDirectory(dir=path.parent, prefix=".capture-")
    except OSError as error:
        raise _unwritable(path, error, where) from None
    with scratch as folder:
        yield Path(folder)


def publish(scratch: Path, path: Path, where: str) -> None:
    """Move the finished files beside each other, the model last.

    Raises:
        WorkloadError: One cannot be put there.
    """
    try:
        for file in sorted(scratch.iterdir(), key=lambda file: file.name == path.name):
            file.replace(path.parent / file.name)
    except OSError as error:
        raise _unwritable(path, error, where) from None


def _unwritable(path: Path, error: OSError, where: str) -> WorkloadError:
    reason = (error.strerror or type(error).__name__).lower()
    return WorkloadError(f"{where}: cannot write {str(path)!r}: {reason}; give a path= in a folder that you may write")
