"""How weights of 3, 4 and 8 bits are stored.

A matrix of codes, shape (k, n), is cut into blocks of `BLOCK` = 128 input features; k is a multiple of 128. The codes
of a block stand in bytes so that a kernel unpacks a byte into whole rows of a tile, with shifts alone:

- 8 bits: byte (f, n) is the code of feature f.
- 4 bits: 64 rows of bytes a block. Byte (r, n) holds the code of feature r in its low and of feature r + 64 in its high
  four bits.
- 3 bits: 48 rows of bytes a block, no bit is lost. Byte (r, n) of the first 32 rows holds the low two bits of features
  r, r + 32, r + 64, r + 96, from its lowest bits on. The highest bit of feature f is bit f // 16 of byte
  (32 + f % 16, n).

A uniform weight is `(code - 2^(bits - 1)) * scale[feature // group, n]`, whatever the group; a
non-uniform one is `table[n, code]`, a table of 2^bits values per output feature (SqueezeLLM, arXiv 2306.07629).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["BLOCK", "pack", "unpack"]

BLOCK = 128
"""Input features of a block."""


def pack(codes: Tensor, bits: int) -> Tensor:
    """Pack codes, uint8 of shape (k, n) below 2^bits, into bytes of shape (k * bits / 8, n)."""
    import torch

    k, n = codes.shape
    if bits == 8:
        return codes.contiguous()
    blocks = codes.reshape(k // BLOCK, BLOCK, n)
    if bits == 4:
        low, high = blocks[:, :64], blocks[:, 64:]
        return (low | (high << 4)).reshape(k // 2, n).contiguous()
    pairs = (blocks & 3).reshape(-1, 4, 32, n)
    low = pairs[:, 0] | (pairs[:, 1] << 2) | (pairs[:, 2] << 4) | (pairs[:, 3] << 6)
    tops = (blocks >> 2).reshape(-1, 8, 16, n)
    high = torch.zeros_like(tops[:, 0])
    for bit in range(8):
        high |= tops[:, bit] << bit
    return torch.cat([low, high], dim=1).reshape(k * 3 // 8, n).contiguous()


def unpack(packed: Tensor, bits: int) -> Tensor:
    """Give the codes back, uint8 of shape (k, n); written by the definition, feature by feature, not as `pack` is."""
    import torch

    if bits == 8:
        return packed
    rows = BLOCK * bits // 8
    blocks = packed.reshape(-1, rows, packed.shape[1])
    features = []
    for feature in range(BLOCK):
        if bits == 4:
            code = (blocks[:, feature % 64] >> (4 * (feature // 64))) & 15
        else:
            low = (blocks[:, feature % 32] >> (2 * (feature // 32))) & 3
            code = low | (((blocks[:, 32 + feature % 16] >> (feature // 16)) & 1) << 2)
        features.append(code)
    return torch.stack(features, dim=1).reshape(-1, packed.shape[1])
