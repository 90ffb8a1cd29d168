"""Where tensors lie before an operator starts, or end up in: the levels of an accelerator that can be their homes."""

from __future__ import annotations

from collections.abc import Mapping

from hwmodels.spatial import ROLES, Accelerator, Role
from workloads.errors import MappingError

__all__ = ["Resident", "find_homes"]

Resident = Mapping[Role, str]
"""Names of the levels that tensors lie whole in, by role."""


def find_homes(accelerator: Accelerator, resident: Resident, name: str) -> dict[Role, int]:
    """Give the places of the levels that tensors lie in.

    Args:
        accelerator: Its levels.
        resident: Names of levels by role.
        name: Of the operator, for messages.

    Raises:
        MappingError: An unknown role or level, the outermost level, one with several instances, or one that can
            neither keep the tensor nor take finished outputs.
    """
    homes = {}
    for role, level_name in resident.items():
        if role not in ROLES:
            raise MappingError(f"{name}: resident names {role!r}; give a level for W, I or O")
        place = accelerator.level_index(level_name)
        level = accelerator.levels[place]
        if place == 0:
            raise MappingError(f"{name}: {role} resides in {level_name}, the outermost level: that is no home; drop it")
        if accelerator.instances(place) > 1:
            raise MappingError(
                f"{name}: {role} cannot reside in {level_name}: {accelerator.name} has {accelerator.instances(place)} "
                "of them, and a tensor that lies whole in a buffer needs a single one"
            )
        if role not in level.keeps:
            _require_outlet(accelerator, role, place, name)
        homes[role] = place
    return homes


def _require_outlet(accelerator: Accelerator, role: Role, place: int, name: str) -> None:
    level = accelerator.levels[place]
    inner = [index for index, one in enumerate(accelerator.levels) if index and role in one.keeps]
    if role == "O" and level.takes_outputs and all(index > place for index in inner):
        return
    why = "it takes no finished outputs (takes_outputs)" if role == "O" else f"it keeps {', '.join(level.keeps)}"
    raise MappingError(f"{name}: {role} cannot reside in {level.name} of {accelerator.name}: {why}")
