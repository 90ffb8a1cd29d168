"""Hardware knobs of a sweep as devices with prices: what a knob moves follows from `hwmodels.energy`.

Knobs are factors on what the accelerator has: ``clock_scale``, ``capacity_scale.LEVEL``, ``bandwidth_scale.LEVEL``, and
``energy_scale.LEVEL`` on the energy of a word, which is a user's own number; ``array_rows`` and ``array_columns`` are
sizes. Area, leakage, energies, clock and ports follow as `price` and `priced` say; a knob without a price is refused.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hwmodels.mapping.fronts.knobs import Devices
from hwmodels.mapping.timing import Floats
from hwmodels.spatial import Accelerator
from workloads.errors import SpecError, nearest

__all__ = ["KINDS", "SIZES", "check_knobs", "knobs_of", "priced_devices"]

KINDS = ("capacity_scale", "bandwidth_scale", "energy_scale")
"""Knobs of a level; as in ``capacity_scale.Scratchpad``."""

SIZES = ("array_rows", "array_columns")
"""Knobs of the array: whole numbers."""


def knobs_of(accelerator: Accelerator) -> tuple[str, ...]:
    """Name the knobs of an accelerator; some of them may have no price.

    Example:
        >>> import hwmodels
        >>> knobs_of(hwmodels.load("gemmini"))[:4]
        ('array_rows', 'array_columns', 'clock_scale', 'capacity_scale.DRAM')
    """
    levels = [level.name for level in accelerator.levels]
    return (*SIZES, "clock_scale", *(f"{kind}.{level}" for kind in KINDS for level in levels))


MOST_SIDE, MOST_SCALE = 1 << 16, 1 << 20
"""Largest side of an array, and factor of a knob: what is larger is a slip of units."""


def check_knobs(accelerator: Accelerator, knobs: Mapping[str, ArrayLike]) -> int:
    """Check knobs; give the number of points.

    Raises:
        SpecError: An unknown knob or level, numbers that are not above zero, or arrays of different lengths.
    """
    known = knobs_of(accelerator)
    sizes = set()
    for name, value in knobs.items():
        if name not in known:
            raise SpecError(f"{accelerator.name}: there is no knob {name!r}; {nearest(name, known)}")
        values = np.asarray(value)
        if values.ndim > 1 or values.size == 0:
            raise SpecError(
                f"{accelerator.name}: knob {name!r} has shape {values.shape}; give one number, or one for each point"
            )
        if values.dtype.kind not in "iuf" or not (np.isfinite(values) & (values > 0)).all():
            shown = ", ".join(map(str, values.ravel()[:3]))
            raise SpecError(f"{accelerator.name}: knob {name!r} takes numbers above zero, not {shown}")
        if name in SIZES and ((values % 1).any() or (values > MOST_SIDE).any()):
            raise SpecError(f"{accelerator.name}: knob {name!r} takes whole numbers up to {MOST_SIDE:,}")
        if (values > MOST_SCALE).any() or (values < 1 / MOST_SCALE).any():
            raise SpecError(f"{accelerator.name}: knob {name!r} takes factors from 1/{MOST_SCALE:,} to {MOST_SCALE:,}")
        sizes.add(np.size(values))
    if len(sizes - {1}) > 1:
        raise SpecError(f"{accelerator.name}: knobs of different lengths: {', '.join(map(str, sorted(sizes)))}")
    return max(sizes, default=1)


def priced_devices(
    accelerator: Accelerator, knobs: Mapping[str, NDArray[Any]], n: int, *, dram: str | None
) -> tuple[Devices, Floats]:
    """Give devices of an accelerator's make with turned knobs, and their areas [mm2].

    Args:
        accelerator: What is turned.
        knobs: All but those of the array; shape (n,) each.
        n: Number of points.
        dram: Technology of the outermost level, of `hwmodels.energy.price`; its bandwidth has no price without.

    Raises:
        SpecError: A knob without a price, or out of reach.
    """
    from hwmodels.energy import price
    from hwmodels.energy.applying import word_energies

    scales = {kind: {name.split(".", 1)[1]: value for name, value in knobs.items() if name.startswith(f"{kind}.")}
              for kind in KINDS}  # fmt: skip
    clock = knobs.get("clock_scale", np.ones(n))
    bill = price(
        accelerator,
        clock_scale=clock,
        capacity=scales["capacity_scale"],
        bandwidth=scales["bandwidth_scale"],
        dram=dram,
    )
    devices = Devices.of([accelerator], accelerator.conventions).take(np.zeros(n, dtype=np.int64))
    share = 0
    for at, level in enumerate(accelerator.levels):
        read_j, write_j = word_energies(level, bill)
        factor = scales["energy_scale"].get(level.name, 1.0)
        devices.read_j[:, at], devices.write_j[:, at] = read_j * factor, write_j * factor
        rate = bill.bandwidth.get(level.name, 1.0) / (clock if at == 0 else 1.0)
        devices.read[:, at] *= rate
        devices.write[:, at] *= rate
        halved = accelerator.conventions.device_buffering and level.buffering == "double"
        larger = bill.capacity.get(level.name, 1.0)
        if level.capacity_words is not None:
            devices.capacity[:, at] = np.maximum(np.round(level.capacity_words * larger), 1.0)
            devices.usable[:, at] = devices.capacity[:, at] // 2 if halved else devices.capacity[:, at]
        for words in level.partitions.values():
            own = np.maximum(np.round(words * larger), 1.0)
            devices.shares[:, share] = own // 2 if halved else own
            share += 1
    devices.mac_j[:], devices.static_w[:], devices.clock_hz[:] = bill.mac_j.value, bill.static_w.value, bill.clock_hz
    return devices, np.broadcast_to(np.asarray(bill.area_mm2.value, dtype=float), (n,))
