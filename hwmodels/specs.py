"""Devices as data: the TOML files of `specs/` by name, and a user's own by path."""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Mapping
from functools import lru_cache
from importlib import resources
from pathlib import Path
from typing import Any, Literal, TypeVar, overload

from hwmodels.build import build_device
from hwmodels.reading import read_toml, validated
from hwmodels.roofline import RooflineDevice
from hwmodels.schema import DeviceSpec
from hwmodels.spatial import Accelerator
from workloads.errors import SpecError, nearest

__all__ = ["accelerators", "gpu_names", "load", "names", "read_spec", "spec_text"]

D = TypeVar("D", RooflineDevice, Accelerator)

SPATIAL = "spatial"

SpatialName = Literal[
    "edge-npu", "eyeriss", "gemmini", "gemmini-ibert", "gemmini-os", "nvdla-like", "survey-machine", "tpu-v1"
]
"""Names of `accelerators()`."""


def names() -> tuple[str, ...]:
    """List the GPUs and CPUs that come with the package, sorted.

    Example:
        >>> "h100-sxm" in names()
        True
    """
    return tuple(name for name, kind in _kinds().items() if kind != SPATIAL)


def accelerators() -> tuple[str, ...]:
    """List the spatial accelerators that come with the package, sorted.

    Example:
        >>> accelerators()
        ('edge-npu', 'eyeriss', 'gemmini', 'gemmini-ibert', 'gemmini-os', 'nvdla-like', 'survey-machine', 'tpu-v1')
    """
    return tuple(name for name, kind in _kinds().items() if kind == SPATIAL)


@overload
def load(name: SpatialName) -> Accelerator: ...  # type: ignore[overload-overlap]  # a name says more than str


@overload
def load(name: str | os.PathLike[str]) -> RooflineDevice: ...


@overload
def load(name: str | os.PathLike[str], *, kind: type[D]) -> D: ...


def load(name: str | os.PathLike[str], *, kind: type[Any] | None = None) -> Any:
    """Load a device by name, by alias, or from a TOML file: ceilings of its data sheet; see `hwmodels.calibrated`.

    A type checker takes any name but those of `accelerators()` for a GPU or CPU unless `kind` says what it is.

    Args:
        name: "h100-sxm", another spelling ("h100_sxm_80gb"), or the path of a TOML file.
        kind: `RooflineDevice` or `Accelerator`: refuse the other one. Default: whatever it is.

    Raises:
        SpecError: Unknown name, a fault in the file, or a device of another kind.

    Example:
        >>> load("H100-SXM5-80GB").name
        'h100-sxm'
        >>> load("h100-sx")
        Traceback (most recent call last):
        workloads.errors.SpecError: unknown device 'h100-sx'; nearest: h100-sxm...
        >>> load("gemmini").mac_instances
        256
    """
    device = _loaded(name)
    if kind is not None and not isinstance(device, kind):
        wanted, fitting = (
            ("a spatial accelerator", accelerators()) if kind is Accelerator else ("a GPU or CPU", names())
        )
        raise SpecError(f"{os.fspath(name)!r} is of kind {device.kind}; this needs {wanted}: {', '.join(fitting)}")
    return device


def _loaded(name: str | os.PathLike[str]) -> RooflineDevice | Accelerator:
    text = os.fspath(name)
    if text.endswith(".toml") or isinstance(name, os.PathLike):
        path = Path(text)
        if not path.is_file():
            raise SpecError(f"no device file {text!r}; give an existing TOML file or one of: {', '.join(_kinds())}")
        try:
            content = path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            raise SpecError(f"{text}: not text in UTF-8; a device is described in a TOML file") from None
        return _from_text(content, text)
    known = _known_names()
    if _plain(text) not in known:
        raise SpecError(f"unknown device {text!r}; {nearest(text, _kinds())}; or give the path of a .toml file")
    return _shipped(known[_plain(text)])


def read_spec(text: str, origin: str) -> DeviceSpec:
    """Read and check the file of a GPU or CPU.

    Args:
        text: TOML.
        origin: Name of the file, for messages.

    Raises:
        SpecError: All faults of the file, one a line.

    Example:
        >>> read_spec('name = "mine"', "mine.toml")
        Traceback (most recent call last):
        workloads.errors.SpecError: mine.toml: field title: missing; add it (specs/README.md shows every field)...
    """
    return validated(read_toml(text, origin), DeviceSpec, origin)


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())


def spec_text(name: str) -> str:
    """Give the TOML text of a shipped device.

    Example:
        >>> spec_text("t4").splitlines()[0]
        'name = "t4"'
    """
    return (resources.files("hwmodels") / "specs" / f"{name}.toml").read_text(encoding="utf-8")


def gpu_names() -> Mapping[str, str]:
    """Give the GPUs that come with the package, each with its name in tables of measurements: its first alias.

    Example:
        >>> gpu_names()["h100-sxm"]
        'h100_sxm_80gb'
    """
    return {name: aliases[0] for name, (kind, aliases) in _shipped_files().items() if kind == "gpu"}


@lru_cache(maxsize=1)
def _shipped_files() -> dict[str, tuple[str, tuple[str, ...]]]:
    """Give the kind and the aliases of every device that comes with the package, sorted by name."""
    found = (resources.files("hwmodels") / "specs").iterdir()
    files = sorted(item.name.removesuffix(".toml") for item in found if item.name.endswith(".toml"))
    texts = {name: tomllib.loads(spec_text(name)) for name in files}
    return {name: (text["kind"], tuple(text.get("aliases", ()))) for name, text in texts.items()}


def _kinds() -> dict[str, str]:
    return {name: kind for name, (kind, _) in _shipped_files().items()}


@lru_cache(maxsize=1)
def _known_names() -> dict[str, str]:
    return {_plain(alias): name for name, (_, aliases) in _shipped_files().items() for alias in (name, *aliases)}


@lru_cache(maxsize=64)
def _shipped(name: str) -> RooflineDevice | Accelerator:
    return _from_text(spec_text(name), f"hwmodels/specs/{name}.toml")


def _from_text(text: str, origin: str) -> RooflineDevice | Accelerator:
    data = read_toml(text, origin)
    if data.get("kind") == SPATIAL:
        from hwmodels.spatial_build import build_accelerator  # a schema takes 30 ms to set up
        from hwmodels.spatial_schema import SpatialSpec

        return build_accelerator(validated(data, SpatialSpec, origin), origin)
    return build_device(validated(data, DeviceSpec, origin), origin)
