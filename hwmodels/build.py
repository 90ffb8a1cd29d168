"""From a checked device file to a `RooflineDevice`: what spans several fields is checked here."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from hwmodels.fusion import FUSIONS
from hwmodels.native import native_codes, tabulate
from hwmodels.records import Citation, MemoryLevel
from hwmodels.roofline import RooflineDevice
from hwmodels.schema import DeviceSpec, Table
from workloads.errors import SpecError, nearest
from workloads.formats import FORMATS
from workloads.operator import PATTERNS

__all__ = ["build_device", "energy_per_flop"]

_FORMAT_NAMES = tuple(entry.name for entry in FORMATS)


def build_device(spec: DeviceSpec, origin: str) -> RooflineDevice:
    """Build a device from its checked file.

    Args:
        spec: The file.
        origin: Its name, for messages.

    Raises:
        SpecError: A name that does not exist, or fields that contradict each other.

    Example:
        >>> from hwmodels.specs import read_spec, spec_text
        >>> build_device(read_spec(spec_text("t4"), "t4.toml"), "t4.toml").tdp_w
        70.0
    """
    _check_names(origin, "matrix.peak", spec.matrix.peak, _FORMAT_NAMES)
    _check_names(origin, "kernels.fuses", spec.kernels.fuses, FUSIONS)
    if "fp32" not in spec.matrix.peak:
        raise SpecError(f'{origin}: field matrix.peak.fp32: missing; every device has one: fp32 = "19.5 TFLOP/s"')
    native = native_codes(spec.matrix.peak)
    return RooflineDevice(
        name=spec.name,
        kind=spec.kind,
        vendor=spec.vendor,
        process=spec.process,
        architecture=spec.architecture,
        cores=spec.cores,
        dies=_dies(spec, origin),
        threads=spec.threads,
        matrix_flops_per_cycle=_matrix_peaks(spec, native, origin) / spec.matrix.clock,
        native=native,
        matrix_hz=spec.matrix.clock,
        vector_flops_per_cycle=spec.vector.peak / spec.vector.clock,
        vector_hz=spec.vector.clock,
        vector_kinds={}
        if spec.vector_peaks is None
        else {str(kind): peak for kind, peak in spec.vector_peaks.peak.items()},
        j_per_flop=_energies(spec, native, origin),
        memory=_levels(spec, origin),
        launch_s=spec.launch.overhead,
        tdp_w=spec.power.tdp,
        static_w=spec.power.static,
        static_memory_share=_share(spec, origin),
        fuses=tuple(spec.kernels.fuses),
        exploits=() if spec.sparsity is None else tuple(spec.sparsity.speedup),
        efficiency=_efficiencies(spec, origin),
        unpacking=_unpacking(spec, origin),
        year=_year(spec, origin),
        interconnect_bytes_per_s=0.0 if spec.interconnect is None else spec.interconnect.bandwidth,
        sources=_citations(spec),
    )


def _check_names(origin: str, where: str, found: Iterable[str], known: Iterable[str]) -> None:
    known = tuple(known)
    for name in found:
        if name not in known:
            raise SpecError(f"{origin}: field {where}: unknown name {name!r}; {nearest(name, known)}")


def _matrix_peaks(spec: DeviceSpec, native: NDArray[np.int64], origin: str) -> NDArray[np.float64]:
    """Tabulate the matrix peaks by format and sparsity pattern [FLOP/s]."""
    dense = tabulate(spec.matrix.peak, native, missing=0.0)
    peaks = np.repeat(dense[:, None], len(PATTERNS), axis=1)
    if spec.sparsity is not None:
        _check_names(origin, "sparsity.speedup", spec.sparsity.speedup, PATTERNS)
        _check_names(origin, "sparsity.formats", spec.sparsity.formats, spec.matrix.peak)
        sparse = np.array([code >= 0 and _FORMAT_NAMES[code] in spec.sparsity.formats for code in native])
        for pattern, speedup in spec.sparsity.speedup.items():
            if not 1 <= speedup < float("inf"):
                raise SpecError(f"{origin}: field sparsity.speedup.{pattern}: found {speedup}; it is at least 1")
            peaks[sparse, PATTERNS.index(pattern)] *= speedup
    return peaks


def _levels(spec: DeviceSpec, origin: str) -> tuple[MemoryLevel, ...]:
    if not spec.memory or spec.memory[-1].bandwidth is None:
        raise SpecError(
            f"{origin}: field memory: the last level is the outermost and needs a bandwidth: "
            'bandwidth = "3.35 TB/s" (list the levels innermost first)'
        )
    _check_names(origin, "memory_energy.increment", spec.memory_energy.increment, [level.name for level in spec.memory])
    missing = [level.name for level in spec.memory if level.name not in spec.memory_energy.increment]
    if missing:
        raise SpecError(f'{origin}: field memory_energy.increment.{missing[0]}: missing; add it: "1.59 pJ/bit"')
    return tuple(
        MemoryLevel(level.name, level.capacity, level.bandwidth or 0.0, spec.memory_energy.increment[level.name])
        for level in spec.memory
    )


def _energies(spec: DeviceSpec, native: NDArray[np.int64], origin: str) -> NDArray[np.float64]:
    """Tabulate the arithmetic energy by format [J/FLOP]."""
    table = spec.arithmetic_energy
    _check_names(origin, "arithmetic_energy.per_flop", table.per_flop, _FORMAT_NAMES)
    energies: dict[str, float] = {}
    if table.node is not None:
        try:
            energies.update({name: energy_per_flop(name, float(f"{table.node * 1e9:g}")) for name in spec.matrix.peak})
        except SpecError as error:
            raise SpecError(f"{origin}: field arithmetic_energy.node: {error}; or give per_flop numbers") from None
    energies.update(table.per_flop)
    missing = [name for name in spec.matrix.peak if name not in energies]
    if missing:
        raise SpecError(
            f"{origin}: field arithmetic_energy.per_flop.{missing[0]}: missing; add it "
            f'({missing[0]} = "0.36 pJ/FLOP"), or a technology node: node = "7 nm"'
        )
    return tabulate(energies, native, missing=0.0)


def energy_per_flop(name: str, node_nm: float) -> float:
    """Give the energy of a FLOP of a matrix product: half of a multiply-add in the usual accumulator [J/FLOP].

    Args:
        name: Of a number format.
        node_nm: Technology node, 3 to 180 [nm].

    Raises:
        SpecError: No arithmetic in this format, or a node out of range.

    Example:
        >>> energy_per_flop("fp16", 7)
        3.6e-13
    """
    from hwmodels.energy.arithmetic import mac_energy  # that room prices devices, and so imports this module

    return float(mac_energy(name, node_nm=node_nm).value) / 2


def _dies(spec: DeviceSpec, origin: str) -> int:
    if spec.dies < 1 or spec.cores % spec.dies:
        raise SpecError(f"{origin}: field dies: found {spec.dies}; it is at least 1 and divides cores = {spec.cores}")
    return spec.dies


def _share(spec: DeviceSpec, origin: str) -> float:
    share = spec.power.static_memory_share
    if not 0 <= share <= 1:
        raise SpecError(f"{origin}: field power.static_memory_share: found {share}; it is a share from 0 to 1")
    return share


def _year(spec: DeviceSpec, origin: str) -> float:
    """Give the year of release; 0: not stated."""
    if spec.release is None:
        return 0.0
    if not 1990 <= spec.release.year <= 2100:
        raise SpecError(f"{origin}: field release.year: found {spec.release.year:g}; it is a year, such as 2022")
    return spec.release.year


def _efficiencies(spec: DeviceSpec, origin: str) -> dict[str, float]:
    factors = {} if spec.efficiency is None else dict(spec.efficiency.factor)
    for name, factor in factors.items():
        if not 0 < factor <= 1:
            raise SpecError(f"{origin}: field efficiency.factor.{name}: found {factor}; it is above 0 and at most 1")
    return factors


def _unpacking(spec: DeviceSpec, origin: str) -> dict[int, float]:
    """Give the speed of products by the bits of the stored weight that they unpack."""
    if spec.unpacking is None:
        return {}
    if "dequantize" not in spec.kernels.fuses:
        raise SpecError(f'{origin}: field unpacking: no kernel unpacks a weight; kernels.fuses needs "dequantize"')
    factors = {}
    for width, factor in spec.unpacking.efficiency.items():
        where = f"{origin}: field unpacking.efficiency.{width}"
        if not width.isdecimal() or not 1 <= int(width) <= 8:
            raise SpecError(f"{where}: the key is a width in bits from 1 to 8: 8 = 0.4")
        if not 0 < factor <= 1:
            raise SpecError(f"{where}: found {factor}; it is above 0 and at most 1")
        factors[int(width)] = factor
    return factors


def _citations(spec: DeviceSpec) -> dict[str, Citation]:
    tables: dict[str, Table | None] = {
        "matrix": spec.matrix,
        "vector": spec.vector,
        "vector_peaks": spec.vector_peaks,
        "sparsity": spec.sparsity,
        **{f"memory.{level.name}": level for level in spec.memory},
        "memory_energy": spec.memory_energy,
        "arithmetic_energy": spec.arithmetic_energy,
        "launch": spec.launch,
        "power": spec.power,
        "kernels": spec.kernels,
        "efficiency": spec.efficiency,
        "unpacking": spec.unpacking,
        "release": spec.release,
        "interconnect": spec.interconnect,
    }
    return {
        name: Citation(table.source, table.origin, table.note, tuple(table.disagreements))
        for name, table in tables.items()
        if table is not None
    }
