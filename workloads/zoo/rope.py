"""Rotary frequencies of a configuration: plain, scaled for long contexts, or of a part of each head."""

from __future__ import annotations

import math

from workloads.zoo.config import Config

__all__ = ["WIDEST_HEAD", "local_frequencies", "rope_frequencies", "yarn_scale"]

_KINDS = ("default", "linear", "dynamic", "llama3", "longrope", "su", "yarn")
WIDEST_HEAD = 65_536
"""No head comes near it; a larger number is a damaged file."""


def rope_frequencies(
    c: Config, head_width: int, part: float = 1.0, base: float = 10_000.0
) -> tuple[tuple[float, ...], float]:
    """Give the inverse wavelengths and the factor of the tables.

    Dynamic scaling is that of the trained length, where it is the identity.

    Args:
        c: A configuration; both the older `rope_theta`, `rope_scaling` and the newer `rope_parameters` are read.
        head_width: Width of one head.
        part: Of each head that is rotated, where the configuration does not say.
        base: Of the wavelengths, where it does not say.

    Raises:
        WorkloadError: A scaling that is not known.

    Source: Su et al. 2021, arXiv 2104.09864; Chen et al. 2023, arXiv 2306.15595 (linear); Grattafiori et al. 2024,
    arXiv 2407.21783 (llama3, scaled by wavelength); Peng et al. 2023, arXiv 2309.00071 (yarn); Ding et al. 2024, arXiv
    2402.13753 (longrope).
    """
    table = c.nested("rope_scaling", "rope_parameters")
    if table.values.get("full_attention") is not None:  # one table per kind of layer
        table = table.nested("full_attention")
    theta = table.positive("rope_theta", c.positive("rope_theta", c.positive("rotary_emb_base", base)))
    if theta <= 1:
        raise c.fault("rope_theta", f"(or rotary_emb_base) makes a base of {theta}; it is above 1")
    part = table.positive("partial_rotary_factor", _part(c, part))
    rotated = int(head_width * part)
    if not 2 <= rotated <= min(head_width, WIDEST_HEAD) or rotated % 2:
        raise c.fault(
            "head_dim",
            f"with its partial_rotary_factor (or rotary_pct) makes {rotated} of {head_width} values of a head rotate; "
            "it is an even part of them",
        )
    plain = [theta ** (-2 * index / rotated) for index in range(rotated // 2)]
    kind = table.choice("rope_type", _KINDS, table.choice("type", _KINDS, "default"))
    if kind == "linear":
        factor = table.positive("factor")
        return tuple(value / factor for value in plain), 1.0
    if kind == "llama3":
        return _llama3(plain, table), 1.0
    if kind in ("longrope", "su"):  # an older name
        return _longrope(c, plain, table)
    if kind == "yarn":
        return _yarn(c, plain, theta, rotated, table)
    return tuple(plain), 1.0


def local_frequencies(c: Config, head_width: int, older: str, base: float) -> tuple[float, ...]:
    """Give the inverse wavelengths of layers with a window, where those have a table of their own.

    Args:
        c: A configuration.
        head_width: Width of one head.
        older: The older name of its base.
        base: That base, where the configuration does not say.

    Raises:
        WorkloadError: They are scaled, which no published model does.
    """
    table = c.nested("rope_parameters").nested("sliding_attention")
    if table.choice("rope_type", _KINDS, "default") != "default":
        raise table.fault("rope_type", "of layers with a window is not supported; export the model and use load_onnx")
    theta = table.positive("rope_theta", c.positive(older, base))
    return tuple(theta ** (-2 * index / head_width) for index in range(head_width // 2))


def _part(c: Config, part: float) -> float:
    """Read which part of a head is rotated under the older names."""
    return float(c.positive("partial_rotary_factor", c.positive("rotary_pct", part)))


def _llama3(plain: list[float], table: Config) -> tuple[float, ...]:
    """Slow down long wavelengths by the factor, leave short ones, and go smoothly between."""
    factor, low, high = (table.positive(name) for name in ("factor", "low_freq_factor", "high_freq_factor"))
    original = table.int("original_max_position_embeddings")
    if high <= low:
        raise table.fault("high_freq_factor", f"is not above low_freq_factor = {low}")
    scaled = []
    for frequency in plain:
        turns = original * frequency / (2 * math.pi)
        smooth = min(max((turns - low) / (high - low), 0.0), 1.0)
        scaled.append((1 - smooth) * frequency / factor + smooth * frequency)
    return tuple(scaled)


def _longrope(c: Config, plain: list[float], table: Config) -> tuple[tuple[float, ...], float]:
    """Divide each frequency by a searched factor, the one for short contexts."""
    known = table if table.values.get("original_max_position_embeddings") is not None else c
    longest = c.int("max_position_embeddings")
    original = known.int("original_max_position_embeddings", longest)
    ratio = table.positive("factor", longest / original)
    given = table.optional_factor("attention_factor")
    scale = math.sqrt(1 + math.log(ratio) / math.log(original)) if ratio > 1 and original > 1 else 1.0
    short = table.floats("short_factor")
    if len(short) != len(plain):
        raise table.fault("short_factor", f"has {len(short)} factors for {len(plain)} frequencies")
    return tuple(value / factor for value, factor in zip(plain, short, strict=True)), float(given or scale)


def _yarn(c: Config, plain: list[float], theta: float, rotated: int, table: Config) -> tuple[tuple[float, ...], float]:
    """Interpolate long wavelengths, leave short ones, and go linearly (in the index) between."""
    factor = table.positive("factor")
    original = table.int("original_max_position_embeddings", c.int("max_position_embeddings", 2048))

    def index(turns: float) -> float:
        return rotated * math.log(original / (turns * 2 * math.pi)) / (2 * math.log(theta))

    low, high = index(table.positive("beta_fast", 32.0)), index(table.positive("beta_slow", 1.0))
    if table.flag("truncate", True):
        low, high = math.floor(low), math.ceil(high)
    low, high = max(low, 0), min(high, rotated - 1)
    frequencies = []
    for position, value in enumerate(plain):
        ramp = min(max((position - low) / max(high - low, 0.001), 0.0), 1.0)
        frequencies.append(value / factor * ramp + value * (1 - ramp))
    return tuple(frequencies), _yarn_factor(factor, table)


def _yarn_factor(factor: float, table: Config) -> float:
    """Give the factor of the tables: higher entropy at long contexts is made up for."""
    given = table.optional_factor("attention_factor")
    if given:
        return float(given)
    up, down = table.optional_factor("mscale"), table.optional_factor("mscale_all_dim")
    return yarn_scale(factor, up) / yarn_scale(factor, down) if up and down else yarn_scale(factor, 1.0)


def yarn_scale(factor: float, weight: float) -> float:
    """Give 0.1 w ln(s) + 1: Peng et al. 2023, arXiv 2309.00071, equation 22; the weight is DeepSeek's."""
    return 0.1 * weight * math.log(factor) + 1.0 if factor > 1 else 1.0
