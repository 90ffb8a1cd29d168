"""What CACTI says of one macro, in base units."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from hwmodels.energy.estimate import Estimate

__all__ = ["Report", "ReportedWire"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportedWire:
    """A repeated wire of the report; "low_swing_1mm" is one wire of exactly 1 mm, not a figure per mm.

    Attributes:
        kind: As in `hwmodels.energy.wires.KINDS`.
        energy_j_per_bit_mm: Of a full transition: the wire is charged and discharged.
        delay_s_per_mm: Of the repeated wire.
        leakage_w_per_mm: Subthreshold.
        gate_leakage_w_per_mm: Through the gates.
    """

    kind: str
    energy_j_per_bit_mm: float
    delay_s_per_mm: float
    leakage_w_per_mm: float
    gate_leakage_w_per_mm: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """One macro as CACTI reports it; what an output does not say is NaN or empty.

    Attributes:
        node_nm: Technology.
        size_bytes: Of all banks.
        banks: How many.
        associativity: 1 for a RAM, 0 for fully associative.
        output_bits: Of an access; only in the file.
        read_j: Of one access: the whole word.
        write_j: The same; NaN for DRAM cells, where CACTI's figure is wrong by 5 to 1,300 times.
        bank_leakage_w: Subthreshold and gate leakage of one bank, which is how CACTI prints it.
        area_mm2: Of all banks.
        access_s: Address in to data out.
        cycle_s: Random cycle of a bank.
        height_mm: Of the macro; only in the report.
        width_mm: The same.
        array_efficiency: Area of the cells over that of the array.
        organisation: ndwl, ndbl, nspd, ndcm, ndsam1, ndsam2, and nt... of the tags.
        cell: Device of the cells; only in the report.
        dram: Of a DRAM die: activate_j, precharge_j, read_burst_j, write_burst_j (page open), refresh_w,
            leakage_closed_w, leakage_open_w.
        wires: The wires that the macro is made of.
        version: Of CACTI.
    """

    node_nm: float
    size_bytes: float
    banks: float
    associativity: float = math.nan
    output_bits: float = math.nan
    read_j: float = math.nan
    write_j: float = math.nan
    bank_leakage_w: float = math.nan
    area_mm2: float = math.nan
    access_s: float
    cycle_s: float
    height_mm: float = math.nan
    width_mm: float = math.nan
    array_efficiency: float = math.nan
    organisation: Mapping[str, float] = field(default_factory=dict)
    cell: str = ""
    dram: Mapping[str, float] = field(default_factory=dict)
    wires: tuple[ReportedWire, ...] = ()
    version: str = ""

    @property
    def leakage_w(self) -> float:
        """Of all banks."""
        return self.bank_leakage_w * self.banks

    def estimates(self) -> Mapping[str, Estimate]:
        """Give the numbers by name; a band of no width, since nothing here says how far CACTI is from silicon."""
        source = f"CACTI {self.version or '(version not stated in the file)'}, an output of the user's"
        numbers = {
            "read": (self.read_j, "J", "energy of reading one word"),
            "write": (self.write_j, "J", "energy of writing one word"),
            "leakage": (self.leakage_w, "W", f"leakage of one bank x {self.banks:g} banks"),
            "area": (self.area_mm2, "mm2", "area of all banks"),
            "access": (self.access_s, "s", "address in to data out"),
            "cycle": (self.cycle_s, "s", "random cycle of one bank"),
        }
        return {
            name: Estimate(
                value=value,
                unit=unit,
                low=value,
                high=value,
                origin="table",
                formula=f"{formula}, as CACTI printed it; the band is that of the print, not of silicon",
                source=source,
            )
            for name, (value, unit, formula) in numbers.items()
            if not math.isnan(value)
        }
