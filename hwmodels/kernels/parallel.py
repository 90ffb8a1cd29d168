"""Tensor parallelism: a workload's kernels on each of n GPUs, and the collectives between them.

Source: Shoeybi et al., Megatron-LM: training multi-billion parameter language models using model parallelism, 2019,
section 3: columns of the first product of a block, rows of the second, one all-reduce behind it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from hwmodels.kernels.lowering import Kernel
from workloads.errors import SpecError
from workloads.operator import Num

__all__ = ["split_kernels"]

COLUMNS = ("attn.q", "attn.k", "attn.v", "attn.qkv", "ffn.up", "ffn.gate", "head")
"""Ends of the names of blocks whose products are split by output feature."""

ROWS = ("attn.out", "ffn.down")
"""Ends of those that are split by input feature: what every GPU has are sums of parts."""

WITHIN = ("attn", "attn.scores", "attn.softmax", "attn.context", "ffn.activation")
"""Ends of those between: on a GPU's own features."""


def split_kernels(kernels: Sequence[Kernel], gpus: int) -> tuple[Kernel, ...]:
    """Give the kernels that one of n GPUs runs, with the collectives that join them.

    Norms, residual additions and embeddings run on every GPU. Query heads are split, and key heads as long as there
    are as many; fewer key heads than GPUs are copied. Where GPUs do not divide what they share, all wait for those
    that have one more.

    Args:
        kernels: Of the whole workload, in order; `Kernel.block` says where each sits.
        gpus: How many; 1: none are split.

    Raises:
        SpecError: Fewer than one.
    """
    if gpus < 1 or gpus != int(gpus):
        raise SpecError(f"{gpus} GPUs: give a whole number of them, 1 or more")
    if gpus == 1:
        return tuple(kernels)
    out: list[Kernel] = []
    for kernel in kernels:
        out += _split(kernel, gpus)
    return tuple(out)


def _split(kernel: Kernel, gpus: int) -> list[Kernel]:
    block, product = kernel.block, kernel.family == "gemm"
    if kernel.family.startswith("attention"):
        return [_heads(kernel, gpus)]
    if product and block.endswith(ROWS):
        mine = _shrunk(kernel, gpus, {"k"}, reads=True, writes=False)
        return [mine, _collective(kernel, "all_reduce", gpus)]
    if product and (block.endswith(COLUMNS)):
        mine = _shrunk(kernel, gpus, {"n"}, reads=False, writes=True)
        return [mine, _collective(kernel, "all_gather", gpus)] if block.endswith("head") else [mine]
    if product and block.endswith(WITHIN):
        return [_shrunk(kernel, gpus, {"batch"}, reads=True, writes=True)]
    inside = block.endswith((*WITHIN, *COLUMNS)) and not block.endswith("head")
    if kernel.family == "elementwise" and inside and kernel.op not in ("rmsnorm", "layernorm"):
        side = "rows" if kernel.op == "softmax" else "cols"
        return [_shrunk(kernel, gpus, {side, "bytes"}, reads=True, writes=True)]
    return [kernel]


def _heads(kernel: Kernel, gpus: int) -> Kernel:
    return _shrunk(kernel, gpus, {"heads", "kv_heads"}, reads=True, writes=True)


def _shrunk(kernel: Kernel, gpus: int, names: set[str], reads: bool, writes: bool) -> Kernel:
    sizes = {
        name: np.ceil(np.asarray(value) / gpus) if name in names else value for name, value in kernel.sizes.items()
    }
    read = {name: size / gpus if reads or name in kernel.weights else size for name, size in kernel.reads.items()}
    written = {name: size / gpus if writes else size for name, size in kernel.writes.items()}
    return replace(kernel, sizes=sizes, reads=read, writes=written)


def _collective(kernel: Kernel, op: str, gpus: int) -> Kernel:
    size = _total(kernel.writes)
    sizes: Mapping[str, Num] = {"num_gpus": float(gpus), "devices_per_node": float(gpus), "bytes": size}
    return replace(
        kernel, name=f"{kernel.name}:{op}", operators=(), family="collective", op=op, sizes=sizes,
        a_format="fp32" if kernel.a_format in ("fp32", "tf32") else "bf16", w_format="",
        reads=kernel.writes, writes=kernel.writes, weights=frozenset(),
    )  # fmt: skip


def _total(sizes: Mapping[str, Num]) -> Num:
    total: Num = 0.0
    for size in sizes.values():
        total = total + size
    return total
