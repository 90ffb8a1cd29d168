"""Values for an architecture's parameters: drawn at random, from a mapping, or from safetensors files one by one."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from workloads.errors import WorkloadError
from workloads.zoo.graph import Parameter
from workloads.zoo.renames import Renamed

__all__ = ["Checkpoint", "Values", "Weights", "values_of"]

Values = Callable[[Parameter], NDArray[Any]]
"""Gives the values of a parameter, in the shape that the graph stores."""

Weights = str | Path | Mapping[str, Any]
""" "random", a folder with safetensors files (or one such file), or values by name."""


def values_of(weights: Weights, *, seed: int = 0) -> Values:
    """Give a source of parameter values.

    Args:
        weights: "random": normal, scaled by the fan-in, so that activations keep their size; norms are ones and biases
            zeros. A folder or a .safetensors file: its tensors, read one at a time. A mapping: arrays by name.
        seed: Of the random values; each parameter has its own stream, whatever the others are.

    Raises:
        WorkloadError: No such file, or no safetensors in the folder.
    """
    if isinstance(weights, Mapping):
        given = Renamed(weights)
        return lambda item: np.asarray(item.make(given))
    if weights == "random":
        return lambda item: _random(item, seed)
    checkpoint = Renamed(Checkpoint(_files(Path(weights))))
    return lambda item: np.asarray(item.make(checkpoint))


def _random(item: Parameter, seed: int) -> NDArray[Any]:
    if item.fill is not None:
        return np.full(item.shape, item.fill, np.float32)
    rng = np.random.default_rng([seed, *item.name.encode()])
    fan_in = item.shape[0] if len(item.shape) == 2 else item.size // max(item.shape[0], 1)
    return rng.standard_normal(item.shape, dtype=np.float32) / np.float32(max(fan_in, 1)) ** np.float32(0.5)


class Checkpoint(Mapping[str, Any]):
    """Tensors of safetensors files by name. It keeps the files open and reads a tensor when it is asked for one."""

    def __init__(self, files: Mapping[str, Path]) -> None:
        """Take the file of each tensor name."""
        self._files = dict(files)
        self._open: dict[Path, Any] = {}

    def __getitem__(self, name: str) -> NDArray[Any]:
        """Read one tensor; half formats come as float32."""
        path = self._files[name]
        if path not in self._open:
            self._open[path] = _opened(path)
        values: NDArray[Any] = self._open[path].get_tensor(name).float().numpy()
        return values

    def __iter__(self) -> Iterator[str]:
        """List the names."""
        return iter(self._files)

    def __len__(self) -> int:
        """Count the tensors."""
        return len(self._files)


def _files(source: Path) -> dict[str, Path]:
    """Find the file of every tensor: one file, or a folder with or without an index.

    Source: Hugging Face safetensors, metadata and index format.
    """
    if source.is_file():
        return dict.fromkeys(_opened(source).keys(), source)
    if not source.is_dir():
        raise WorkloadError(
            f"{source}: no such checkpoint; give a folder with *.safetensors, one such file, or 'random'"
        )
    index = source / "model.safetensors.index.json"
    if index.is_file():
        return _indexed(index)
    paths = sorted(source.glob("*.safetensors"))
    if not paths:
        raise WorkloadError(f"{source}: no *.safetensors in it; convert the checkpoint, or give weights='random'")
    return {name: path for path in paths for name in _opened(path).keys()}  # noqa: SIM118 - not a mapping


def _indexed(index: Path) -> dict[str, Path]:
    try:
        weight_map = json.loads(index.read_text(encoding="utf-8"))["weight_map"]
        found = {str(name): index.parent / str(file) for name, file in weight_map.items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise WorkloadError(f"{index}: not an index of safetensors files ({error}); download it again") from None
    for path in set(found.values()):
        if path.parent != index.parent or not path.is_file():
            raise WorkloadError(f"{index}: the file {path.name!r} that it names is not beside it; download it again")
    return found


def _opened(path: Path) -> Any:
    try:
        from safetensors import SafetensorError, safe_open
    except ImportError:
        raise WorkloadError("reading safetensors needs the 'torch' extra: pip install 'fullstack-dse[torch]'") from None
    try:
        return safe_open(str(path), framework="pt")
    except (OSError, SafetensorError) as error:
        raise WorkloadError(f"{path}: not a readable safetensors file ({error}); download it again") from None
