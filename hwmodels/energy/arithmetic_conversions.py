"""Energy and area of what stands between stored and computed formats: shift, clip, codebook, scale.

Nobody published these operations beside Horowitz' and Jouppi's figures, so all of them are derived: from the adder of
the same width by counts of transistors (a multiplexer), or by the ratio of another published set (a comparison).
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from hwmodels.cited import cited_rows
from hwmodels.energy.arithmetic_formats import Number, NumberFormat, integer, number
from hwmodels.energy.arithmetic_law import Measure
from hwmodels.energy.arithmetic_operations import add, multiply, summed
from hwmodels.energy.arithmetic_published import Circuits, of_make
from hwmodels.energy.checking import checked
from hwmodels.energy.combining import product
from hwmodels.energy.estimate import Estimate
from workloads.errors import SpecError
from workloads.operator import Num

__all__ = ["dequantize_area", "dequantize_energy", "requantize_area", "requantize_energy"]

_ADDER_BIT_TRANSISTORS = 28
"""A mirror full adder. Source: Weste & Harris, CMOS VLSI Design, 4th ed., 2011, section 11.2."""
_MUX_TRANSISTORS = (6, 12, 28)
"""A 2:1 multiplexer: of transmission gates, restoring (as in cell libraries), and as costly as an adder's bit."""
_MUX_SOURCE = "transistors over those of a full adder: Weste & Harris, CMOS VLSI Design, 4th ed., 2011"


@checked
def dequantize_energy(
    stored: NumberFormat,
    to: NumberFormat = "fp16",
    *,
    entries: Num | None = None,
    zero_point: bool = True,
    node_nm: Num,
    law: str | None = None,
    circuits: Circuits = "any",
) -> Estimate:
    """Estimate the energy of turning one stored value into the format it is computed in.

    With `entries`, by a look-up table of so many values (SqueezeLLM's codebooks have 2^bits): a tree of entries - 1
    multiplexers per bit of the result; every level shares one select bit, so all of it switches. The table's registers
    hold still, and filling it is not counted. Without, affinely: the zero point subtracted, the scale multiplied.

    Args:
        stored: An integer format: "int4"; its bits are the index, or the value.
        to: Format of the result.
        entries: Of the table, at least 2 and at most 2^bits: one value or shape (n_points,); None: affine.
        zero_point: Whether there is one to subtract (affine only).
        node_nm: One node or shape (n_points,), 3 to 180 [nm].
        law: Of `LAWS["logic energy"]`, outside 45 to 7 nm; None: its first.
        circuits: Whose band, as in `mac_energy`: "any" make of circuit, or "published".

    Returns:
        The energy of one value [J].

    Raises:
        SpecError: No such format, a float that is stored, an impossible table, or a node out of range.

    Source:
        Kim et al., SqueezeLLM, ICML 2024 (codebooks).

    Example:
        >>> list(dequantize_energy("int4", "fp16", entries=16, node_nm=7).parts)
        ['look-up']
        >>> list(dequantize_energy("int4", "fp16", node_nm=7).parts)
        ['zero point', 'scale']
    """
    return of_make(_dequantize("energy", stored, to, entries, zero_point, node_nm, law), "energy", circuits)


@checked
def dequantize_area(
    stored: NumberFormat,
    to: NumberFormat = "fp16",
    *,
    entries: Num | None = None,
    zero_point: bool = True,
    node_nm: Num,
    law: str | None = None,
    circuits: Circuits = "any",
) -> Estimate:
    """Estimate the area of the logic that dequantizes one value at a time, without registers for a table [mm2].

    Arguments, errors and sources: as `dequantize_energy`, with the laws of `LAWS["logic area"]`.

    Example:
        >>> dequantize_area("int4", "fp16", node_nm=45).unit
        'mm2'
    """
    return of_make(_dequantize("area", stored, to, entries, zero_point, node_nm, law), "area", circuits)


@checked
def requantize_energy(
    accumulator: NumberFormat = "int32",
    to: NumberFormat = "int8",
    *,
    multiplier: NumberFormat = "int32",
    node_nm: Num,
    law: str | None = None,
    circuits: Circuits = "any",
) -> Estimate:
    """Estimate the energy of turning a sum into the format of the next operator's input.

    A multiplication by a dyadic number b / 2^c, an addition for rounding, a shift by any c, and a clip to the result's
    range (two comparisons). A floating multiplier takes the same path: its product is shifted into place.

    Args:
        accumulator: Format of the sum.
        to: Format of the result, no wider than the sum.
        multiplier: Format of b, or a float.
        node_nm: One node or shape (n_points,), 3 to 180 [nm].
        law: Of `LAWS["logic energy"]`, outside 45 to 7 nm; None: its first.
        circuits: Whose band, as in `mac_energy`: "any" make of circuit, or "published".

    Returns:
        The energy of one value [J], with the parts "multiply", "round", "shift", "clip".

    Raises:
        SpecError: No such format, a result that is wider than the sum, or a node out of range.

    Source:
        Kim et al., I-BERT, ICML 2021, section 3.2 (dyadic numbers).

    Example:
        >>> requantize_energy(node_nm=45).parts["multiply"].value
        3.1e-12
    """
    return of_make(_requantize("energy", accumulator, to, multiplier, node_nm, law), "energy", circuits)


@checked
def requantize_area(
    accumulator: NumberFormat = "int32",
    to: NumberFormat = "int8",
    *,
    multiplier: NumberFormat = "int32",
    node_nm: Num,
    law: str | None = None,
    circuits: Circuits = "any",
) -> Estimate:
    """Estimate the area of the logic that requantizes one value at a time [mm2].

    Arguments, errors and sources: as `requantize_energy`, with the laws of `LAWS["logic area"]`.

    Example:
        >>> requantize_area(node_nm=45).parts["multiply"].value
        0.003495
    """
    return of_make(_requantize("area", accumulator, to, multiplier, node_nm, law), "area", circuits)


def _dequantize(
    measure: Measure,
    stored: NumberFormat,
    to: NumberFormat,
    entries: Num | None,
    zero_point: bool,
    node_nm: Num,
    law: str | None,
) -> Estimate:
    source, result = number(stored), number(to)
    if source.kind != "int":
        raise SpecError(f"dequantize: stored values are integers or codes, not {source.name}; name its integer width")
    if entries is not None:
        _check_entries(source, entries)
        muxes = (entries - 1) * result.stored_bits
        tree = _multiplexers(measure, muxes, node_nm=node_nm, law=law)
        return summed(measure, {"look-up": tree}, f"{source.name} to {result.name} by a table")
    parts = {"scale": multiply(measure, result, source, node_nm=node_nm, law=law)}
    if zero_point:  # one bit wider: the difference of two codes has a sign
        wider = integer(source.significand_bits + 1)
        parts = {"zero point": add(measure, wider, node_nm=node_nm, law=law)} | parts
    return summed(measure, parts, f"{source.name} to {result.name}: less the zero point, times the scale")


def _check_entries(stored: Number, entries: Num) -> None:
    counts = np.asarray(entries, dtype=float)
    wrong = counts[~((counts >= 2) & (counts <= 2.0 ** np.max(stored.significand_bits)))]
    if wrong.size:
        most = 2 ** int(np.max(stored.significand_bits))
        raise SpecError(f"a table for {stored.name} has 2 to {most} entries, not {wrong.flat[0]:g}")


def _requantize(
    measure: Measure,
    accumulator: NumberFormat,
    to: NumberFormat,
    multiplier: NumberFormat,
    node_nm: Num,
    law: str | None,
) -> Estimate:
    total, result, factor = number(accumulator), number(to), number(multiplier)
    if total.kind != "int" or result.kind != "int":
        raise SpecError(f"requantize: from an integer sum to an integer, not {total.name} to {result.name}")
    if np.any(np.greater(result.stored_bits, total.stored_bits)):
        raise SpecError(f"requantize: {result.name} is wider than the sum {total.name}; swap them, or name a wider sum")
    width = total.significand_bits + factor.significand_bits
    # The difference of two values shows in the sign of a subtraction: the adder's width is that of the sum.
    adder = add(measure, integer(total.significand_bits), node_nm=node_nm, law=law)
    parts = {
        "multiply": multiply(measure, total, factor, node_nm=node_nm, law=law),
        "round": adder,
        "shift": _multiplexers(measure, width * np.log2(width), node_nm=node_nm, law=law),
        "clip": _from_adder(adder, 2.0, _comparison(measure), "two comparisons, as shares of an adder"),
    }
    return summed(measure, parts, f"{total.name} x {factor.name}, rounded, shifted, clipped to {result.name}")


def _multiplexers(measure: Measure, count: Num, *, node_nm: Num, law: str | None) -> Estimate:
    """Estimate 2:1 multiplexers, as a share of the bits of a 32-bit adder."""
    low, value, high = (transistors / _ADDER_BIT_TRANSISTORS for transistors in _MUX_TRANSISTORS)
    adder = add(measure, "int32", node_nm=node_nm, law=law)
    share = _share(value, low, high, _MUX_SOURCE)
    bits = count / 32 if isinstance(count, np.ndarray) else float(count) / 32
    return _from_adder(adder, bits, share, "2:1 multiplexers, as bits of an adder")


def _from_adder(adder: Estimate, count: Num, share: Estimate, formula: str) -> Estimate:
    """Multiply an adder; unless it is scaled from another node, what comes of it is derived."""
    found = product(adder, count, share, formula=formula)
    return replace(found, origin="scaled" if adder.origin == "scaled" else "derived")


def _comparison(measure: Measure) -> Estimate:
    """Give a comparison over an addition of the same width, in the set that has both; at most an addition."""
    column = {"energy": "energy_pj", "area": "area_um2"}[measure]
    rows = {row["op"]: row for row in cited_rows("arithmetic_published") if row["format"] == "int32"}
    ratio = float(rows["compare"][column]) / float(rows["add"][column])
    return _share(ratio, ratio, 1.0, rows["compare"]["source"])


def _share(value: float, low: float, high: float, source: str) -> Estimate:
    """Give a share of an adder."""
    return Estimate(value=value, unit="", low=low, high=high, origin="derived", formula="of an adder", source=source)
