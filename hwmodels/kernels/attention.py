"""Fused attention: prompts by query tiles in waves; one query token by blocks that share a cache.

A prompt's block takes 128 queries of one head over all keys that they see; the longest block bounds the whole. A
decoding block takes all query heads of one key head (packed) and a chunk of the cache; few sequences are split into
more chunks, which a second pass combines.

Source: Dao, FlashAttention-2, 2023, section 3.2 (blocks of queries); Dao et al., Flash-Decoding for long-context
inference, 2023 (chunks of the cache).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hwmodels.kernels.machine import Machine
from hwmodels.kernels.records import Array, Attention
from hwmodels.kernels.traffic import transfer_us

__all__ = ["AttentionCoefficients", "attention_roofline_us", "decode_us", "prefill_us"]

Q_TILE = 128
CHUNK = 128
STEP = 64  # of queries and keys within a tile
SPLITS = (1, 2, 4, 8, 16, 32, 64, 128)
PAGE = 16  # tokens of a page where the tables were measured (vLLM's default)
PAGE_TOKENS = 1.0
"""What looking a page up costs a block, in tokens read. Assumption: no table varies the size of pages. It makes pages
of one token 1.9 times as slow as those of 16, and contiguous caches 6 % faster."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AttentionCoefficients:
    """Of one library's attention on one device.

    Attributes:
        t0_us: The smallest kernel [us].
        compute: Share of the data-sheet peak.
        memory: Share of the data-sheet bandwidth.
        ramp_us: Of one wave of blocks [us].
        blend: How far compute and memory fail to overlap.
        row_us: Softmax of one tile of 128 x 128 scores beyond the products [us].
        block_gb_per_s: What one decoding block reads [GB/s].
        combine_us: To combine the chunks of a cache [us].
        resident: Share of L2 within which repeats find the cache.
        resident_rate: Bandwidth of it, in data-sheet bandwidths of the memory.
    """

    t0_us: float = 12.0
    compute: float = 0.7
    memory: float = 0.7
    ramp_us: float = 0.5
    blend: float = 0.1
    row_us: float = 0.1
    block_gb_per_s: float = 30.0
    combine_us: float = 2.0
    resident: float = 0.3
    resident_rate: float = 1.5


def prefill_us(record: Attention, machine: Machine, coefficients: AttentionCoefficients) -> Array:
    """Predict the time of attention over prompts, shape (rows,) [us]."""
    c = coefficients
    rate = c.compute * machine.peak(record.a_format, record.a_format) / machine.sms * 1e-6
    tile_us = 4 * Q_TILE * CHUNK * record.head_dim / rate + c.row_us
    # Query heads of one key head are packed into a tile where that makes fewer tiles: prompts shorter than a tile.
    packed = np.ceil(record.q_len * record.heads / record.kv_heads / Q_TILE) * record.kv_heads
    blocks = record.batch * np.minimum(record.heads * np.ceil(record.q_len / Q_TILE), packed)
    kv_tiles = np.ceil(record.kv_len / STEP) * (STEP / CHUNK)
    rows = np.minimum(1.0, np.ceil(record.q_len * record.heads / record.kv_heads / STEP) * (STEP / Q_TILE))
    seen = 1 - record.causal * np.maximum(record.q_len - Q_TILE, 0) / (2 * record.kv_len)
    average = blocks * kv_tiles * seen * rows / machine.sms * tile_us
    work = np.maximum(average, kv_tiles * rows * tile_us) + np.ceil(blocks / machine.sms) * c.ramp_us
    moved = record.kv_bytes() + record.query_bytes()
    cold = np.zeros(len(moved)) if record.hot is None else record.hot
    move = transfer_us(moved, cold, machine, c)
    return c.t0_us + _blended(work, move, c.blend)


def decode_us(record: Attention, machine: Machine, coefficients: AttentionCoefficients) -> Array:
    """Predict the time of one query token a sequence against a cache, shape (rows,) [us]."""
    c = coefficients
    move = transfer_us(record.kv_bytes() + record.query_bytes(), record.hot, machine, c)
    group_tiles = np.ceil(record.heads / record.kv_heads / 16)
    one = (
        2 * record.head_dim * record.kv_bytes() / (2 * record.batch * record.kv_heads * record.kv_len * record.head_dim)
    )
    page = PAGE if record.page is None else record.page
    chunk_us = one * CHUNK / (c.block_gb_per_s * 1e3) * _paged(page) + c.row_us * group_tiles
    chunks = np.ceil(record.kv_len / CHUNK)
    best = np.full(move.shape, np.inf)
    for split in SPLITS:
        blocks = record.batch * record.kv_heads * np.minimum(split, chunks)
        work = np.ceil(blocks / machine.sms) * (np.ceil(chunks / split) * chunk_us + c.ramp_us)
        results = 8.0 * record.batch * record.heads * record.head_dim * split
        second = c.combine_us + results / (c.memory * machine.dram_bytes_per_s) * 1e6 if split > 1 else 0.0
        best = np.minimum(best, _blended(work, move, c.blend) + second)
    return c.t0_us + best


def _paged(page: Array | float) -> Array | float:
    return (1 + PAGE_TOKENS / page) / (1 + PAGE_TOKENS / PAGE)


def _blended(a: Array, b: Array, blend: float) -> Array:
    return np.asarray(0.5 * (a + b + np.sqrt((a - b) ** 2 + 4 * blend * a * b)))


def attention_roofline_us(record: Attention, machine: Machine) -> Array:
    """Give the time of the data sheet: the longer of computing and moving [us]."""
    compute = record.flops() / machine.peak(record.a_format, record.a_format)
    return np.maximum(compute, (record.kv_bytes() + record.query_bytes()) / machine.dram_bytes_per_s) * 1e6
