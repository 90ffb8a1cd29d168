"""Kernels compiled ahead of time, for GPUs that are not here: registers, shared memory and spills of each.

A launcher is run on operands without data, and what it would start is written down, with the specialisation that
Triton would choose (arguments equal to 1 become constants, multiples of 16 are known as such). So what is compiled is
what a GPU would be given.
"""

from __future__ import annotations

import json
import re
import subprocess
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .kernel import Device, Kernel, Launch, Maker
from .kernels import WRITTEN
from .language import HAS_TRITON
from .signatures import KernelError, Signature

__all__ = ["Compiled", "Started", "compile_for", "launches_of", "specimens"]

SHARED_BYTES = {75: 64, 80: 163, 86: 99, 87: 163, 89: 99, 90: 227, 100: 227, 120: 99}
"""Shared memory of one block by compute capability [KiB]. Source: CUDA C++ Programming Guide 13.0, table 29."""

POINTERS = {
    "float64": "*fp64", "float32": "*fp32", "float16": "*fp16", "bfloat16": "*bf16", "float8_e4m3fn": "*fp8e4nv",
    "int8": "*i8", "uint8": "*u8", "int32": "*i32", "int64": "*i64",
}  # fmt: skip
OPTIONS = ("num_warps", "num_stages")


@dataclass(frozen=True, slots=True)
class Started:
    """A start of a kernel, written down instead of done.

    Attributes:
        kernel: A function of `triton.jit`.
        types: Triton's type of each argument by name, "constexpr" for constants.
        constants: Values of constants by name.
        even: Places of arguments that are multiples of 16.
        options: Warps and stages.
    """

    kernel: Any
    types: Mapping[str, str]
    constants: Mapping[str, Any]
    even: tuple[int, ...]
    options: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Compiled:
    """What a compiled kernel takes.

    Attributes:
        kernel: Name of the function.
        formats: Of its operands, and the signature it is for.
        capability: Compute capability times ten.
        registers: Of a thread.
        shared_bytes: Of a block [B].
        spill_bytes: Registers that a thread keeps in memory, stores and loads [B].
        ptx: The assembly.
    """

    kernel: str
    formats: str
    capability: int
    registers: int
    shared_bytes: int
    spill_bytes: int
    ptx: str


def specimens(brief: bool = False) -> list[tuple[Kernel, Signature]]:
    """Give a signature for each kernel and pair of formats: few rows (with splits) and many, where that matters.

    Args:
        brief: One signature for each kernel.
    """
    found = []
    for kernel in WRITTEN:
        for op in kernel.op.split():
            for a_dtype, second in kernel.formats:
                found += [(kernel, signature) for signature in _sizes(op, a_dtype, second)]
    return list({kernel.name: (kernel, signature) for kernel, signature in found}.values()) if brief else found


def _sizes(op: str, a_dtype: str, second: str) -> list[Signature]:
    if op in ("gemm", "bgemm"):
        return [
            Signature(op=op, batch=1 + (op == "bgemm"), m=m, n=4096, k=1024, a_dtype=a_dtype, w_dtype=second)
            for m in (512, 1)
        ]
    if op == "attention_prefill":
        geometry: dict[str, Any] = {"batch": 2, "heads": 8, "kv_heads": 2, "head_dim": 128, "q_len": 512, "kv_len": 512}
        return [Signature(op=op, **geometry, causal=c, a_dtype=a_dtype, kv_dtype=second) for c in (0, 1)]
    if op == "attention_decode":
        geometry = {"batch": 2, "heads": 32, "kv_heads": 8, "head_dim": 128, "q_len": 1, "kv_len": 2048}
        return [Signature(op=op, **geometry, page_size=p, a_dtype=a_dtype, kv_dtype=second) for p in (0, 16)]
    return [Signature(op=op, rows=64, cols=4096, a_dtype=a_dtype)]


def launches_of(kernel: Kernel, signature: Signature, device: Device) -> list[Started]:
    """Run a launcher without starting anything, and list what it would have started."""
    import torch

    found: list[Started] = []
    launch = Launch(device, lambda started, grid, arguments, named: found.append(_started(started, arguments, named)))
    operands = kernel.make(signature, Maker(torch.Generator().manual_seed(0), "cpu"))
    kernel.run(kernel.prepare(operands), launch)
    return found


def _started(kernel: Any, arguments: tuple[Any, ...], named: Mapping[str, Any]) -> Started:
    types, constants, even = {}, {}, []
    for place, (name, value) in enumerate(zip(kernel.arg_names, arguments, strict=False)):
        if hasattr(value, "data_ptr"):
            types[name] = POINTERS[str(value.dtype).removeprefix("torch.")]
            even.append(place)
        elif isinstance(value, float):
            types[name] = "fp32"
        elif value == 1:
            types[name], constants[name] = "constexpr", 1
        else:
            types[name] = "i32" if abs(value) < 2**31 else "i64"
            even += [place] if value % 16 == 0 else []
    for name, value in named.items():
        if name not in OPTIONS:
            types[name], constants[name] = "constexpr", value
    options = {name: int(named[name]) for name in OPTIONS if name in named}
    return Started(kernel, types, constants, tuple(even), options)


def compile_for(started: Started, capability: int, formats: str = "") -> Compiled:
    """Compile a kernel to machine code for a compute capability.

    Raises:
        KernelError: Triton is absent or runs as an interpreter, or it cannot compile the kernel.
    """
    if not HAS_TRITON or not hasattr(started.kernel, "cache_key"):
        raise KernelError("compiling ahead of time needs Triton, without TRITON_INTERPRET=1")
    import triton
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    attributes = {(place,): [["tt.divisibility", 16]] for place in started.even}
    source = ASTSource(started.kernel, dict(started.types), dict(started.constants), attributes)
    name = started.kernel.__name__
    try:
        done = triton.compile(source, target=GPUTarget("cuda", capability, 32), options=dict(started.options))
    except Exception as error:  # the compiler's exceptions share no base
        raise KernelError(f"{name} ({formats}) for sm_{capability}: {type(error).__name__}: {error}") from error
    registers, spills = _assembled(done.asm["ptx"], capability)
    return Compiled(name, formats, capability, registers, int(done.metadata.shared), spills, done.asm["ptx"])


def _assembled(ptx: str, capability: int) -> tuple[int, int]:
    """Assemble with a ptxas that Triton brings, for what it says about registers and spills."""
    import triton

    found = re.search(r"\.target\s+(sm_\w+)", ptx)
    arch = found[1] if found else f"sm_{capability}"
    said = "no ptxas"
    with tempfile.TemporaryDirectory() as place:
        path = Path(place) / "kernel.ptx"
        path.write_text(ptx, encoding="utf-8")
        # Wheels bring more than one, for older and newer assembly; the first that takes this one will do.
        for ptxas in sorted((Path(str(triton.__file__)).parent / "backends" / "nvidia" / "bin").glob("ptxas*")):
            command = [str(ptxas), "-v", f"--gpu-name={arch}", str(path), "-o", f"{place}/kernel.cubin"]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            said = done.stderr
            if done.returncode == 0:
                registers = re.search(r"Used (\d+) registers", said)
                return int(registers[1]) if registers else 0, sum(map(int, re.findall(r"(\d+) bytes spill", said)))
    raise KernelError(f"ptxas for {arch}: {said.strip()[:300]}")


def compile_all(capabilities: tuple[int, ...], out: Path, brief: bool = False) -> list[dict[str, Any]]:
    """Compile every kernel for every capability; write a JSON list of what each takes, or of its error.

    Args:
        capabilities: Compute capabilities times ten.
        out: The list's file.
        brief: Each function once for each capability, in the first of its formats and sizes.
    """
    rows: list[dict[str, Any]] = []
    for capability in capabilities:
        device = Device(sms=132, capability=capability, shared_bytes=SHARED_BYTES.get(capability, 99) * 1024)
        seen: set[str] = set()
        for kernel, signature in specimens(brief):
            if kernel.refuses(signature, device):
                continue
            formats = f"{signature.op} {signature.a_dtype} {signature.second}".strip()
            for started in launches_of(kernel, signature, device):
                key = started.kernel.__name__
                if not brief:
                    key = repr((key, started.types, started.constants, started.even, started.options))
                if key in seen:
                    continue
                seen.add(key)
                row: dict[str, Any] = {"kernel": started.kernel.__name__, "formats": formats, "capability": capability}
                try:
                    done = compile_for(started, capability, formats)
                    row |= {name: getattr(done, name) for name in ("registers", "shared_bytes", "spill_bytes")}
                    row["fits"] = done.shared_bytes <= device.shared_bytes
                    row["float_instructions"] = len(re.findall(r"\.(?:b?f16|f32|f64)(?:x2)?\b", done.ptx))
                except KernelError as error:
                    row["error"] = str(error)
                rows.append(row)
    out.write_text(json.dumps(rows, indent=1), encoding="utf-8")
    return rows
