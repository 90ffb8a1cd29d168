"""SRAM macros beside published energies: how far CACTI's levels are from silicon. Nothing here feeds a model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from hwmodels.cited import cited_rows
from hwmodels.energy.estimate import Estimate
from hwmodels.energy.sram import sram
from hwmodels.energy.technology import LAWS, node_range
from workloads.errors import SpecError

__all__ = ["PublishedSram", "SramCalibration", "published_srams", "sram_calibration"]

OLDEST_NM, NEWEST_NM = 90.0, 22.0
"""Nodes between which no law is needed [nm]."""
NO_LAW = "CACTI"
"""In place of a law where CACTI has the node."""
SOUND = 1.5
"""How near figures have to come that a factor did not see."""
FEWEST_FIGURES = 3
"""A factor that is tried on figures left out needs two to be made of."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PublishedSram:
    """A published energy of an access, and ours by scaling law.

    Attributes:
        node_nm: Technology node [nm].
        operation: "read" or "write".
        size_bytes: Capacity [B].
        word_bytes: Bytes of an access [B].
        word_stated: Whether the source states the access; else the figure is one of a bit, and the word is ours.
        banks: Of our macro.
        kind: "figure", "projection" of a node that did not exist, or "tool": as an example of another tool has it.
        published: Energy of an access [J].
        models: Ours by law [J]; from 90 to 22 nm no law is needed, and its name is "CACTI".
        note: What the source says of it.
    """

    node_nm: float
    operation: str
    size_bytes: float
    word_bytes: float
    word_stated: bool
    banks: int
    kind: str
    published: Estimate
    models: Mapping[str, Estimate]
    note: str

    @property
    def ratios(self) -> Mapping[str, float]:
        """Ours over the published energy, by law."""
        return {law: float(model.value / self.published.value) for law, model in self.models.items()}

    def estimates(self) -> Mapping[str, Estimate]:
        """Give its numbers by name."""
        return {"published": self.published, **self.models}


def published_srams(device: str = "itrs-hp") -> tuple[PublishedSram, ...]:
    """Compare macros with every published energy of an SRAM access whose size is stated.

    Args:
        device: CACTI's device type.

    Raises:
        SpecError: No such device type.

    Source: table `sram_published`.

    Example:
        >>> first = published_srams()[0]
        >>> print(f"{first.node_nm:g} nm, {first.size_bytes:g} B: {first.ratios['CACTI']:.2f} of published")
        45 nm, 8192 B: 0.53 of published
    """
    return tuple(_compared(row, device) for row in cited_rows("sram_published"))


def _compared(row: Mapping[str, str], device: str) -> PublishedSram:
    node_nm, size, word = float(row["node_nm"]), float(row["size_bytes"]), float(row["word_bytes"])
    banks, operation = int(row["banks"]), row["operation"]
    joules = float(row["energy_pj_per_bit"]) * 8 * word * 1e-12
    models = {
        law or NO_LAW: sram(size, word, node_nm=node_nm, device=device, banks=banks, law=law).estimates()[
            f"{operation}_j"
        ]
        for law in _laws(node_nm)
    }
    return PublishedSram(
        node_nm=node_nm, operation=operation, size_bytes=size, word_bytes=word, word_stated=row["word_stated"] == "yes",
        banks=banks, kind=row["kind"], models=models, note=row["note"],
        published=Estimate(value=joules, unit="J", low=joules, high=joules, origin="anchor", formula=row["note"],
                           source=row["source"]),
    )  # fmt: skip


def _laws(node_nm: float) -> tuple[str | None, ...]:
    """Give the laws that reach a node from CACTI's nearest one; None where CACTI has the node itself."""
    if NEWEST_NM <= node_nm <= OLDEST_NM:
        return (None,)
    nearest_nm = min(max(node_nm, NEWEST_NM), OLDEST_NM)
    ranges = {law: node_range("sram energy", law) for law in LAWS["sram energy"]}
    return tuple(
        law
        for law, (largest, smallest) in ranges.items()
        if smallest <= min(node_nm, nearest_nm) and max(node_nm, nearest_nm) <= largest
    )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SramCalibration:
    """One factor for all reads at a node, and whether it helps figures that it was not made from.

    Attributes:
        node_nm: Technology node [nm].
        law: Scaling law, or "CACTI".
        factor: Published over ours: geometric mean, smallest and largest.
        before: Ours over published without it, one for each figure.
        after: Ours over published with the factor of the other figures.
    """

    node_nm: float
    law: str
    factor: Estimate
    before: tuple[float, ...]
    after: tuple[float, ...]

    @property
    def sound(self) -> bool:
        """Say whether each figure is nearer with a factor that did not see it, and within 1.5 times."""
        before, after = (np.abs(np.log(ratios)) for ratios in (self.before, self.after))
        return bool(np.all(after < before) and np.all(after <= np.log(SOUND)))

    def estimates(self) -> Mapping[str, Estimate]:
        """Give its number by name."""
        return {"factor": self.factor}


def sram_calibration(node_nm: float, *, law: str = NO_LAW, device: str = "itrs-hp") -> SramCalibration:
    """Fit one factor to the published reads at a node. No model applies it: multiply `read_j` with it to do so.

    Args:
        node_nm: A node of the published figures [nm].
        law: A key of `PublishedSram.models` there.
        device: CACTI's device type.

    Raises:
        SpecError: Fewer than three figures with a stated access at that node.

    Source: table `sram_published`.

    Example:
        >>> found = sram_calibration(45)
        >>> print(f"{found.factor.value:.2f}, sound: {found.sound}")
        1.55, sound: True
    """
    mine = [
        each
        for each in published_srams(device)
        if each.node_nm == node_nm and law in each.models and each.word_stated and each.operation == "read"
    ]
    if len(mine) < FEWEST_FIGURES:
        raise SpecError(
            f"sram_calibration: {len(mine)} published reads at {node_nm:g} nm by {law!r}; {FEWEST_FIGURES} are needed: "
            "take 45 nm, or 7 nm with a law of LAWS['sram energy']"
        )
    logs = -np.log([each.ratios[law] for each in mine])
    others = np.array([np.delete(logs, place).mean() for place in range(len(logs))])
    return SramCalibration(
        node_nm=node_nm,
        law=law,
        factor=Estimate(
            value=float(np.exp(logs.mean())), unit="", low=float(np.exp(logs.min())), high=float(np.exp(logs.max())),
            origin="derived", formula=f"published over ours, geometric mean of {len(mine)}; band: all of them",
            source="; ".join(dict.fromkeys(each.published.source for each in mine)),
        ),
        before=tuple(np.exp(-logs).tolist()),
        after=tuple(np.exp(others - logs).tolist()),
    )  # fmt: skip
