"""The ceilings of ONNX Runtime on this CPU: kernels as transformers use them, all in turn, best of N by CPU time.

Ceilings belong to a library and a number format, not to a CPU. Kernels are timed over and over in turn, so that each
sees the machine's quiet moments; what a call of a session and its nodes cost by themselves is taken off.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from dse.measure.graphs import Graph, Part, chain, ffn_stack, product, single, stored
from dse.measure.host import Cache, Host, bandwidth
from dse.measure.timing import Timing, session_of, time_sessions

__all__ = ["LARGEST_BUFFERS", "LAUNCH_NODES", "NBITS", "Ceilings", "measure_ceilings"]

# (m, k, n) and how often: a square product, and the weighted products of a layer of width 768 on 128 tokens.
PRODUCTS = {(512, 512, 512): 1, (128, 768, 768): 4, (128, 768, 3072): 1, (128, 3072, 768): 1}
# Of the same layer, (heads, m, k, n): scores and context; they stay in fp32 when weights are quantized.
ATTENTION = ((12, 128, 64, 128), (12, 128, 128, 64))
STACK = (128, 384, 8)  # rows, width, layers: 38 MB of fp32 weights, which come from memory in real models too
NBITS = (128, 768, 768)
# Products with a stored weight that ONNX Runtime unpacks in the kernel (m, k, n): of a layer of width 768 on 128 tokens
# and of one of width 96 on 1024, and the containers that it takes [bit].
UNPACKED = ((128, 768, 768), (128, 768, 3072), (128, 3072, 768), (1024, 96, 96), (1024, 96, 384), (1024, 384, 96))
CONTAINERS = (4, 8)
# Tokens x width, and heads x tokens x tokens: input and output stay in a cache, as between two layers.
VECTOR_SHAPE, SOFTMAX_SHAPE = (128, 768), (12, 128, 128)
VECTOR_NODES = 8
LAUNCH_NODES = (2, 66)

# FLOPs per value, as workloads.opcounts counts them: a chain and its fused kernel cost the same.
VECTOR_FLOPS = {"softmax": 5.0, "norm": 7.0, "gelu": 5.0, "elementwise": 1.0}
QUANTIZE_FLOPS, RESCALE_FLOPS, UNPACK_FLOPS = 5.0, 2.0, 2.0

BANDWIDTH_SHARE = 0.2  # of the time that a measurement may take
LARGEST_BUFFERS = 384e6  # [B]


@dataclass(frozen=True, slots=True, kw_only=True)
class Ceilings:
    """What was measured.

    Attributes:
        matrix: Products by arithmetic format: FLOPs of a layer, a square and (fp32) a stack over their time [FLOP/s].
        shapes: Each timed product by name: "fp32 128x768x3072" [FLOP/s].
        vector: By operator kind [FLOP/s].
        nbits_efficiency: Speed of MatMulNBits (4 bit) relative to fp32.
        unpacked: By bits and shape of a stored weight: speed of its product, unpacking included, relative to fp32.
        launch_s: Of one more node in a chain [s].
        run_s: Of one execution of a session, whatever it computes: no field of a device file [s].
        unpacks: Whether a DequantizeLinear of a stored weight disappears into the product that reads it.
        bytes_per_s: By memory level, innermost first; the last is DRAM [B/s].
        runs: Fewest samples of a kernel.
        seconds: Wall time spent [s].
    """

    matrix: Mapping[str, float]
    shapes: Mapping[str, float]
    vector: Mapping[str, float]
    nbits_efficiency: float
    unpacked: Mapping[int, Mapping[str, float]]
    launch_s: float
    run_s: float
    unpacks: bool
    bytes_per_s: Mapping[str, float]
    runs: int
    seconds: float


def measure_ceilings(
    host: Host, seconds: float = 10.0, threads: int = 1, progress: Callable[[str], None] | None = None
) -> Ceilings:
    """Measure ceilings: all kernels in turn, over and over, so that each sees the machine's quiet moments.

    Args:
        host: From `read_host`.
        seconds: Wall time to spend [s].
        threads: Threads for ONNX Runtime.
        progress: Is told what is being measured, a line each.
    """
    begin = time.perf_counter()
    say = progress or (lambda text: None)
    say("bandwidth of caches and memory")
    levels = _footprints(host.caches)
    speeds = bandwidth(list(levels.values()), seconds * BANDWIDTH_SHARE)
    say("building kernels")
    graphs = _kernels(np.random.default_rng(0))
    sessions = {name: session_of(graph.model, name, threads) for name, graph in graphs.items()}
    feeds = {name: graph.feeds for name, graph in graphs.items()}
    say(f"{len(sessions)} kernels of ONNX Runtime, {'one thread' if threads == 1 else f'{threads} threads'}")
    found = time_sessions(
        sessions, feeds, repeats=100_000, threads=threads, seconds_limit=seconds * (1 - BANDWIDTH_SHARE)
    )
    return _ceilings(found, dict(zip(levels, speeds, strict=True)), threads, time.perf_counter() - begin)


def _footprints(caches: tuple[Cache, ...]) -> dict[str, float]:
    """Give the buffers that measure each level [B]: half of a cache; for DRAM six times the largest cache."""
    inside = {cache.name: cache.capacity_bytes / 2 for cache in caches}
    return {**inside, "DRAM": min(6 * caches[-1].capacity_bytes, LARGEST_BUFFERS)}


def _kernels(rng: np.random.Generator) -> dict[str, Graph]:
    vector = rng.standard_normal(VECTOR_SHAPE[1], dtype=np.float32)
    parts = {
        "softmax": (Part("Softmax"),),
        "norm": (Part("LayerNormalization", (vector, vector)),),
        "gelu": (Part("Gelu"),),
        "elementwise": (Part("Add", (vector,)), Part("Add", residual=True)),
    }
    graphs = {f"{kind} {_name(shape)}": product(*shape, kind, rng) for kind in ("fp32", "int8") for shape in PRODUCTS}
    for heads, m, k, n in ATTENTION:
        pair = [rng.standard_normal(shape, dtype=np.float32) for shape in ((1, heads, m, k), (1, heads, k, n))]
        graphs[f"fp32 {_name((heads, m, k, n))}"] = single("MatMul", pair)
    graphs[f"int4 {_name(NBITS)}"] = product(*NBITS, "int4", rng)
    for m, k, n in UNPACKED:
        graphs.setdefault(f"fp32 {_name((m, k, n))}", product(m, k, n, "fp32", rng))
        rows = rng.standard_normal((m, k), dtype=np.float32)
        graphs |= {f"unpack{bits} {_name((m, k, n))}": stored(rows, k, n, bits, rng) for bits in CONTAINERS}
    graphs["fp32 stack"] = ffn_stack(*STACK, dynamic_int8=False, rng=rng)
    graphs["int8 stack"] = ffn_stack(*STACK, dynamic_int8=True, rng=rng)
    for kind, group in parts.items():
        start = rng.standard_normal(_vector_shape(kind), dtype=np.float32)
        graphs[kind] = chain(group * (VECTOR_NODES // len(group)), start)
    for nodes in LAUNCH_NODES:
        graphs[f"launch {nodes}"] = chain([Part("Neg"), Part("Abs")] * (nodes // 2), vector[:16])
    return graphs


def _vector_shape(kind: str) -> tuple[int, ...]:
    return SOFTMAX_SHAPE if kind == "softmax" else VECTOR_SHAPE


def _name(shape: tuple[int, ...]) -> str:
    return "x".join(str(size) for size in shape)


def _stack_flops() -> float:
    rows, width, layers = STACK
    return 2.0 * rows * width * 4 * width * 2 * layers


def _ceilings(found: Mapping[str, Timing], speeds: Mapping[str, float], threads: int, seconds: float) -> Ceilings:
    """Turn times into ceilings: CPU time on one thread, wall time on more, where idle threads spin."""

    def best(name: str) -> float:
        return found[name].wall.best if threads > 1 else found[name].cpu.best

    few, many = (best(f"launch {nodes}") for nodes in LAUNCH_NODES)
    launch_s = max((many - few) / (LAUNCH_NODES[1] - LAUNCH_NODES[0]), 1e-9)
    run_s = max(few - LAUNCH_NODES[0] * launch_s, 0.0)

    def own(name: str, nodes: int = 1) -> float:
        return max(best(name) - run_s - nodes * launch_s, 1e-9)

    stored = {_name(shape): 2.0 * float(np.prod(shape)) for shape in PRODUCTS}
    flops = {f"{kind} {name}": work for kind in ("fp32", "int8") for name, work in stored.items()}
    flops |= {f"fp32 {_name(shape)}": 2.0 * float(np.prod(shape)) for shape in ATTENTION}
    times = {name: own(name) for name in flops}
    flops["fp32 stack"], times["fp32 stack"] = _stack_flops(), own("fp32 stack", 2 * STACK[2])
    counts = {_name(shape): count for shape, count in PRODUCTS.items()}

    def rate(kind: str) -> float:
        weights = {name: counts.get(name.split()[1], 1) for name in flops if name.startswith(kind)}
        work = sum(count * flops[name] for name, count in weights.items())
        return float(work / sum(count * times[name] for name, count in weights.items()))

    fp32, int8 = rate("fp32"), rate("int8")
    shapes = {name: flops[name] / taken for name, taken in times.items()}
    convert = _conversion_rate(own("int8 stack", 2 * STACK[2]), int8)
    shapes["int8 stack"] = _stack_flops() / own("int8 stack", 2 * STACK[2])
    vector = {
        kind: VECTOR_NODES * per_value * float(np.prod(_vector_shape(kind))) / own(kind, VECTOR_NODES)
        for kind, per_value in VECTOR_FLOPS.items()
    }
    unpacked = {
        bits: {
            _name(shape): float(min(1.0, own(f"fp32 {_name(shape)}") / own(f"unpack{bits} {_name(shape)}")))
            for shape in UNPACKED
        }
        for bits in CONTAINERS
    }
    m, k, n = NBITS
    nbits_s = max(own(f"int4 {_name(NBITS)}") - UNPACK_FLOPS * k * n / convert, 1e-9)
    return Ceilings(
        matrix={"fp32": fp32, "int8": int8},
        shapes=shapes,
        vector={**vector, "convert": convert},
        nbits_efficiency=float(min(1.0, 2.0 * m * k * n / nbits_s / fp32)),
        unpacked=unpacked,
        launch_s=launch_s,
        run_s=run_s,
        unpacks=_unpacks(),
        bytes_per_s=speeds,
        runs=min(timing.runs for timing in found.values()),
        seconds=seconds,
    )


def _unpacks() -> bool:
    """Say whether ONNX Runtime dequantizes a stored int8 weight inside the product that reads it."""
    import onnx

    rng = np.random.default_rng(0)
    graph = stored(rng.standard_normal((64, 64), dtype=np.float32), 64, 64, 8, rng)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "optimized.onnx"
        session_of(graph.model, "dequantize", optimized=path)
        return all(node.op_type != "DequantizeLinear" for node in onnx.load(str(path)).graph.node)


def _conversion_rate(stack_s: float, int8: float) -> float:
    """Give the rate of quantizing and rescaling: what dynamic int8 takes beyond its products [FLOP/s].

    ONNX Runtime runs both inside the product's kernel, so neither can be timed alone.
    """
    rows, width, layers = STACK
    values = rows * 5.0 * width * layers  # d and 4 d of them go in, and as many come out
    conversions = values * (QUANTIZE_FLOPS + RESCALE_FLOPS)
    # No less than a twentieth of the kernel: below, the difference is noise.
    return conversions / max(stack_s - _stack_flops() / int8, stack_s / 20)
