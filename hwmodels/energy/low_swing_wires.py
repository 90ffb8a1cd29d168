"""Low-swing wires: of exactly one millimetre, since neither their energy nor their delay grows with the length."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from hwmodels.cited import cited_rows
from hwmodels.energy.checking import checked, fraction
from hwmodels.energy.estimate import Estimate
from hwmodels.energy.shapes import plain
from hwmodels.energy.wire_table import LOW_SWING, TABLE, origin_of, read_column
from workloads.errors import SpecError
from workloads.operator import Num

__all__ = ["LowSwing", "low_swing"]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class LowSwing:
    """A differential low-swing wire of exactly one millimetre: not to be multiplied by a length.

    Attributes:
        energy: J/bit, of a full transition x activity.
        delay: s.
        leakage: W.
    """

    energy: Estimate
    delay: Estimate
    leakage: Estimate

    def estimates(self) -> Mapping[str, Estimate]:
        """Give its numbers by name."""
        return {"energy": self.energy, "delay": self.delay, "leakage": self.leakage}


@checked
def low_swing(
    node_nm: Num, *, device: str = "itrs-hp", projection: str = "conservative", activity: Num = 1.0
) -> LowSwing:
    """Give energy, delay and leakage of a low-swing wire of exactly one millimetre.

    CACTI's energy (5.9 fJ at 45 nm) is a seventh of the published 40 fJ/bit/mm of a low-swing link of that node: the
    band reaches up to what is published.

    Args:
        node_nm: 22 to 90, one value or shape (n_points,): no law is published for low-swing wires.
        device: One of `DEVICES`.
        projection: One of `PROJECTIONS`.
        activity: Full transitions per bit, 0 to 1.

    Raises:
        SpecError: An unknown name, or a node that the table does not reach.

    Source: table `wires_cacti`; Park et al., DATE 2013 (table `wires_published`).

    Example:
        >>> round(float(low_swing(45).energy.value) * 1e15, 5)
        5.91493
    """
    share = fraction(activity, "activity", "low_swing")
    published = next(row for row in cited_rows("wires_published") if "low-swing link" in row["note"])
    at_nm, measured = float(published["node_nm"]), float(published["energy_fj_per_bit_mm"])
    made: dict[str, Estimate] = {}
    for name, column, unit, scale in (
        ("energy", "energy_fj_per_bit_mm", "J/bit", 1e-15 * share),
        ("delay", "delay_ns_per_mm", "s", 1e-9),
        ("leakage", "leakage", "W", 1e-6),
    ):
        value, miss, inside = read_column(node_nm, LOW_SWING, device, projection, column, "low_swing")
        if not np.all(np.equal(node_nm, inside)):
            raise SpecError(
                f"low_swing: node_nm {node_nm}: the table reaches from 22 to 90 nm and no law scales low-swing wires; "
                "take a repeated wire (wire_energy)"
            )
        here = read_column(at_nm, LOW_SWING, device, projection, column, "low_swing")[0]
        above = max(1.0, measured / float(here)) if name == "energy" else 1.0
        made[name] = Estimate(
            value=plain(value * scale),
            unit=unit,
            low=plain(value * scale / miss),
            high=plain(value * scale * miss * above),
            origin=origin_of(node_nm, inside, LOW_SWING, device, projection),
            formula=f"low-swing wire of exactly 1 mm, {device}, {projection}",
            source=f"{TABLE}; {published['source']}" if name == "energy" else TABLE,
        )
    return LowSwing(**made)
