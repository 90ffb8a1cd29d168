"""Units at the file border: text such as "3.35 TB/s" to a number in base units, and back for tables.

In memory there are only s, J, W, Hz, B, bit, FLOP and mm2. SI prefixes are powers of 1000, Ki/Mi/Gi/Ti of 1024.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from workloads.errors import SpecError

if TYPE_CHECKING:
    import pint

__all__ = ["EXAMPLES", "Unit", "format_si", "parse_quantity", "si_scale"]

EXAMPLES: dict[str, str] = {
    "s": "3 us",
    "J": "5 mJ",
    "W": "700 W",
    "Hz": "1.98 GHz",
    "B": "50 MiB",
    "B/s": "3.35 TB/s",
    "bit": "4 bit",
    "FLOP": "2 GFLOP",
    "FLOP/s": "989.4 TFLOP/s",
    "J/bit": "13.1 pJ/bit",
    "J/FLOP": "0.36 pJ/FLOP",
    "mm2": "814 mm2",
    "m": "4 nm",
}
"""The units that fields are stored in, each with an example of how a file may write one."""

_NUMBER_AND_UNIT = re.compile(r"\s*[+-]?(\d|\.\d)[\d.]*([eE][+-]?\d+)?\s*[a-zA-Z]")

# pint's own registry calls a bit dimensionless, so that "3 GHz" would pass for a bandwidth; ours gives data and
# operations dimensions, and has only what a device file needs (which also makes it ten times faster to build).
_DEFINITIONS = (
    *(
        f"{name}- = 1e{power} = {symbol}-"
        for name, power, symbol in (
            ("femto", -15, "f"),
            ("pico", -12, "p"),
            ("nano", -9, "n"),
            ("micro", -6, "u"),
            ("milli", -3, "m"),
            ("kilo", 3, "k"),
            ("mega", 6, "M"),
            ("giga", 9, "G"),
            ("tera", 12, "T"),
            ("peta", 15, "P"),
        )
    ),
    *(
        f"{name}- = {2**power} = {symbol}-"
        for name, power, symbol in (("kibi", 10, "Ki"), ("mebi", 20, "Mi"), ("gibi", 30, "Gi"), ("tebi", 40, "Ti"))
    ),
    "second = [time] = s",
    "meter = [length] = m",
    "joule = [energy] = J",
    "watt = joule / second = W",
    "hertz = 1 / second = Hz",
    "bit = [data]",
    "byte = 8 * bit = B",
    "FLOP = [operation] = FLOP = OP",
    "mm2 = 1e-6 * meter ** 2",
    "percent = 0.01",
)


@lru_cache(maxsize=1)
def _registry() -> pint.UnitRegistry[Any]:
    import pint

    registry: pint.UnitRegistry[Any] = pint.UnitRegistry(None, cache_folder=None)
    for definition in _DEFINITIONS:
        registry.define(definition)
    return registry


@lru_cache(maxsize=4096)
def parse_quantity(text: str, unit: str) -> float:
    """Read a quantity as a number of the given unit.

    Args:
        text: A number and a unit: "3.35 TB/s".
        unit: What to give it in: a key of `EXAMPLES`.

    Returns:
        The number, in `unit`.

    Raises:
        SpecError: Not a number with a unit, or of another dimension.

    Example:
        >>> parse_quantity("3.35 TB/s", "B/s")
        3350000000000.0
        >>> parse_quantity("50 MiB", "B")
        52428800.0
        >>> parse_quantity("700 GB", "W")
        Traceback (most recent call last):
        workloads.errors.SpecError: found '700 GB', which is not in W; write it like "700 W"
    """
    import pint

    example = f'write it like "{EXAMPLES[unit]}"'
    if not _NUMBER_AND_UNIT.match(text):  # pint reads a bare unit as one of it
        raise SpecError(f"found {text!r}, which is not a number with a unit; {example}")
    try:
        quantity: Any = _registry().Quantity(text)
        number = quantity.m_as(unit)
    except pint.DimensionalityError:
        raise SpecError(f"found {text!r}, which is not in {unit}; {example}") from None
    except Exception as error:  # pint raises a dozen types on malformed text, TypeError and tokenize's among them
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise SpecError(f"found {text!r}, which is not a number with a unit ({reason}); {example}") from None
    if not isinstance(number, int | float) or not math.isfinite(number):
        raise SpecError(f"found {text!r}, which is not a finite number; {example}")
    # Rounding to 15 digits removes the noise of the factor's own division: 989.4e12, not 989.3999999999999e12.
    return float(f"{float(number):.15g}")


@dataclass(frozen=True, slots=True)
class Unit:
    """Marks a field that a file writes as text with a unit: `Annotated[float, Unit("W")]`.

    Attributes:
        name: Unit of the number in memory: a key of `EXAMPLES`.
        positive: Refuse zero too, not only negative numbers.
    """

    name: str
    positive: bool = True

    def read(self, value: object) -> float:
        """Turn a file's value into a number.

        Raises:
            SpecError: Not text, or not a quantity of this unit, or negative.

        Example:
            >>> Unit("W").read("700 W")
            700.0
        """
        if not isinstance(value, str):
            raise SpecError(f'found {value!r} without a unit; write it like "{EXAMPLES[self.name]}"')
        number = parse_quantity(value, self.name)
        if number < 0 or (self.positive and number == 0):
            raise SpecError(f"found {value!r}; it must be {'above zero' if self.positive else 'zero or more'}")
        return number

    def __get_pydantic_core_schema__(self, source: Any, handler: Any) -> Any:
        """Tell pydantic to read the field with `read`."""
        from pydantic_core import PydanticCustomError, core_schema

        def validate(value: object) -> float:
            try:
                return self.read(value)
            except SpecError as error:
                raise PydanticCustomError("quantity", "{reason}", {"reason": str(error)}) from None

        return core_schema.no_info_plain_validator_function(validate)


_SI = ((1e15, "P"), (1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"), (1.0, ""))
_SMALL = ((1e-3, "m"), (1e-6, "u"), (1e-9, "n"), (1e-12, "p"), (1e-15, "f"))


def format_si(value: float, unit: str = "", digits: int = 4) -> str:
    """Write a number with an SI prefix, for tables and files.

    Args:
        value: In `unit`.
        unit: A base unit: "B/s", "J/bit".
        digits: Significant digits.

    Example:
        >>> format_si(3.35e12, "B/s")
        '3.35 TB/s'
        >>> format_si(1.31e-11, "J/bit")
        '13.1 pJ/bit'
        >>> format_si(0.0, "s")
        '0 s'
    """
    if value == 0 or not math.isfinite(value) or unit == "mm2":
        return f"{value:.{digits}g} {unit}".rstrip()
    # 999.96 with four digits is written 1 k, not 1e+03
    scale, prefix = si_scale(abs(value) * (1 + 10.0**-digits / 2))
    return f"{value / scale:.{digits}g} {prefix}{unit}".rstrip()


def si_scale(size: float) -> tuple[float, str]:
    """Give the scale and the prefix in which a size is at least one.

    Example:
        >>> si_scale(0.02)
        (0.001, 'm')
    """
    ladder = _SI if size >= 1 else _SMALL
    return next((step for step in ladder if size >= step[0]), ladder[-1])
