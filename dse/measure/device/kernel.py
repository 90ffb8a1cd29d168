"""A kernel as data: what it serves, how its operands are made, how it runs, and what it is checked against."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .formats import torch_type
from .signatures import Signature

if TYPE_CHECKING:
    from torch import Generator, Tensor

__all__ = ["Device", "Judgement", "Kernel", "Launch", "Maker", "Operands", "launch_on"]

Operands = Mapping[str, Any]
"""Tensors and plain numbers by name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Device:
    """What a kernel may ask about where it runs.

    Attributes:
        sms: Multiprocessors.
        capability: Compute capability times ten: 80, 89, 90.
        shared_bytes: Shared memory that one block may have [B].
    """

    sms: int
    capability: int
    shared_bytes: int = 99 * 1024


@dataclass(frozen=True, slots=True)
class Launch:
    """Starts a Triton kernel.

    Attributes:
        device: Where.
        start: (kernel, grid, arguments, constants with num_warps and num_stages).
    """

    device: Device
    start: Callable[[Any, tuple[int, ...], tuple[Any, ...], Mapping[str, Any]], None]

    def __call__(self, kernel: Any, grid: tuple[int, ...], *arguments: Any, **constants: Any) -> None:
        """Start a kernel on a grid."""
        self.start(kernel, grid, arguments, constants)


def launch_on(device: Device) -> Launch:
    """Make the launch that really runs kernels."""
    return Launch(device, lambda kernel, grid, arguments, constants: kernel[grid](*arguments, **constants))


@dataclass(frozen=True, slots=True)
class Maker:
    """Makes random operands.

    Attributes:
        generator: A seeded `torch.Generator` of the device.
        device: A torch device.
    """

    generator: Generator
    device: str

    def normal(self, *shape: int, dtype: str = "fp32", scale: float = 1.0) -> Tensor:
        """Draw normal values and round them to a format; int8 takes 32 for one standard deviation."""
        import torch

        drawn = torch.randn(shape, generator=self.generator, device=self.device, dtype=torch.float32) * scale
        if dtype == "int8":
            return (drawn * 32).round_().clamp_(-127, 127).to(torch.int8)
        return drawn.to(torch_type(dtype))

    def uniform(self, *shape: int, low: float, high: float) -> Tensor:
        """Draw fp32 values between two bounds."""
        import torch

        drawn = torch.rand(shape, generator=self.generator, device=self.device, dtype=torch.float32)
        return drawn * (high - low) + low

    def integers(self, *shape: int, low: int, high: int, dtype: str = "int32") -> Tensor:
        """Draw integers from low to high - 1."""
        import torch

        return torch.randint(low, high, shape, generator=self.generator, device=self.device, dtype=torch.int32).to(
            torch_type(dtype)
        )

    def permutation(self, count: int) -> Tensor:
        """Draw an order of `count` things, int32."""
        import torch

        return torch.randperm(count, generator=self.generator, device=self.device).to(torch.int32)


@dataclass(frozen=True, slots=True)
class Judgement:
    """What a result should be.

    Attributes:
        expected: In float64, or in int64 where the result must be exact.
        bound: Allowed absolute error of each element, as `expected`; None: exact.
        statement: The bound in words.
    """

    expected: Tensor
    bound: Tensor | None
    statement: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Kernel:
    """One way to compute an operation.

    Attributes:
        name: As rows of measurements have it: "triton_int4_gemm".
        op: Operations that it serves, separated by blanks.
        library: "torch" or "triton".
        formats: Pairs (a_dtype, w_dtype or kv_dtype) that it takes; the second "" for element-wise ones.
        make: (signature, maker) to fresh random operands.
        run: (operands, launch) to the result.
        judge: Operands to what the result should be.
        refuses: (signature, device) to the reason why it does not run there; "": it does.
        prepare: Operands to what only this library needs of them (metadata, compressed weights), once, not timed.
    """

    name: str
    op: str
    library: str
    formats: tuple[tuple[str, str], ...]
    make: Callable[[Signature, Maker], Operands]
    run: Callable[[Operands, Launch], Tensor]
    judge: Callable[[Operands], Judgement]
    refuses: Callable[[Signature, Device], str] = lambda signature, device: ""
    prepare: Callable[[Operands], Operands] = lambda operands: operands

    def serves(self, signature: Signature) -> bool:
        """Say whether the kernel computes what a signature asks for, on some device."""
        return signature.op in self.op.split() and (signature.a_dtype, signature.second) in self.formats
