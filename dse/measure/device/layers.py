"""All layers of a model in one graph, each with weights of its own: what the sum of its kernels is held against.

Kernels run one after the other on random operands, so nothing is computed that a model would answer. Activations are
each kernel's own: they come from memory where in a model some would still be in the cache.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from .kernel import Kernel, Operands
from .measuring import Settings, copied, operands_of, times_of
from .rows import SOURCE
from .signatures import KernelError, Signature
from .stopwatch import replayed, time_loop
from .suites import MODELS, model_signatures
from .work import flops, least_bytes

__all__ = ["chosen", "layers_key", "measure_layers"]

ELEMENTWISE = ("add", "gelu", "silu_mul", "rope", "layernorm", "rmsnorm")
WRITTEN_FIRST = (*ELEMENTWISE, "attention_decode")
"""Where torch has no kernel, or several for one operation, or none that splits the keys."""


def layers_key(config: Sequence[object]) -> str:
    """Give a short name to a configuration, the same in every run."""
    return hashlib.sha256(repr(("layers", *config)).encode()).hexdigest()[:16]


def chosen(signature: Signature, kernels: Sequence[Kernel], settings: Settings) -> Kernel:
    """Choose the kernel that a runtime would take: libraries for products and prompts, fused ones for the rest.

    Raises:
        KernelError: None runs here.
    """
    device = settings.launch.device
    able = [kernel for kernel in kernels if kernel.serves(signature) and not kernel.refuses(signature, device)]
    if not able:
        raise KernelError(f"no kernel for {signature.op} {signature.a_dtype} {signature.second} runs here")
    library = "triton" if signature.op in WRITTEN_FIRST else "torch"
    return min(able, key=lambda kernel: kernel.library != library)


def measure_layers(
    config: Sequence[object], kernels: Sequence[Kernel], settings: Settings, free_bytes: float
) -> dict[str, Any]:
    """Time all layers of a configuration of `suites.CONFIGS`.

    Args:
        config: Arguments of `model_signatures`.
        kernels: To choose from.
        settings: How to measure.
        free_bytes: Memory that operands may take; where it is too little for all layers, fewer run and the time is
            scaled up [B].

    Raises:
        KernelError: A part has no kernel that runs here.
    """
    signatures = model_signatures(*config)  # type: ignore[arg-type]
    layers = MODELS[str(config[0])].layers
    parts = [(chosen(item, kernels, settings), item, round(item.count / layers)) for item in signatures]
    made = [(kernel, operands_of(kernel, item, settings), times) for kernel, item, times in parts]
    own = sum(least_bytes(item) * times for _, item, times in parts)
    kept = max(1, min(layers, int(free_bytes // max(own, 1.0))))
    calls: list[Callable[[], Any]] = []
    for layer in range(kept):
        for kernel, operands, times in made:
            for _ in range(times):
                mine = operands if not calls and layer == 0 else kernel.prepare(copied(operands))
                calls.append(_call(kernel, mine, settings))
    run, count, method = replayed(calls, estimate_us=1e9)
    sampled = time_loop("kernel_rotating", run, 1, method, seconds=0.3)
    scale = layers / kept * len(calls) / count
    whole = replace(sampled, **{name: getattr(sampled, name) * scale for name in ("median", "lower", "upper", "best")})
    first = signatures[0]
    where = first.name.rpartition(": ")[0]
    return {
        "op": "model_layers", "name": where, "count": 1, "batch": config[1], "q_len": config[2], "kv_len": config[3],
        "a_dtype": first.a_dtype, "w_dtype": first.w_dtype, "framework": "torch and triton",
        "kernel": " ".join(dict.fromkeys(kernel.name for kernel, _, _ in parts)), "source": SOURCE,
        **times_of(whole), "copies": kept, "rotating_bytes": own * kept, "key": layers_key(config),
        "bytes": own * layers, "flops": sum(flops(item) * item.count for item in signatures),
    }  # fmt: skip


def _call(kernel: Kernel, operands: Operands, settings: Settings) -> Callable[[], Any]:
    return lambda: kernel.run(operands, settings.launch)
