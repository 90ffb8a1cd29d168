"""Matrix products: the least of all tiles and splits of k, in waves over the multiprocessors.

A block computes one tile of the output. Blocks run in waves, one block a multiprocessor; a wave takes as long as its
products or the loads of its operands from L2, and a ramp to fill and drain; the last wave costs less than a whole one,
since blocks start as others end. The whole takes that or the traffic of the memory, which a few blocks cannot
saturate. What a loop of repeats finds in L2 is not charged to the memory.

Source: the wave quantization of NVIDIA, Matrix Multiplication Background User's Guide, 2023; split-K as in Osama et
al., Stream-K, PPoPP 2023, section 3; tiles are those of CUTLASS's profiler.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hwmodels.kernels.machine import Machine
from hwmodels.kernels.records import Gemm, element_bytes
from hwmodels.kernels.traffic import transfer_us

__all__ = ["SPLITS", "TILES", "GemmCoefficients", "gemm_us", "roofline_us"]

Array = NDArray[np.float64]
F32 = NDArray[np.float32]

TILES = (
    (256, 128),
    (128, 256),
    (128, 128),
    (64, 256),
    (256, 64),
    (128, 64),
    (64, 128),
    (64, 64),
    (32, 128),
    (16, 128),
    (32, 64),
    (16, 64),
)
"""Rows and columns of the output that one block computes."""

SPLITS = (1, 2, 4, 8, 16, 32, 64)
"""Blocks that share one tile, each over a part of k."""

ROWS = 8192
"""Products costed at once: what keeps the arrays of one pass in the cache."""

K_STEP = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class GemmCoefficients:
    """What a calibration says of one library's products on one device.

    Attributes:
        t0_us: Launch and epilogue of the smallest product [us].
        compute: Share of the data-sheet peak that large tiles reach.
        memory: Share of the data-sheet bandwidth that is reached.
        ramp_us: To fill and drain a wave [us].
        l2_bytes_per_flop: What L2 delivers to a multiprocessor while it computes one FLOP at its peak [B/FLOP].
        blend: How far compute and memory fail to overlap: 0 the longer of them, 1 their sum.
        small_tile: Loss of small tiles: efficiency is 1 / (1 + small_tile sqrt(4096 / elements of the tile)).
        split_us: A second pass over the partial sums of a split product [us].
        saturation: Share of the multiprocessors that saturate the memory.
        resident: Share of L2 within which repeats find their operands.
        resident_rate: Bandwidth of those, in data-sheet bandwidths of the memory; of partial sums too.
        quantum: How far the last wave costs a whole one: 0 as its blocks, 1 as a full wave.
        fill_k: Steps of k that filling a block's pipeline takes.
    """

    t0_us: float = 3.0
    compute: float = 0.85
    memory: float = 0.85
    ramp_us: float = 0.7
    l2_bytes_per_flop: float = 0.025
    blend: float = 0.1
    small_tile: float = 0.12
    split_us: float = 2.0
    saturation: float = 0.35
    resident: float = 0.3
    resident_rate: float = 2.0
    quantum: float = 0.5
    fill_k: float = 100.0


def gemm_us(gemm: Gemm, machine: Machine, coefficients: GemmCoefficients) -> Array:
    """Predict the time of matrix products.

    Args:
        gemm: Products, arrays of shape (rows,); all of one pair of formats.
        machine: The device.
        coefficients: Of this device, library and pair of formats.

    Returns:
        Time, shape (rows,) [us].

    Raises:
        SpecError: The device has no peak for the formats.
    """
    peak = product_peak(gemm, machine)
    columns = np.array([gemm.batch, gemm.m, gemm.n, gemm.k], dtype=np.float32)
    hot = None if gemm.hot is None else gemm.hot.astype(np.float32)
    memory_us = transfer_us(gemm.least_bytes().astype(np.float32), hot, machine, coefficients)
    out = np.empty(columns.shape[1])
    for start in range(0, len(out), ROWS):
        part = slice(start, start + ROWS)
        out[part] = _chunk_us(columns[:, part], memory_us[part], gemm, machine, coefficients, peak)
    return out


def product_peak(gemm: Gemm, machine: Machine) -> float:
    """Give the peak of a product's formats, and of its n:m pattern where the device skips what it leaves out [FLOP/s].

    Raises:
        SpecError: The device has no peak for the formats.
    """
    pattern = gemm.w_format.partition("_")[2]
    return machine.peak(gemm.a_format, gemm.w_format) * machine.speedup(pattern, gemm.a_format)


def _chunk_us(shape: F32, memory_us: F32, gemm: Gemm, machine: Machine, c: GemmCoefficients, peak: float) -> F32:
    batch, m, n, k = shape
    sms = np.float32(machine.sms)
    deep = np.ceil(k * np.float32(1 / K_STEP)) * np.float32(K_STEP) + np.float32(c.fill_k)
    best = np.full(m.shape, np.inf, np.float32)
    down = {tm: batch * np.ceil(m * np.float32(1 / tm)) for tm in {tm for tm, _ in TILES}}
    across = {tn: np.ceil(n * np.float32(1 / tn)) for tn in {tn for _, tn in TILES}}
    per_k = [np.float32(_per_k(tm, tn, gemm, machine, c, peak)) for tm, tn in TILES]
    for (tm, tn), slope in zip(TILES, per_k, strict=True):
        body = deep * slope
        body += np.float32(c.ramp_us)
        np.minimum(best, _candidate(down[tm] * across[tn], body, memory_us, sms, c), out=best)
    few = np.flatnonzero(down[64] * across[64] < 2 * sms)
    if few.size:
        tiles = [down[tm][few] * across[tn][few] for tm, tn in TILES]
        partial = (4 * m * n * batch)[few] * np.float32(1e6 / (c.resident_rate * machine.dram_bytes_per_s))
        best[few] = np.minimum(best[few], _split(tiles, per_k, k[few], memory_us[few], partial, sms, c))
    return best * np.float32(0.5) + np.float32(c.t0_us)


def _per_k(tm: int, tn: int, gemm: Gemm, machine: Machine, c: GemmCoefficients, peak: float) -> float:
    """Give the time of one step of k of one tile: its products, or the loads of its operands from L2 [us]."""
    slow = 1 + c.small_tile * (4096 / (tm * tn)) ** 0.5
    loads = (tm * element_bytes(gemm.a_format) + tn * element_bytes(gemm.w_format)) / c.l2_bytes_per_flop
    return float(max(2 * tm * tn * slow / c.compute, loads) * machine.sms / peak * 1e6)


def _candidate(tiles: F32, body: F32, memory_us: F32, sms: np.float32, c: GemmCoefficients) -> F32:
    """Give twice the time of one choice of tile, body being that of one block [us]."""
    waves = tiles * (1 / sms)
    work = np.ceil(waves)
    work *= np.float32(c.quantum)
    move = np.float32(c.saturation) / waves
    np.maximum(waves, np.float32(1), out=waves)
    waves *= np.float32(1 - c.quantum)
    work += waves
    work *= body
    np.maximum(move, np.float32(1), out=move)
    move *= memory_us
    return _blended(work, move, np.float32(c.blend))


def _split(
    tiles: list[F32],
    per_k: list[np.float32],
    k: F32,
    memory_us: F32,
    partial: F32,
    sms: np.float32,
    c: GemmCoefficients,
) -> F32:
    """Give twice the time of the best split of k, shape (rows,) [us]."""
    best = np.full(k.shape, np.inf, np.float32)
    for split in SPLITS[1:]:
        deep = np.flatnonzero(k > K_STEP * split)
        part = np.ceil(k[deep] * np.float32(1 / (K_STEP * split))) * np.float32(K_STEP) + np.float32(c.fill_k)
        least, move = np.full(deep.shape, np.inf, np.float32), memory_us[deep]
        for count, slope in zip(tiles, per_k, strict=True):
            body = part * slope
            body += np.float32(c.ramp_us)
            np.minimum(least, _candidate(count[deep] * split, body, move, sms, c), out=least)
        best[deep] = np.minimum(best[deep], least + 2 * (partial[deep] * split + np.float32(c.split_us)))
    return best


def _blended(a: F32, b: F32, blend: np.float32) -> F32:
    """Give twice a maximum with a rounded corner, in place: a root and no power, so that it is cheap."""
    both = a * b
    both *= 4 * (1 - blend)
    a += b
    np.multiply(a, a, out=b)
    b -= both
    np.maximum(b, np.float32(0), out=b)
    np.sqrt(b, out=b)
    a += b
    return a


def roofline_us(gemm: Gemm, machine: Machine) -> Array:
    """Give the time of the data sheet: the longer of computing and moving."""
    peak = product_peak(gemm, machine)
    return np.maximum(gemm.flops() / peak, gemm.least_bytes() / machine.dram_bytes_per_s) * 1e6
