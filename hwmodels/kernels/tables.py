"""Tables of measurements, and of kernels to predict: rows that share a formula and its coefficients, as records."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from hwmodels.kernels.families import family_of
from hwmodels.kernels.processor_families import OPTIONAL, family_named, function_format, processor_family_of
from hwmodels.kernels.processors import is_processor
from hwmodels.kernels.records import Array, Places, some

if TYPE_CHECKING:
    from pandas import DataFrame

__all__ = ["Group", "Key", "groups"]


@dataclass(frozen=True, slots=True, order=True)
class Key:
    """What rows share that one calibration holds for.

    Attributes:
        family: Key of `FAMILIES`, or of `PROCESSORS`.
        device: As the table spells it.
        kernel: The operation: "gemm", "softmax", "all_reduce".
        a_format: Of the activations or messages.
        w_format: Of weights or the cache; "": none.
        timing: How times were taken.
        framework: The library; of collectives the algorithm.
    """

    family: str
    device: str
    kernel: str
    a_format: str
    w_format: str
    timing: str
    framework: str


@dataclass(frozen=True, slots=True, eq=False)
class Group:
    """Rows of one key: their places in the table, their record, their times (NaN where not measured) [us]."""

    key: Key
    places: Places
    record: Any
    measured: Array
    table: DataFrame

    def part(self, chosen: NDArray[Any]) -> Group:
        """Keep some rows: places within the group, or a mask."""
        return Group(
            self.key,
            self.places[chosen],
            some(self.record, chosen),
            self.measured[chosen],
            self.table.iloc[np.arange(len(self.table))[chosen]],
        )


def groups(table: DataFrame) -> Iterator[tuple[Group | None, str, Places]]:
    """Take a table apart into rows that share a calibration.

    Args:
        table: With the columns of its family; what is missing beyond sizes is taken as "".

    Yields:
        The group, or None with the reason why nothing is known of these rows; and their places.
    """
    text = [_text(table, name) for name in ("op", "device", "a_dtype", "timing")]
    second = np.where(_text(table, "w_dtype") != "", _text(table, "w_dtype"), _text(table, "kv_dtype"))
    library = np.where(_text(table, "framework") != "", _text(table, "framework"), _text(table, "algorithm"))
    first = np.where(text[2] != "", text[2], _text(table, "dtype"))
    first = _function_formats(first, text[0], text[1], set(table.columns))
    keys = np.array([text[0], text[1], first, second, text[3], library], dtype=object).T
    order: dict[tuple[str, ...], list[int]] = {}
    for place, values in enumerate(map(tuple, keys)):
        order.setdefault(values, []).append(place)
    for (op, device, a_format, w_format, timing, framework), found in order.items():
        places = np.array(found)
        family = (processor_family_of if is_processor(device) else family_of)(set(table.columns), op)
        if not family:
            yield None, f"no kernel model for op {op!r}", places
            continue
        key = Key(family, device, op, a_format, w_format, timing, framework)
        yield from _group(table, key, places)


def _function_formats(formats: Any, ops: Any, devices: Any, columns: set[str]) -> Any:
    """Put the functions of a CPU together whose formats do not matter."""
    return np.array(
        [
            function_format(name)
            if is_processor(device) and processor_family_of(columns, op) == "cpu_elementwise"
            else name
            for name, op, device in zip(formats, ops, devices, strict=True)
        ],
        dtype=object,
    )


def _group(table: DataFrame, key: Key, places: Places) -> Iterator[tuple[Group | None, str, Places]]:
    family = family_named(key.family)
    columns = {name: _numbers(table, name)[places] for name in family.columns}
    optional = {"devices_per_node", *OPTIONAL}
    good = np.all(
        [
            np.isfinite(value) & (value > (-1 if name == "causal" else 0))
            for name, value in columns.items()
            if name not in optional
        ],
        axis=0,
    )
    if not good.all():
        wanted = ", ".join(name for name in family.columns if name not in optional)
        yield None, f"needs numbers above zero in the columns {wanted}", places[~good]
    if good.any():
        kept = places[good]
        try:
            record = family.record({name: value[good] for name, value in columns.items()}, key.a_format, key.w_format)
        except TypeError as error:
            yield None, str(error), kept
            return
        yield Group(key, kept, record, _numbers(table, "latency_us")[kept], table.iloc[kept]), "", kept


def _text(table: DataFrame, name: str) -> Any:
    if name not in table.columns:
        return np.full(len(table), "", dtype=object)
    return table[name].astype(object).fillna("").astype(str).str.strip().to_numpy(dtype=object)


def _numbers(table: DataFrame, name: str) -> Array:
    import pandas as pd

    if name not in table.columns:
        return np.full(len(table), np.nan)
    return pd.to_numeric(table[name], errors="coerce").to_numpy(dtype=float)
