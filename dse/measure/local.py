"""The machine at hand as a device: its ceilings, measured in about ten seconds, written as a device file.

A "peak" of this device is what a transformer layer reaches in ONNX Runtime, not what the silicon could. Memory traffic
is charged at DRAM bandwidth, also where activations stay in a cache: what that adds is less than what the roofline
leaves out (products of small heads, transposes). Predicted fp32 latency against the median measured, two sittings on a
shared core with 32 MiB of L3, ONNX Runtime 1.32: MiniLM-L6 1 x 128, -7 and -15 % with DRAM bandwidth, -8 and -17 % with
that of L3; a small ViT at batch 64, -19 and -23 % against -24 and -27 %.

Products with stored weights are timed as ONNX Runtime runs them: DequantizeLinear and MatMul become a MatMulNBits that
quantizes activations, which is slower than fp32 where vectors have no int8 dot product. Predicted latency of the same
ViT against the median measured, another sitting (AVX2, L3 of 8 MiB): fp32 -18 %; 8, 6 and 4 bit -17, -17 and -24 %;
half of the heads and neurons at 8 bit -23 %; 4 and 8 bit in groups -14 and -16 %; dynamic int8 -7 %. Calls that take
about a millisecond (batch 1) take longer than predicted, fp32 -43 %, 8 bit -30 %: no field holds a call's own time.

`dse predict` takes ceilings and bandwidths from the same file for kernels of the device `local`.
Energies and powers cannot be measured from here; they are assumptions, and the file says so.
"""

from __future__ import annotations

import datetime
import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from dse.measure.ceilings import LARGEST_BUFFERS, LAUNCH_NODES, NBITS, Ceilings, measure_ceilings
from dse.measure.host import Cache, Host, read_host
from workloads.errors import SpecError
from workloads.zoo.fetch import cache_folder

if TYPE_CHECKING:
    import hwmodels
    from hwmodels.schema import DeviceSpec, Kernels, Launch, Matrix, Memory, Power, Unpacking, Vector, VectorPeaks

__all__ = ["load_local", "local_path", "measure_local", "needs_measuring"]

COMMAND = "dse devices --local"

SERVER = "epyc-9654"  # a thread of this machine takes the power of one of its cores


def local_path() -> Path:
    """Give the file of the local device: ``local.toml`` in the cache folder, which ``DSE_CACHE`` overrides."""
    return cache_folder() / "local.toml"


def load_local(
    measure_if_missing: bool = False, *, path: str | os.PathLike[str] | None = None
) -> hwmodels.RooflineDevice:
    """Load the device that `measure_local` wrote.

    Args:
        measure_if_missing: Measure now (about ten seconds) if `needs_measuring` says so.
        path: Its file; by default `local_path()`.

    Raises:
        SpecError: It was not measured yet, or the file has a fault.
    """
    import hwmodels

    target = local_path() if path is None else Path(path)
    if measure_if_missing and needs_measuring(target):
        measure_local(path=target)
    if not target.is_file():
        raise SpecError(f"this machine was not measured yet: there is no {str(target)!r}; run: {COMMAND}")
    return hwmodels.load(target)


def needs_measuring(path: str | os.PathLike[str] | None = None) -> bool:
    """Say whether the local device was never measured, or before products with stored weights were.

    Args:
        path: Its file; by default `local_path()`.

    Raises:
        SpecError: The file has a fault.
    """
    import hwmodels

    target = local_path() if path is None else Path(path)
    if not target.is_file():
        return True
    device = hwmodels.load(target, kind=hwmodels.RooflineDevice)
    return "dequantize" in device.fuses and not device.unpacking


def measure_local(
    seconds: float = 10.0,
    threads: int = 1,
    progress: Callable[[str], None] | None = None,
    *,
    path: str | os.PathLike[str] | None = None,
) -> hwmodels.RooflineDevice:
    """Measure this CPU under ONNX Runtime and write it as a device file, by rename.

    Args:
        seconds: Wall time to spend; building the kernels adds about one second [s].
        threads: Threads for ONNX Runtime. One is what CPU time can measure on a shared machine.
        progress: Is told what is being measured, a line each.
        path: Where to write; by default `local_path()`, whose folder is created.

    Returns:
        The device, as `load_local` gives it.

    Raises:
        SpecError: The file cannot be written.
        MeasureError: ONNX Runtime refuses a kernel.
    """
    import hwmodels

    target = local_path() if path is None else Path(path)
    if path is None:
        target.parent.mkdir(parents=True, exist_ok=True)
    elif not target.parent.is_dir():  # before ten seconds are spent
        raise SpecError(f"cannot write {str(target)!r}: there is no folder {str(target.parent)!r}; create it first")
    host = read_host()
    ceilings = measure_ceilings(host, seconds, threads, progress)
    hwmodels.write_spec(_spec(host, ceilings, threads), target)
    if progress:
        progress(f"wrote {target}")
    return hwmodels.load(target)


def _spec(host: Host, found: Ceilings, threads: int) -> DeviceSpec:
    """Write ceilings down as a device file, each group with what was done."""
    from hwmodels.schema import ArithmeticEnergy, DeviceSpec, Efficiency, MemoryEnergy

    source = _what_was_done(found, threads)
    levels = [*host.caches, Cache("DRAM", host.memory_bytes)]
    return DeviceSpec(
        name="local",
        title=f"{host.cpu}, {threads} of {host.cores} cores, ONNX Runtime",
        kind="cpu",
        vendor="this machine",
        process="unknown",
        cores=host.cores,
        threads=threads,
        matrix=_matrix(host, found, source),
        vector=_vector(host, found, source),
        vector_peaks=_vector_peaks(found, source),
        memory=[_memory(level, found.bytes_per_s[level.name], source) for level in levels],
        launch=_launch(found, source),
        kernels=_kernels(found),
        efficiency=Efficiency(
            factor={"MatMulNBits": found.nbits_efficiency},
            source=source,
            origin="measured",
            note=f"4 bit, groups of 32, {'x'.join(map(str, NBITS))}, beyond its dequantization, relative to fp32",
        ),
        unpacking=_unpacking(found, source) if found.unpacks else None,
        memory_energy=MemoryEnergy(
            increment=_increments([level.name for level in levels]),
            source="tables/dram_energy.csv: DDR5; L2 and L3: 1 MB and 128 MB SRAM at 7 nm, as in specs/epyc-9654.toml",
            origin="assumption",
            note="not measured; no power counter is read",
        ),
        arithmetic_energy=ArithmeticEnergy(
            node=7e-9, source="tables/arithmetic_anchors.csv at 7 nm", origin="assumption", note="the node is not known"
        ),
        power=_power(threads),
    )


def _power(threads: int) -> Power:
    """Take a core's share of a server: its TDP, and its static power, which follows from its dies and its memory."""
    import hwmodels
    from hwmodels.schema import Power

    server = hwmodels.load(SERVER, kind=hwmodels.RooflineDevice)
    return Power(
        tdp=server.tdp_w * threads / server.cores,
        static=server.static_w * threads / server.cores,
        static_memory_share=server.static_memory_share,
        source=f"a core's share of specs/{SERVER}.toml ({server.tdp_w:g} W TDP, {server.static_w:g} W static by dies "
        f"and memory, {server.cores} cores)",
        origin="assumption",
        note="not measured, and not of this CPU: compare energies on this device with each other only",
    )


def _what_was_done(found: Ceilings, threads: int) -> str:
    import onnxruntime

    clock = "one thread by thread CPU time" if threads == 1 else f"{threads} threads by wall time"
    return (
        f"measured on this machine on {datetime.date.today().isoformat()}: ONNX Runtime {onnxruntime.__version__}, "
        f"NumPy {np.__version__}, {clock}, best of {found.runs} or more, {found.seconds:.0f} s in all; {COMMAND}"
    )


def _matrix(host: Host, found: Ceilings, source: str) -> Matrix:
    from hwmodels.schema import Matrix

    shapes = ", ".join(f"{name} {rate / 1e9:.0f}" for name, rate in found.shapes.items())
    return Matrix(
        clock=host.clock_hz,
        peak=dict(found.matrix),
        source=source,
        origin="measured",
        note="FLOPs of a layer of width 768 on 128 tokens, of 512^3 and (fp32) of a stack with weights from memory, "
        f"over their time; GFLOP/s by m x k x n: {shapes}; instruction sets: "
        f"{', '.join(host.isa) or 'none of interest'}; the clock is what the system reports, "
        "and only relates FLOP/s to FLOP per cycle",
    )


def _vector(host: Host, found: Ceilings, source: str) -> Vector:
    from hwmodels.schema import Vector

    return Vector(
        clock=host.clock_hz,
        peak=found.vector["elementwise"],
        source=source,
        origin="measured",
        note="bias and residual Add of [128, 768] values in a cache: the rate of element-wise kernels",
    )


def _vector_peaks(found: Ceilings, source: str) -> VectorPeaks:
    from hwmodels.schema import VectorPeaks

    return VectorPeaks(
        peak={kind: found.vector[kind] for kind in ("softmax", "norm", "gelu", "elementwise", "convert")},
        source=source,
        origin="measured",
        note="kernels on [128, 768] values (softmax: [12, 128, 128]) in a cache; convert: what dynamic int8 takes "
        "beyond its products",
    )


def _memory(level: Cache, bytes_per_s: float, source: str) -> Memory:
    from hwmodels.schema import Memory

    what = "a = b + c in NumPy, 12 bytes per value (the read that a store causes is not counted)"
    inside = "arrays of half its capacity; capacity of one core's copy"
    outside = f"arrays of six times the largest cache, at most {LARGEST_BUFFERS / 1e6:.0f} MB"
    return Memory(
        name=level.name,
        capacity=level.capacity_bytes,
        bandwidth=bytes_per_s,
        source=source if level.is_known else f"capacity: a guess; bandwidth: {source}",
        origin="measured",
        note=f"{what}; {outside if level.name == 'DRAM' else inside}",
    )


def _launch(found: Ceilings, source: str) -> Launch:
    from hwmodels.schema import Launch

    few, many = LAUNCH_NODES
    return Launch(
        overhead=found.launch_s,
        source=source,
        origin="measured",
        note=f"slope over chains of {few} and {many} nodes on 16 values; a call of a session adds "
        f"{found.run_s * 1e6:.1f} us once, which no field holds",
    )


def _kernels(found: Ceilings) -> Kernels:
    import onnxruntime

    from hwmodels.schema import Kernels

    fate = "becomes part of MatMulNBits" if found.unpacks else "runs as a kernel of its own"
    return Kernels(
        fuses=["dequantize"] if found.unpacks else [],
        source=f"a graph as ONNX Runtime {onnxruntime.__version__} optimizes it: DequantizeLinear of a weight {fate}",
        origin="measured",
        note="in optimized graphs of MiniLM-L6 and a ViT (1.32) products with three axes keep their bias Add, so "
        "there is no epilogue; the residual Add joins LayerNorm and dynamic quantization joins the product, which no "
        "field holds",
    )


def _unpacking(found: Ceilings, source: str) -> Unpacking:
    from hwmodels.schema import Unpacking

    shapes = "; ".join(
        f"{bits} bit: " + ", ".join(f"{name} {speed:.2f}" for name, speed in by_shape.items())
        for bits, by_shape in found.unpacked.items()
    )
    return Unpacking(
        efficiency={str(bits): float(np.mean(list(by_shape.values()))) for bits, by_shape in found.unpacked.items()},
        source=source,
        origin="measured",
        note="MatMul of a DequantizeLinear with a scale per column, as ONNX Runtime runs it (MatMulNBits that "
        f"quantizes the activations), relative to fp32, mean over shapes; by m x k x n: {shapes}",
    )


def _increments(names: list[str]) -> dict[str, float]:
    """Give the energy of each level on top of those inside it, innermost first, the last DRAM [J/bit]."""
    return {
        name: 12e-12 if position == len(names) - 1 else 0.219e-12 if position == 0 else 1.88e-12
        for position, name in enumerate(names)
    }
