"""`calibrated`: a GPU with the times of real kernels, in place of its roofline."""

from __future__ import annotations

from hwmodels.kernels.device import KernelDevice, Timing
from hwmodels.roofline import RooflineDevice
from hwmodels.specs import load
from workloads.errors import SpecError

__all__ = ["calibrated"]


def calibrated(
    device: RooflineDevice | str,
    *,
    timing: Timing = "graph",
    style: str = "",
    framework: str = "",
    gpus: int = 1,
    reuse: bool = True,
) -> KernelDevice:
    """Give a GPU whose times are those of calibrated kernels, for `hwmodels.evaluate`.

    Args:
        device: A GPU, its name, or the path of its file.
        timing: kernel: back to back without gaps; graph: launched by a graph or a full queue; eager: by a framework,
            operator by operator.
        style: How operators become kernels: library, compiled or eager; "": eager for eager timing, else library.
        framework: Whose calibrations are preferred: "vllm 0.24.0"; "": any.
        gpus: Tensor parallelism over so many.
        reuse: Tensors touched shortly before are not charged to the memory.

    Raises:
        SpecError: No GPU, or one that does not say how many multiprocessors it has; an unknown timing or style.

    Example:
        >>> calibrated("h100-sxm", gpus=4).name
        '4 x h100-sxm'
    """
    from hwmodels.kernels.lowering import style_of  # formulas and fits: loaded where they are used
    from hwmodels.kernels.machine import machine

    base = device if isinstance(device, RooflineDevice) else load(device, kind=RooflineDevice)
    machine(base)
    if timing not in ("kernel", "graph", "eager"):
        raise SpecError(f"unknown timing {timing!r}; one of: kernel, graph, eager")
    if gpus < 1:
        raise SpecError(f"{gpus} GPUs: give 1 or more")
    if style:
        style_of(style)
    return KernelDevice(base=base, timing=timing, style=style, framework=framework, gpus=gpus, reuse=reuse)
