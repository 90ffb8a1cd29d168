"""Non-ideal arithmetic intensity: what a second-level buffer of finite size makes DRAM move.

The source prints the intensities (Table 5) and its accelerator (Fig. 11), not the formulas. These follow from the
printed numbers and reproduce all of them: square tiles, two of which fill the buffer (1024 x 1024 bytes each); an
operand is read once per tile of the other's free dim; a projection also reads its bias, spread over the result; results
that a non-linear operator reads next leave with 32 bits, others with 8.

Source: Kim et al., arXiv 2302.14017v1, section 3.3, Table 5 and Fig. 11; the traffic is derived from Table 5.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from workloads.survey.convention import Architecture, Count, count
from workloads.survey.convolutions import ConvLayer

__all__ = ["L2_BYTES", "Product", "nonlinear_bytes", "products_of_layer", "reread_bytes", "tiled_bytes", "tiled_count"]

# Fig. 11: 2048 kB
L2_BYTES = 2048 * 1024
_WIDE = 4  # bytes of a 32-bit result


@dataclass(frozen=True, slots=True)
class Product:
    """A matrix product [m, k] x [k, n], `count` times.

    Attributes:
        m: Rows of the first operand.
        k: Summed dim.
        n: Columns of the second operand.
        count: How many of them a layer has.
        bias: Whether a bias is added.
        wide: Whether its result leaves with 32 bits, since a non-linear operator reads it.
    """

    m: int
    k: int
    n: int
    count: int = 1
    bias: bool = False
    wide: bool = False

    def flops(self) -> int:
        """Count the FLOPs of all of them: the bias fills the addition that the first product does not need."""
        sums = 2 * self.k if self.bias else 2 * self.k - 1
        return self.count * sums * self.m * self.n


def tiled_bytes(product: Product, l2_bytes: int = L2_BYTES) -> int:
    """Count the bytes that a product moves to and from DRAM.

    Args:
        product: With 8-bit operands.
        l2_bytes: Size of the buffer [B].

    Example:
        >>> tiled_bytes(Product(m=128, k=768, n=768, bias=True))  # fits: every matrix once
        884736
    """
    tile = math.isqrt(l2_bytes // 2)
    first = math.ceil(product.n / tile) * product.m * product.k
    second = math.ceil(product.m / tile) * product.k * product.n
    per_result = (_WIDE if product.wide else 1) + (1 if product.bias else 0)
    return product.count * (first + second + per_result * product.m * product.n)


def reread_bytes(layer: ConvLayer, l2_bytes: int = L2_BYTES) -> int:
    """Count the bytes that a convolution reads again: its weights per tile of pixels, its input per tile of channels.

    Example:
        >>> reread_bytes(ConvLayer(1, 256, 64, 56))  # 3136 pixels: four tiles, the weights three times more
        49152
    """
    tile = math.isqrt(l2_bytes // 2)
    weights, read, _ = layer.values()
    tiles = math.ceil(layer.size**2 / tile), math.ceil(layer.outputs / tile)
    return layer.repeats * ((tiles[0] - 1) * weights + (tiles[1] - 1) * read)


def products_of_layer(arch: Architecture, tokens: int) -> dict[str, Product]:
    """Give the products of one encoder layer, by the names of Table 2.

    Example:
        >>> from workloads.survey.convention import architecture
        >>> products_of_layer(architecture("BERT-Base"), 128)["q_x_k"].count
        12
    """
    d, d_ff, heads = int(arch.d_model), int(arch.d_ff), int(arch.heads)
    head = d // heads
    return {
        "wq_wk_wv": Product(tokens, d, d, count=3, bias=True),
        "q_x_k": Product(tokens, head, tokens, count=heads, wide=True),
        "score_x_v": Product(tokens, tokens, head, count=heads),
        "w_out": Product(tokens, d, d, bias=True, wide=True),
        "w1": Product(tokens, d, d_ff, bias=True, wide=True),
        "w2": Product(tokens, d_ff, d, bias=True, wide=True),
    }


def nonlinear_bytes(arch: Architecture, tokens: int) -> int:
    """Count the bytes that softmax, GELU, both norms and both residual additions of a layer move.

    Each reads a 32-bit result and writes 8 bits; scale and shift of the norms have 32 bits; a residual addition moves
    three 8-bit tensors.

    Example:
        >>> from workloads.survey.convention import architecture
        >>> nonlinear_bytes(architecture("BERT-Base"), 128)
        4534272
    """
    d, d_ff, heads = int(arch.d_model), int(arch.d_ff), int(arch.heads)
    per_value = _WIDE + 1
    normed = tokens * d
    parameters = 2 * 2 * d * _WIDE
    return per_value * (heads * tokens**2 + tokens * d_ff + 2 * normed) + 2 * 3 * normed + parameters


def tiled_count(arch: Architecture, tokens: int, l2_bytes: int = L2_BYTES) -> dict[str, Count]:
    """Count FLOPs and DRAM bytes of all layers with a buffer of finite size.

    Args:
        arch: An encoder.
        tokens: Sequence length.
        l2_bytes: Size of the buffer [B].

    Returns:
        Products by name, all layers together, and "total" with the operators that are no product.

    Example:
        >>> from workloads.survey.convention import architecture
        >>> round(tiled_count(architecture("BERT-Base"), 512)["total"].intensity, 3)
        111.122
    """
    layers = int(arch.layers)
    found = {
        name: Count(layers * product.flops(), layers * tiled_bytes(product, l2_bytes))
        for name, product in products_of_layer(arch, tokens).items()
    }
    moved = sum(item.mops for item in found.values()) + layers * nonlinear_bytes(arch, tokens)
    return {**found, "total": Count(count(arch, tokens)["total"].flops, moved)}
