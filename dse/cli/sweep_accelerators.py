"""The part of a sweep's file that is about a spatial accelerator: its knobs are those of `dse.accelerator_model`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from workloads.errors import DseError, SpaceError, nearest

if TYPE_CHECKING:
    from dse.accelerating import AcceleratorModel
    from hwmodels.spatial import Accelerator
    from workloads.workload import Workload

__all__ = ["KEYS", "accelerator_of", "check_knob", "model_of"]

KEYS = ("dram", "mapping")
"""Of the table [accelerator]: technology of the outermost level, and what each operator is mapped for."""

MAPPED_FOR = ("edp", "energy", "latency")


def accelerator_of(value: Any, folder: Path) -> Accelerator | None:
    """Give the spatial accelerator that `space.device` names; None: other devices.

    Raises:
        SpaceError: It is one of several devices.
    """
    import hwmodels
    from hwmodels.spatial import Accelerator

    names = value if isinstance(value, list) else [value]
    found = []
    for name in names:
        if not isinstance(name, str) or name == "local":
            continue
        beside = folder / name
        try:
            loaded = hwmodels.load(str(beside) if name.endswith(".toml") and beside.is_file() else name)
        except DseError:
            continue  # refused with the other devices
        if isinstance(loaded, Accelerator):
            found.append(loaded)
    if found and len(names) > 1:
        raise SpaceError(
            f"space.device: {found[0].name} is a spatial accelerator, whose knobs are its own; give it alone: "
            f'device = "{found[0].name}"'
        )
    return found[0] if found else None


def check_knob(accelerator: Accelerator, name: str) -> None:
    """Refuse a knob that the accelerator does not have.

    Raises:
        SpaceError: With the nearest one.
    """
    from hwmodels.mapping.fronts.prices import knobs_of

    known = knobs_of(accelerator)
    if name not in known:
        raise SpaceError(f"space.{name}: unknown key; {nearest(name, known)}")


def model_of(work: Workload, accelerator: Accelerator, table: Mapping[str, Any]) -> AcceleratorModel:
    """Make the model that the file asks for.

    Raises:
        SpaceError: A key of [accelerator] has a value that is not there.
    """
    from dse.accelerating import accelerator_model
    from hwmodels.energy import dram_phys

    dram, mapped_for = table.get("dram"), table.get("mapping", "edp")
    if dram is not None and dram not in dram_phys():
        raise SpaceError(f"accelerator.dram: found {dram!r}; {nearest(str(dram), dram_phys())}")
    if mapped_for not in MAPPED_FOR:
        raise SpaceError(f"accelerator.mapping: found {mapped_for!r}; give one of {', '.join(MAPPED_FOR)}")
    return accelerator_model(work, accelerator, objective=mapped_for, dram=dram)
