"""What a CACTI run is asked, and the input file that asks it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from hwmodels.energy.checking import number
from workloads.errors import SpecError, nearest

__all__ = ["CELLS", "KINDS", "OBJECTIVES", "Kind", "Objective", "Settings", "input_text"]

Kind = Literal["ram", "cache", "main memory"]

KINDS = ("ram", "cache", "main memory")
"""No tags; with tags; every access moves a page."""

CELLS: Mapping[str, str] = {
    "itrs-hp": "itrs-hp",
    "itrs-lstp": "itrs-lstp",
    "itrs-lop": "itrs-lop",
    "lp-dram": "itrs-hp",
    "comm-dram": "itrs-lstp",
}
"""Device of the cells to the device of the periphery, as in the tables of the reference runs."""

NODES_NM = (22.0, 90.0)
"""CACTI 7 refuses others; it then ends with exit status 0 and no result."""

TEMPERATURES_K = (300, 400)
"""In steps of 10."""

_SIZE_BYTES = (64, 2**31 - 1)
"""Of the tool: below it refuses, above its 32-bit size turns negative."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Objective:
    """What the search of the organisation looks for.

    Attributes:
        optimise: "ED^2", "ED", or "NONE": then weights and deviations count.
        weights: Of delay, dynamic power, leakage, cycle time, area.
        deviations: From the best one that are allowed, in percent, in the same order.
        access: "normal" or "fast".
        signalling: Of the wires outside of the mats.
        ecc: Eight bits of code for every 64.
    """

    optimise: str = "ED^2"
    weights: tuple[int, int, int, int, int] = (0, 0, 0, 100, 0)
    deviations: tuple[int, int, int, int, int] = (20, 100000, 100000, 100000, 100000)
    access: str = "normal"
    signalling: str = "Global_30"
    ecc: bool = False


OBJECTIVES: Mapping[str, Objective] = {
    "ed2": Objective(),
    "ed": Objective(optimise="ED"),
    "energy": Objective(optimise="NONE", weights=(0, 100, 0, 0, 0), deviations=(100000, 0, 100000, 100000, 100000)),
    "area": Objective(optimise="NONE", weights=(0, 0, 0, 0, 100), deviations=(100000, 100000, 100000, 100000, 0)),
    "balanced": Objective(
        optimise="NONE", weights=(100, 100, 0, 0, 100), deviations=(60, 100000, 100000, 100000, 100000)
    ),
    "accelergy_like": Objective(weights=(0, 0, 1000000, 0, 0), access="fast"),
    "lowswing": Objective(signalling="lowswing"),
    "defwire": Objective(signalling="default"),
    "ecc": Objective(ecc=True),
}
"""The columns `objective` of the reference runs; accelergy_like is used with itrs-lstp at 300 K."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """One memory, as CACTI is asked for it.

    Attributes:
        size_bytes: Of all banks.
        width_bytes: Of a word, which is the block and the port; of a cache: the line.
        node_nm: 22 to 90; 22, 32, 45, 65 and 90 are CACTI's own, others are interpolated inside it.
        device: Of the cells, one of `CELLS`, which also says the periphery.
        ports: Read-write, read and write ports of a bank.
        banks: A power of two.
        temperature_k: 300 to 400 in steps of 10; it changes leakage only.
        objective: One of `OBJECTIVES`.
        kind: One of `KINDS`.
        associativity: Of a cache.
        output_bits: Of the output bus; None: the word.
        page_bits: Of main memory.
        projection: Of the wires: "conservative" or "aggressive".

    Raises:
        SpecError: CACTI would refuse this, mostly without an exit status that says so.

    Example:
        >>> Settings(size_bytes=65536, width_bytes=8, node_nm=45).depth
        8192.0
        >>> Settings(size_bytes=65536, width_bytes=8, node_nm=16)
        Traceback (most recent call last):
        ...
        workloads.errors.SpecError: node_nm 16: CACTI knows 22 to 90 nm; run it there and scale the result by a law ...
    """

    size_bytes: int
    width_bytes: int
    node_nm: float = 45.0
    device: str = "itrs-hp"
    ports: tuple[int, int, int] = (1, 0, 0)
    banks: int = 1
    temperature_k: float = 350.0
    objective: str = "ed2"
    kind: Kind = "ram"
    associativity: int = 1
    output_bits: int | None = None
    page_bits: int = 8192
    projection: Literal["conservative", "aggressive"] = "conservative"

    def __post_init__(self) -> None:
        _check_names(self)
        _check_sizes(self)
        _check_technology(self)

    @property
    def depth(self) -> float:
        """Words of a bank."""
        return self.size_bytes / self.width_bytes / self.banks


def _check_names(asked: Settings) -> None:
    named = (
        ("device", asked.device, CELLS),
        ("objective", asked.objective, OBJECTIVES),
        ("kind", asked.kind, KINDS),
        ("projection", asked.projection, ("conservative", "aggressive")),
    )
    for field, name, known in named:
        if not isinstance(name, str) or name not in known:
            raise SpecError(f"{field} {name!r}: CACTI has no such one; {nearest(str(name), known)}")
    if asked.device == "comm-dram" and asked.kind != "main memory":
        raise SpecError('device "comm-dram" is a commodity DRAM die: ask for kind "main memory"')


def _check_sizes(asked: Settings) -> None:
    whole = {
        "size_bytes": asked.size_bytes,
        "width_bytes": asked.width_bytes,
        "banks": asked.banks,
        "associativity": asked.associativity,
        "output_bits": 1 if asked.output_bits is None else asked.output_bits,
        "page_bits": asked.page_bits,
    }
    for field, value in whole.items():
        _whole(value, field, least=1)
    low, high = _SIZE_BYTES
    if not low <= asked.size_bytes <= high:
        raise SpecError(f"size_bytes {asked.size_bytes}: CACTI counts {low} to {high} bytes; ask for a part of it")
    if asked.size_bytes < asked.width_bytes * asked.banks:
        raise SpecError(
            f"size_bytes {asked.size_bytes}: less than one word of {asked.width_bytes} bytes in each of {asked.banks} "
            "banks; enlarge the memory, or narrow the word"
        )
    if asked.banks & (asked.banks - 1):
        raise SpecError(f"banks {asked.banks}: CACTI needs a power of two")
    if not isinstance(asked.ports, tuple | list) or len(asked.ports) != 3:
        raise SpecError(f"ports {asked.ports!r}: give three: read-write, read and write ports of a bank")
    if sum(_whole(each, "ports", least=0) for each in asked.ports) < 1:
        raise SpecError(f"ports {asked.ports}: give read-write, read and write ports of a bank, at least one in all")


def _whole(value: object, field: str, *, least: int) -> int:
    """Return a whole number; NaN, infinities, texts and truth values are none."""
    given = number(value, "int", field, "CACTI")
    if not math.isfinite(given) or int(given) != given or given < least:
        raise SpecError(f"{field} {value}: a whole number from {least} on is needed")
    return int(given)


def _check_technology(asked: Settings) -> None:
    low, high = NODES_NM
    if not low <= number(asked.node_nm, "float", "node_nm", "CACTI") <= high:
        raise SpecError(
            f"node_nm {asked.node_nm:g}: CACTI knows {low:g} to {high:g} nm; run it there and scale the result by a "
            "law of `hwmodels.energy.technology`"
        )
    if asked.device == "lp-dram" and asked.node_nm < 32:
        raise SpecError(f"node_nm {asked.node_nm:g}: CACTI has no data of eDRAM below 32 nm; take 32 or more")
    cool, hot = TEMPERATURES_K
    kelvin = number(asked.temperature_k, "float", "temperature_k", "CACTI")
    if not cool <= kelvin <= hot or math.fmod(kelvin, 10):
        raise SpecError(f"temperature_k {asked.temperature_k:g}: CACTI knows {cool} to {hot} K in steps of 10")


def input_text(asked: Settings) -> str:
    """Write the input file of a run.

    Args:
        asked: What for.

    Returns:
        The text. Keys that do not concern a memory array (NUCA, interface, board) have the values of the reference
        runs: CACTI computes those parts whatever is asked, and prints them apart.

    Source: CACTI 7, reader of the input file (io.cc); settings as stated with the reference tables.

    Example:
        >>> print(input_text(Settings(size_bytes=65536, width_bytes=8, node_nm=22)).splitlines()[0])
        -size (bytes) 65536
    """
    goal = OBJECTIVES[asked.objective]
    bus = 8 * asked.width_bytes if asked.output_bits is None else asked.output_bits
    shared, read, write = asked.ports
    periphery = CELLS[asked.device]
    tags = periphery if asked.device.endswith("dram") else asked.device
    array = [
        ("size (bytes)", asked.size_bytes),
        *((f"{name} -", '"false"') for name in _GATED),
        ("Power Gating Performance Loss", 0.01),
        ("block size (bytes)", asked.width_bytes),
        ("associativity", asked.associativity),
        ("read-write port", shared),
        ("exclusive read port", read),
        ("exclusive write port", write),
        ("single ended read ports", 0),
        ("UCA bank count", asked.banks),
        ("technology (u)", f"{asked.node_nm / 1000:.6g}"),
        ("page size (bits)", asked.page_bits),
        ("burst length", 8),
        ("internal prefetch width", 8),
        ("Data array cell type -", f'"{asked.device}"'),
        ("Data array peripheral type -", f'"{periphery}"'),
        ("Tag array cell type -", f'"{tags}"'),
        ("Tag array peripheral type -", f'"{periphery}"'),
        ("output/input bus width", bus),
        ("operating temperature (K)", f"{asked.temperature_k:g}"),
        ("cache type", f'"{asked.kind}"'),
        ("tag size (b)", '"default"'),
        ("access mode (normal, sequential, fast) -", f'"{goal.access}"'),
        (f"design objective (weight {_AXES})", ":".join(map(str, goal.weights))),
        (f"deviate ({_AXES})", ":".join(map(str, goal.deviations))),
        ("Optimize ED or ED^2 (ED, ED^2, NONE):", f'"{goal.optimise}"'),
        ("Wire signaling (fullswing, lowswing, default) -", f'"{goal.signalling}"'),
        ("Interconnect projection -", f'"{asked.projection}"'),
        ("Add ECC -", f'"{str(goal.ecc).lower()}"'),
    ]
    return "".join(f"-{key} {value}\n" for key, value in array) + _ELSE


_GATED = ("Array Power Gating", "WL Power Gating", "CL Power Gating", "Bitline floating", "Interconnect Power Gating")

_AXES = "delay, dynamic power, leakage power, cycle time, area"

# CACTI reads these whatever is asked; DDR3 at 800 MHz with 64 + 8 data pins, as in the reference runs.
_ELSE = """-NUCAdesign objective (weight delay, dynamic power, leakage power, cycle time, area) 100:100:0:0:100
-NUCAdeviate (delay, dynamic power, leakage power, cycle time, area) 10:10000:10000:10000:10000
-Cache model (NUCA, UCA)  - "UCA"
-NUCA bank count 0
-Wire inside mat - "semi-global"
-Wire outside mat - "semi-global"
-Core count 1
-Cache level (L2/L3) - "L3"
-Print level (DETAILED, CONCISE) - "DETAILED"
-Print input parameters - "true"
-Force cache config - "false"
-Ndwl 1
-Ndbl 1
-Nspd 0
-Ndcm 1
-Ndsam1 0
-Ndsam2 0
-dram_type "DDR3"
-io state "READ"
-addr_timing 1.0
-mem_density 4 Gb
-bus_freq 800 MHz
-duty_cycle 1.0
-activity_dq 1.0
-activity_ca 0.5
-num_dq 72
-num_dqs 18
-num_ca 25
-num_clk  2
-num_mem_dq 2
-mem_data_width 8
-rtt_value 10000
-ron_value 34
-tflight_value
-num_bobs 1
-capacity 80
-num_channels_per_bob 1
-first metric "Cost"
-second metric "Bandwidth"
-third metric "Energy"
-DIMM model "ALL"
-mirror_in_bob "F"
"""
