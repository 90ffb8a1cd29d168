"""The MAC units of an array, with the registers that operands and partial sums pass from neighbour to neighbour."""

from __future__ import annotations

from dataclasses import dataclass

from hwmodels.energy.area import Component, logic_leakage
from hwmodels.energy.arithmetic import mac_area, mac_energy
from hwmodels.energy.clocks import Clocking
from hwmodels.energy.combining import product, total
from hwmodels.energy.estimate import Estimate
from hwmodels.energy.sram import sram
from hwmodels.spatial import ROLES, Accelerator
from workloads.operator import Num

__all__ = ["Arithmetic", "mac_units", "passing_bits", "pipeline_registers"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Arithmetic:
    """What a MAC multiplies and adds up in.

    Attributes:
        operand: Format of both operands.
        accumulator: Format of the sum.
    """

    operand: str
    accumulator: str


def passing_bits(accelerator: Accelerator) -> dict[str, int]:
    """Give, by role, the bits that pass a MAC on their way through the array.

    A role that some level inside the mesh keeps is delivered to that level; any other one passes from neighbour to
    neighbour, through a register of every MAC: inputs of a systolic array, and its partial sums.

    Example:
        >>> import hwmodels
        >>> passing_bits(hwmodels.load("gemmini")), passing_bits(hwmodels.load("eyeriss"))
        ({'I': 8, 'O': 32}, {})
    """
    meshes = [place for place, level in enumerate(accelerator.levels) if level.mesh]
    if not meshes:
        return {}
    inside = {role for level in accelerator.levels[meshes[-1] + 1 :] for role in level.keeps}
    widest = accelerator.operand_bits or 0
    bits = {"W": widest, "I": widest, "O": accelerator.acc_bits or 2 * widest}
    return {role: bits[role] for role in ROLES if role not in inside and bits[role]}


def mac_units(
    count: int, arithmetic: Arithmetic, *, node_nm: Num, clocked: Clocking, low_power: Estimate | None = None
) -> Component:
    """Price MAC units: a multiplier and an adder each.

    Args:
        count: Units.
        arithmetic: Formats.
        node_nm: One or shape (n_points,) [nm].
        clocked: What the clock does to energy and leakage.
        low_power: Leakage of the device class relative to high-performance transistors.

    Example:
        >>> from hwmodels.energy.clocks import clocking
        >>> part = mac_units(256, Arithmetic(operand="int8", accumulator="int32"), node_nm=45, clocked=clocking(45))
        >>> round(part.energy_j["mac"].value * 1e12, 2)
        0.3
    """
    area = product(
        mac_area(arithmetic.operand, accumulator=arithmetic.accumulator, node_nm=node_nm),
        count,
        formula=f"{count} MACs",
    )
    energy = mac_energy(arithmetic.operand, accumulator=arithmetic.accumulator, node_nm=node_nm)
    leakage = logic_leakage(area, node_nm=node_nm, low_power=low_power)
    return Component(
        name="MACs",
        count=count,
        area_mm2=area,
        static_w=product(leakage, clocked.leakage, formula="at the supply of the clock"),
        energy_j={"mac": product(energy, clocked.energy, formula="a MAC")},
    )


def pipeline_registers(
    count: int, bits: int, *, node_nm: Num, clocked: Clocking, device: str, temperature_k: Num, law: str | None = None
) -> Component:
    """Price the registers that pass operands and sums from PE to PE: written and read in every MAC.

    Args:
        count: PEs.
        bits: Of one PE.
        node_nm: One or shape (n_points,) [nm].
        clocked: What the clock does to energy and leakage.
        device: Device class.
        temperature_k: Junction temperature [K].
        law: Scaling law of memories outside CACTI's nodes.
    """
    size, ports = bits / 8, (0, 1, 1)
    macro = sram(size, size, node_nm=node_nm, device=device, ports=ports, temperature_k=temperature_k, law=law)
    found = macro.estimates()
    access = total({"read": found["read_j"], "write": found["write_j"]}, "J", f"{bits} bit written and read")
    return Component(
        name="pipeline registers",
        count=count,
        area_mm2=product(found["area_mm2"], count, formula=f"{count} registers of {bits} bit"),
        static_w=product(found["leakage_w"], clocked.leakage, count, formula=f"{count} registers"),
        energy_j={"mac": product(access, clocked.energy, formula="a MAC")},
    )
