"""One kernel on one signature: fresh operands, the check against float64, then its times."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from .gpu import l2_bytes
from .kernel import Kernel, Launch, Maker, Operands
from .language import TRITON_VERSION
from .nvml import Nvml, watch
from .rows import SOURCE, columns_of, fields_of, key_of
from .signatures import KernelError, Signature
from .stopwatch import Sampled, replayed, time_eager, time_loop, time_on_cpu
from .work import flops, least_bytes

__all__ = ["Checked", "Settings", "check", "copied", "copies_of", "measure", "operands_of", "times_of"]

ROTATION = 3.0
"""Bytes of all sets of operands over the last-level cache: with less, a set can survive until its turn comes again."""

MOST_COPIES = 96


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """How to measure.

    Attributes:
        torch_device: "cuda" or "cpu"; on a CPU Triton's interpreter runs, for tests.
        launch: Starts kernels.
        nvml: For energy and clocks; None: not read.
        seed: Of the operands.
        energy_seconds: Length of the window in which energy is read [s].
        times: Whether to measure times after the check.
    """

    torch_device: str
    launch: Launch
    nvml: Nvml | None = None
    seed: int = 0
    energy_seconds: float = 0.25
    times: bool = True


@dataclass(frozen=True, slots=True)
class Checked:
    """A result beside what it should be.

    Attributes:
        error: Largest absolute error.
        ratio: Largest error over its bound; of exact results 0 or infinite.
        statement: The bound in words.
    """

    error: float
    ratio: float
    statement: str


def check(kernel: Kernel, operands: Operands, launch: Launch) -> Checked:
    """Run a kernel once and compare it with float64, element by element.

    Raises:
        KernelError: A result of another shape, or one that is not within its bound everywhere.
    """
    import torch

    result = kernel.run(operands, launch)
    wanted = kernel.judge(operands)
    if tuple(result.shape) != tuple(wanted.expected.shape):
        raise KernelError(f"{kernel.name} gave shape {tuple(result.shape)}, not {tuple(wanted.expected.shape)}")
    if wanted.bound is None:
        off = (result.long() - wanted.expected).abs()
        error, ratio = float(off.max()), float("inf") if bool(off.any()) else 0.0
    else:
        distance = (result.double() - wanted.expected).abs()
        error = float(torch.nan_to_num(distance, nan=float("inf")).max())
        ratio = float(torch.nan_to_num(distance / wanted.bound, nan=float("inf")).max()) if error else 0.0
    if not ratio <= 1:
        raise KernelError(f"{kernel.name} is off by {error:.4g}, {ratio:.3g} times its bound ({wanted.statement})")
    return Checked(error, ratio, wanted.statement)


def operands_of(kernel: Kernel, signature: Signature, settings: Settings) -> Operands:
    """Make fresh random operands; each signature and kernel has a seed of its own."""
    import torch

    seed = settings.seed + zlib.crc32(key_of(signature, kernel.name).encode())
    generator = torch.Generator(device=settings.torch_device).manual_seed(seed)
    operands = kernel.prepare(kernel.make(signature, Maker(generator, settings.torch_device)))
    if settings.torch_device == "cpu" and kernel.library == "triton" and operands.get("out") == "bf16":
        return {**operands, "out": "fp16"}  # the interpreter truncates what it stores as bf16
    return operands


def copies_of(operands: Operands, cache_bytes: int, free_bytes: float) -> tuple[list[Operands], int]:
    """Copy operands until together they are `ROTATION` times the last-level cache.

    Args:
        operands: One set.
        cache_bytes: Last-level cache [B].
        free_bytes: Memory that the copies may take [B].

    Returns:
        The sets, and their bytes together.
    """
    own = sum(value.numel() * value.element_size() for value in operands.values() if _is_plain(value))
    wanted = -(-int(ROTATION * cache_bytes) // max(own, 1)) + 1
    count = max(1, min(wanted, MOST_COPIES, int(free_bytes // max(own, 1)) + 1))
    copies = [operands, *(copied(operands) for _ in range(count - 1))]
    return copies, own * count


def _is_plain(value: Any) -> bool:
    import torch

    return isinstance(value, torch.Tensor) and type(value) is torch.Tensor


def copied(operands: Operands) -> Operands:
    """Copy operands; what a library compressed is left for `Kernel.prepare`."""
    # Compressed weights are a class of their own that has no clone: they are made again of the cloned ones.
    return {name: value.clone() if _is_plain(value) else value for name, value in operands.items()}


def measure(kernel: Kernel, signature: Signature, settings: Settings) -> list[dict[str, Any]]:
    """Check and time a kernel on a signature.

    Returns:
        A row for each kind of timing, in the columns of `rows.COLUMNS`.

    Raises:
        KernelError: It does not run here, or its result is wrong.
    """
    reason = kernel.refuses(signature, settings.launch.device)
    if reason:
        raise KernelError(reason)
    operands = operands_of(kernel, signature, settings)
    checked = check(kernel, operands, settings.launch)
    base = {
        **columns_of(signature),
        "framework": framework(kernel),
        "kernel": kernel.name,
        "source": SOURCE,
        "bytes": least_bytes(signature),
        "flops": flops(signature),
        "check_error": checked.error,
        "check_ratio": checked.ratio,
        "check_bound": checked.statement,
        "key": key_of(signature, kernel.name),
    }
    if not settings.times:
        return [{**base, "timing": "checked only"}]
    if settings.torch_device == "cpu":
        return [{**base, **times_of(time_on_cpu(lambda: kernel.run(operands, settings.launch)))}]
    return _on_gpu(kernel, operands, settings, base)


def framework(kernel: Kernel) -> str:
    """Name a kernel's library with its version."""
    import torch

    return f"triton {TRITON_VERSION}" if kernel.library == "triton" else f"torch {torch.__version__}"


def times_of(sampled: Sampled) -> dict[str, Any]:
    """Give samples as columns."""
    more = {"lower_us": sampled.lower, "upper_us": sampled.upper, "best_us": sampled.best, "timing": sampled.kind}
    return {"latency_us": sampled.median, **more, **fields_of(sampled, "samples", "calls", "method")}


def _on_gpu(kernel: Kernel, operands: Operands, settings: Settings, base: dict[str, Any]) -> list[dict[str, Any]]:
    import torch

    launch = settings.launch
    eager = time_eager(lambda: kernel.run(operands, launch))
    free = torch.cuda.mem_get_info()[0] * 0.3
    copies, total = copies_of(operands, l2_bytes("cuda"), free)
    if any(not _is_plain(value) and hasattr(value, "shape") for value in operands.values()):
        copies = [copies[0], *(kernel.prepare(copy) for copy in copies[1:])]
    calls: list[Callable[[], Any]] = [lambda one=one: kernel.run(one, launch) for one in copies]  # type: ignore[misc]
    rotating, count, method = replayed(calls, eager.best)
    rows = [times_of(time_loop("kernel_rotating", rotating, count, method))]
    rows[0] |= {"copies": len(copies), "rotating_bytes": float(total)}
    if settings.nvml is not None:

        def run() -> None:
            rotating()
            torch.cuda.synchronize()

        seen = watch(settings.nvml, run, count, settings.energy_seconds)
        rows[0] |= fields_of(seen, "energy_j", "power_w", "sm_mhz", "memory_mhz", "temperature_c", "throttle")
        rows[0] |= {"energy_method": seen.method, "energy_window_s": seen.seconds}
    hot, count, method = replayed(calls[:1], eager.best)
    rows.append(times_of(time_loop("cuda_graph_or_event_loop", hot, count, method)))
    rows.append(times_of(eager))
    return [{**base, **row} for row in rows]
