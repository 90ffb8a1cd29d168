"""Every unique kernel of a workload, and the whole model where torch has a module of it, timed with torch on a CPU."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from dse.measure.rows import Measured, Run, quiet_rounds, quiet_time_s, row
from dse.measure.signatures import EAGER, FUSED, signatures
from dse.measure.timing import Call, time_calls
from workloads.errors import MeasureError
from workloads.workload import Workload

if TYPE_CHECKING:
    import torch

__all__ = ["kernel_call", "measure_torch"]

FLOAT = {"fp32": "float32", "fp16": "float16", "bf16": "bfloat16"}
INSTEAD = "fused: instead of its products and softmax"
PROBE = (128, 384, 384)  # m, k, n of the product that says how fast the machine was
REPEATS = 400


def measure_torch(
    work: Workload,
    run: Run,
    seconds: float,
    energy: Callable[[Call], dict[str, Any]] | None = None,
    whole: Call | None = None,
) -> list[dict[str, Any]]:
    """Time the kernels of a workload with torch.

    Args:
        work: Scalar.
        run: What all rows share.
        seconds: Wall time to spend [s].
        energy: Of a call, as columns; None: not measured.
        whole: A call of the whole model; None: there is no torch module of it.

    Returns:
        One row per unique kernel; those that torch has none for carry a `note` and no time. Fused attention stands
        beside the products and the softmax that it replaces, and says so.
    """
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(run.threads)
    try:
        with torch.inference_mode():
            return _rows(work, run, seconds, energy, whole)
    finally:
        torch.set_num_threads(before)


def _rows(
    work: Workload, run: Run, seconds: float, energy: Callable[[Call], dict[str, Any]] | None, whole: Call | None
) -> list[dict[str, Any]]:
    import torch

    made = signatures(work, EAGER)
    made += [{**item, "note": INSTEAD} for item in signatures(work, FUSED) if item["op"].startswith("attention")]
    left, right = torch.rand(PROBE[:2]), torch.rand(PROBE[2], PROBE[1])
    calls: dict[str, Call] = {"probe": lambda: torch.nn.functional.linear(left, right)}
    for place, columns in enumerate(made):
        try:
            generator = torch.Generator().manual_seed(place)
            calls[str(place)], made[place] = kernel_call(columns, generator)
        except MeasureError as error:
            made[place] = {**columns, "note": str(error)}
    if whole is not None:
        calls["model"] = whole
    found = time_calls(calls, seconds_limit=seconds, warm=calls.keys(), threads=run.threads, repeats=REPEATS)
    rounds = quiet_rounds(found)
    probe = {"probe_us": round(quiet_time_s(found["probe"], rounds) * 1e6, 2)}
    rows = []
    for place, columns in enumerate(made):
        timing = found.get(str(place))
        spent = energy(calls[str(place)]) if energy and timing else {}
        name, count = columns.pop("name"), columns.pop("count")
        rows.append(row(run, columns, name, count, Measured.of(timing, rounds) if timing else None, **probe, **spent))
    if whole is None:
        return rows
    spent = energy(whole) if energy else {}
    return [
        *rows,
        row(run, {"op": "model_forward"}, run.model, 1, Measured.of(found["model"], rounds), **probe, **spent),
    ]


def kernel_call(columns: Mapping[str, Any], generator: torch.Generator) -> tuple[Call, dict[str, Any]]:
    """Build the call of one kernel with random values.

    Args:
        columns: As `signatures` gives them.
        generator: Of randomness.

    Returns:
        The call, and the columns with what torch runs under `kernel`.

    Raises:
        MeasureError: Torch has no such kernel on a CPU.

    Example:
        >>> import torch
        >>> call, row = kernel_call({"op": "softmax", "rows": 4, "cols": 8, "a_dtype": "fp32"}, torch.Generator())
        >>> tuple(call().shape), row["kernel"]
        ((4, 8), 'softmax')
    """
    op = str(columns["op"])
    if op in ("gemm", "bgemm"):
        return _product(columns, generator)
    if op.startswith("attention"):
        return _attention(columns, generator)
    return _function(columns, generator)


def _random(shape: tuple[int, ...], name: str, generator: torch.Generator) -> torch.Tensor:
    import torch

    if name not in FLOAT:
        raise MeasureError(f"torch on a CPU: no kernel here for values of {name}")
    return torch.rand(shape, generator=generator).to(getattr(torch, FLOAT[name]))


def _product(columns: Mapping[str, Any], generator: torch.Generator) -> tuple[Call, dict[str, Any]]:
    import torch

    batch, m, n, k = (int(columns[name]) for name in ("batch", "m", "n", "k"))
    a, w = str(columns["a_dtype"]), str(columns.get("w_dtype", columns["a_dtype"]))
    if (a, w) == ("int8", "int8") and columns["op"] == "gemm":
        return _dynamic(columns, generator)
    if a != w:
        raise MeasureError(f"torch on a CPU: no kernel here for products of {a} with {w} weights")
    if columns["op"] == "bgemm":
        left, right = _random((batch, m, k), a, generator), _random((batch, k, n), a, generator)
        return lambda: torch.bmm(left, right), {**columns, "kernel": "bmm"}
    rows, weight = _random((m, k), a, generator), _random((n, k), a, generator)
    return lambda: torch.nn.functional.linear(rows, weight), {**columns, "kernel": "linear"}


def _dynamic(columns: Mapping[str, Any], generator: torch.Generator) -> tuple[Call, dict[str, Any]]:
    """Quantize the activations at run time and multiply in int8, as torch's dynamic Linear does."""
    import warnings

    import torch

    m, n, k = (int(columns[name]) for name in ("m", "n", "k"))
    engine = torch.backends.quantized.engine
    if engine in (None, "none"):
        raise MeasureError("torch was built without a quantized engine")
    values = torch.randint(-64, 64, (n, k), generator=generator, dtype=torch.int8)
    scales, zeros = torch.full((n,), 0.01), torch.zeros(n, dtype=torch.int64)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # torch 2.13 announces the end of quantized tensors
        weight = torch._make_per_channel_quantized_tensor(values, scales, zeros, 0)
        packed = torch.ops.quantized.linear_prepack(weight, None)
    rows = torch.rand((m, k), generator=generator)
    named = {**columns, "op": "gemm_dynamic", "kernel": f"quantized::linear_dynamic ({engine})"}
    return lambda: torch.ops.quantized.linear_dynamic(rows, packed, True), named


def _attention(columns: Mapping[str, Any], generator: torch.Generator) -> tuple[Call, dict[str, Any]]:
    import torch

    batch, queries, keys, heads, kv_heads, dim = (
        int(columns[name]) for name in ("batch", "q_len", "kv_len", "heads", "kv_heads", "head_dim")
    )
    q = _random((batch, heads, queries, dim), str(columns["a_dtype"]), generator)
    k, v = (_random((batch, kv_heads, keys, dim), str(columns["a_dtype"]), generator) for _ in range(2))
    options: dict[str, Any] = {
        "is_causal": bool(columns.get("causal")) and queries == keys,
        "enable_gqa": heads != kv_heads,
    }
    named = {**columns, "kernel": "scaled_dot_product_attention"}
    return lambda: torch.nn.functional.scaled_dot_product_attention(q, k, v, **options), named


def _function(columns: Mapping[str, Any], generator: torch.Generator) -> tuple[Call, dict[str, Any]]:
    import torch
    from torch.nn import functional

    op, rows, cols = str(columns["op"]), int(columns["rows"]), int(columns["cols"])
    name = str(columns["a_dtype"])
    x = _random((rows, cols), name, generator)
    scale = _random((cols,), name, generator)
    values = math.prod(x.shape) * x.element_size()
    other = _random((rows, cols), name, generator) if float(columns.get("bytes", 0)) > 2.5 * values else scale
    known: dict[str, Call] = {
        "softmax": lambda: torch.softmax(x, -1),
        "layernorm": lambda: functional.layer_norm(x, (cols,), scale, scale),
        "rmsnorm": lambda: functional.rms_norm(x, (cols,), scale),
        "gelu": lambda: functional.gelu(x),
        "silu_mul": lambda: functional.silu(x) * other,
        "tanh": lambda: torch.tanh(x),
        "relu": lambda: torch.relu(x),
        "add": lambda: x + other,
        "mul": lambda: x * other,
    }
    if op not in known:
        raise MeasureError(f"torch on a CPU: no kernel is built for {op}")
    return known[op], {**columns, "kernel": op}
