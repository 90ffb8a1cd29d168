"""Rotary frequencies of a configuration: plain, scaled for long contexts, or of a part of each head."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from workloads.errors import WorkloadError, nearest
from workloads.zoo.config import Config

__all__ = ["rope_frequencies"]

_KINDS = ("default", "linear", "dynamic", "llama3", "longrope", "yarn")


def rope_frequencies(c: Config, head_width: int) -> tuple[tuple[float, ...], float]:
    """Give the inverse wavelengths and the factor of the tables.

    Dynamic scaling is that of the trained length, where it is the identity.

    Args:
        c: A configuration; both the older `rope_theta`, `rope_scaling` and the newer `rope_parameters` are read.
        head_width: Width of one head.

    Raises:
        WorkloadError: A scaling that is not known.

    Source: Su et al. 2021, arXiv 2104.09864; Chen et al. 2023, arXiv 2306.15595 (linear); Grattafiori et al. 2024,
    arXiv 2407.21783 (llama3, scaled by wavelength); Peng et al. 2023, arXiv 2309.00071 (yarn); Ding et al. 2024, arXiv
    2402.13753 (longrope).
    """
    table = {**c.table("rope_scaling"), **c.table("rope_parameters")}
    nested = table.get("full_attention")
    if isinstance(nested, Mapping):
        table = dict(nested)
    theta = float(table.get("rope_theta", c.float("rope_theta", 10000.0)))
    part = float(table.get("partial_rotary_factor", c.float("partial_rotary_factor", 1.0)))
    rotated = int(head_width * part)
    plain = [theta ** (-2 * index / rotated) for index in range(rotated // 2)]
    kind = str(table.get("rope_type", table.get("type", "default")))
    if kind not in _KINDS:
        raise WorkloadError(f"configuration of {c.kind!r}: unknown rotary scaling {kind!r}; {nearest(kind, _KINDS)}")
    if kind == "linear":
        return tuple(value / float(table["factor"]) for value in plain), 1.0
    if kind == "llama3":
        return tuple(_llama3(value, table) for value in plain), 1.0
    if kind == "longrope":
        return _longrope(c, plain, table)
    if kind == "yarn":
        return _yarn(c, plain, theta, rotated, table)
    return tuple(plain), 1.0


def _llama3(frequency: float, table: Mapping[str, Any]) -> float:
    """Slow down long wavelengths by the factor, leave short ones, and go smoothly between."""
    factor, low, high = float(table["factor"]), float(table["low_freq_factor"]), float(table["high_freq_factor"])
    turns = float(table["original_max_position_embeddings"]) * frequency / (2 * math.pi)
    smooth = min(max((turns - low) / (high - low), 0.0), 1.0)
    return (1 - smooth) * frequency / factor + smooth * frequency


def _longrope(c: Config, plain: list[float], table: Mapping[str, Any]) -> tuple[tuple[float, ...], float]:
    """Divide each frequency by a searched factor, the one for short contexts."""
    original = float(table.get("original_max_position_embeddings", c.int("original_max_position_embeddings", 4096)))
    ratio = c.int("max_position_embeddings") / original
    given = table.get("attention_factor")
    scale = float(given) if given else math.sqrt(1 + math.log(ratio) / math.log(original)) if ratio > 1 else 1.0
    short = [float(item) for item in table["short_factor"]]
    if len(short) != len(plain):
        raise WorkloadError(f"configuration of {c.kind!r}: {len(short)} short factors for {len(plain)} frequencies")
    return tuple(value / factor for value, factor in zip(plain, short, strict=True)), scale


def _yarn(
    c: Config, plain: list[float], theta: float, rotated: int, table: Mapping[str, Any]
) -> tuple[tuple[float, ...], float]:
    """Interpolate long wavelengths, leave short ones, and go linearly (in the index) between."""
    factor = float(table["factor"])
    original = float(table.get("original_max_position_embeddings", c.int("max_position_embeddings")))

    def index(turns: float) -> float:
        return rotated * math.log(original / (turns * 2 * math.pi)) / (2 * math.log(theta))

    low = max(math.floor(index(float(table.get("beta_fast", 32)))), 0)
    high = min(math.ceil(index(float(table.get("beta_slow", 1)))), rotated - 1)
    frequencies = []
    for position, value in enumerate(plain):
        ramp = min(max((position - low) / max(high - low, 0.001), 0.0), 1.0)
        frequencies.append(value / factor * ramp + value * (1 - ramp))

    def scale(weight: float) -> float:
        return 0.1 * weight * math.log(factor) + 1.0 if factor > 1 else 1.0

    up, down = table.get("mscale"), table.get("mscale_all_dim")
    return tuple(frequencies), scale(float(up)) / scale(float(down)) if up and down else scale(1.0)
