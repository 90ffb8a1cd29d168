"""The clock knob: which supply a clock needs, and what that does to energy, delay and leakage.

Source: P_dynamic = C V^2 f: Mudge, Power: a first-class architectural design constraint, IEEE Computer 34(4), 2001; the
curves of voltage, energy and delay are those of `hwmodels.energy.technology`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from hwmodels.energy.checking import checked
from hwmodels.energy.estimate import Estimate
from hwmodels.energy.technology import nominal_supply, relative_delay, relative_energy, voltage_at_clock
from workloads.errors import SpecError
from workloads.operator import Num

__all__ = ["Clocking", "clocking"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Clocking:
    """A clock relative to the nominal one, and what it takes; one value or shape (n_points,).

    Attributes:
        scale: Clock relative to the nominal one.
        supply_v: Supply that it needs [V].
        energy: Switching energy relative to that at the nominal supply.
        delay: Delay of a gate or a memory relative to that at the nominal supply.
        leakage: Leakage power relative to that at the nominal supply.
    """

    scale: Num
    supply_v: Num
    energy: Estimate
    delay: Estimate
    leakage: Estimate

    def estimates(self) -> Mapping[str, Estimate]:
        """Give its factors by name."""
        return {"energy": self.energy, "delay": self.delay, "leakage": self.leakage}


@checked
def clocking(node_nm: Num, clock_scale: Num = 1.0) -> Clocking:
    """Price a clock: a faster one needs a higher supply, a slower one runs at a lower, down to a floor.

    Args:
        node_nm: One node or shape (n_points,) [nm].
        clock_scale: Clock relative to the nominal one, above zero, one or shape (n_points,).

    Returns:
        Factors that are 1 at the nominal clock. Below the floor of the supply only time is lost: nothing gets cheaper.

    Raises:
        SpecError: A clock of zero or less, or one that no supply of the node reaches.

    Example:
        >>> slow, fast = clocking(65, 0.5), clocking(65, 1.1)
        >>> slow.energy.value < 1 < fast.energy.value
        True
        >>> clocking(65, 3.0)
        Traceback (most recent call last):
        workloads.errors.SpecError: clock 3 x nominal at 65 nm: the highest supply (1.32 V) reaches ...
    """
    if not np.all(np.asarray(clock_scale) > 0):
        raise SpecError(f"clock_scale {np.min(clock_scale):g}: a clock is above zero; 1 is the nominal one")
    supply = voltage_at_clock(node_nm, clock_scale)
    share = supply / nominal_supply(node_nm)
    return Clocking(
        scale=clock_scale,
        supply_v=supply,
        energy=relative_energy(node_nm, supply),
        delay=relative_delay(node_nm, supply),
        leakage=Estimate(
            value=share,
            unit="",
            low=np.minimum(share, share**3),
            high=np.maximum(share, share**3),
            origin="assumption",
            formula="leakage current kept, x supply; band: current that grows with the supply squared (DIBL)",
            source="Mudge, IEEE Computer 34(4), 2001 (the law that RooflineDevice.at follows)",
        ),
    )
