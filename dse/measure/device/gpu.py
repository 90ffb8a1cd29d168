"""The GPU that kernels run on: what decides about launches, and what a table of measurements must say of it."""

from __future__ import annotations

import datetime
import platform
import re
from typing import Any

from .kernel import Device
from .language import TRITON_VERSION
from .nvml import MEMORY_CLOCK, Nvml

__all__ = ["device_name", "facts_of", "here", "l2_bytes"]

NAMES = (
    (r"H100.*(HBM3|SXM)", "h100_sxm_80gb"),
    (r"H100.*PCIe", "h100_pcie_80gb"),
    (r"H100 NVL", "h100_nvl_94gb"),
    (r"H200", "h200_sxm_141gb"),
    (r"B200", "b200_sxm"),
    (r"A100.*SXM.*80GB", "a100_sxm_80gb"),
    (r"A100.*SXM.*40GB", "a100_sxm_40gb"),
    (r"A100.*PCIE?.*80GB|A100 80GB PCIe", "a100_pcie_80gb"),
    (r"A100.*PCIE?.*40GB", "a100_pcie_40gb"),
    (r"RTX PRO 6000", "rtx_pro_6000"),
    (r"RTX A6000", "rtx_a6000"),
    (r"V100.*PCIE.*32GB", "v100_pcie_32gb"),
    (r"P100.*PCIE", "p100_pcie"),
)
"""Patterns of the driver's names, and the measured tables' names for them."""


def device_name(name: str) -> str:
    """Give a GPU's name as the measured tables have it.

    Example:
        >>> device_name("NVIDIA H100 80GB HBM3"), device_name("NVIDIA GeForce RTX 4090"), device_name("NVIDIA L40S")
        ('h100_sxm_80gb', 'rtx4090', 'l40s')
    """
    for pattern, found in NAMES:
        if re.search(pattern, name):
            return found
    plain = re.sub(r"NVIDIA|GeForce|Tesla", "", name)
    plain = re.sub(r"[^a-z0-9]+", "_", plain.lower()).strip("_")
    return re.sub(r"^rtx_(\d)", r"rtx\1", plain)


def here(torch_device: str) -> Device:
    """Describe the GPU that torch runs on; the interpreter on a CPU stands for a small one."""
    if torch_device == "cpu":
        return Device(sms=8, capability=90)
    import torch

    properties = torch.cuda.get_device_properties(0)
    shared = getattr(properties, "shared_memory_per_block_optin", 0) or 99 * 1024
    return Device(
        sms=properties.multi_processor_count,
        capability=properties.major * 10 + properties.minor,
        shared_bytes=int(shared),
    )


def l2_bytes(torch_device: str) -> int:
    """Give the size of the last-level cache [B]."""
    if torch_device == "cpu":
        return 0
    import torch

    return int(getattr(torch.cuda.get_device_properties(0), "L2_cache_size", 0) or 64 << 20)


def bus_of() -> str:
    """Give the PCI address of torch's GPU, as NVML takes it; "": torch does not say."""
    import torch

    found = torch.cuda.get_device_properties(0)
    parts = [getattr(found, f"pci_{name}_id", -1) for name in ("domain", "bus", "device")]
    return "" if min(parts) < 0 else "{:08x}:{:02x}:{:02x}.0".format(*parts)


def facts_of(torch_device: str, nvml: Nvml | None) -> dict[str, Any]:
    """Give what a table of measurements says of the machine, as columns."""
    import torch

    facts: dict[str, Any] = {
        "torch": torch.__version__,
        "triton": TRITON_VERSION,
        "cuda": torch.version.cuda or "",
        "python": platform.python_version(),
        "date": datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
    }
    if torch_device == "cpu":
        return {"device": "interpreter", "gpu": "none: Triton's interpreter on a CPU", **facts}
    properties = torch.cuda.get_device_properties(0)
    facts |= {
        "device": device_name(properties.name),
        "gpu": properties.name,
        "sms": properties.multi_processor_count,
        "capability": properties.major + properties.minor / 10,
        "memory_gb": round(properties.total_memory / 1e9, 1),
        "l2_mb": round(l2_bytes(torch_device) / 1e6, 1),
        "cudnn": torch.backends.cudnn.version()  # type: ignore[no-untyped-call]
        or "",
    }
    if nvml is not None:
        facts |= {
            "driver": nvml.driver(),
            "power_limit_w": nvml.power_limit_w(),
            "max_sm_mhz": nvml.max_clock_mhz(),
            "max_memory_mhz": nvml.max_clock_mhz(MEMORY_CLOCK),
        }
    return facts
