"""Checks of what a user passes to the models of this room."""

from __future__ import annotations

import inspect
import reprlib
from collections.abc import Callable
from functools import wraps
from typing import Any, ParamSpec, TypeVar

import numpy as np
from numpy.typing import NDArray

from workloads.errors import SpecError
from workloads.operator import Num

__all__ = ["checked", "fraction", "number", "one_length", "positive"]

P = ParamSpec("P")
R = TypeVar("R")

NUMBERS = ("Num", "int", "float")
NAMES = ("str", "Measure", "Circuits")
"""Annotations of arguments that are numbers, and that are names."""


def checked(call: Callable[P, R]) -> Callable[P, R]:
    """Make a function refuse arguments of a wrong kind before it runs, by the annotations of its arguments.

    Where it says `Num`, one real number (any type but bool) or an array of them of shape (n_points,), not empty, all
    arrays of one length; NumPy's scalars arrive as Python's. Where it says `int` or `float`, one number; `str`, a
    text; a class, one of its instances. Whether a number makes sense is the function's own affair.

    Raises:
        SpecError: An argument of a wrong kind (from the function that is returned).

    Example:
        >>> @checked
        ... def half(length_mm: Num) -> Num:
        ...     return length_mm / 2
        >>> half("7")
        Traceback (most recent call last):
        workloads.errors.SpecError: half: length_mm is '7'; give one number or an array of them of shape (n_points,)
    """
    arguments = {name: _Argument(name, each) for name, each in inspect.signature(call).parameters.items()}
    names, where, spaces = tuple(arguments), call.__name__, inspect.unwrap(call).__globals__

    @wraps(call)
    def safe(*args: P.args, **kwargs: P.kwargs) -> R:
        places: list[Any] = list(args)
        named: dict[str, Any] = dict(kwargs)
        lengths = {1}
        for at, (name, value) in enumerate(zip(names, args, strict=False)):
            if type(value) not in arguments[name].plain:
                places[at] = _sound(value, arguments[name], where, spaces)
                lengths.add(_points(places[at]))
        for name, value in kwargs.items():
            if name in arguments and type(value) not in arguments[name].plain:
                named[name] = _sound(value, arguments[name], where, spaces)
                lengths.add(_points(named[name]))
        if len(lengths) > 2:
            one_length(lengths, where)
        return call(*places, **named)

    return safe


class _Argument:
    """What the annotation of an argument says, written once: kinds by name, and the types that need no look."""

    def __init__(self, name: str, parameter: inspect.Parameter) -> None:
        options = [option.strip() for option in str(parameter.annotation).split("|")]
        self.name = name
        self.kinds = tuple(option for option in options if option != "None")
        self.number = next((kind for kind in self.kinds if kind in NUMBERS), None)
        self.text = any(kind in NAMES for kind in self.kinds)
        plain = [float] * bool(self.number) + [str] * self.text + [type(None)] * ("None" in options)
        self.plain = frozenset[type](plain)


def _sound(value: Any, argument: _Argument, where: str, spaces: dict[str, Any]) -> Any:
    """Give an argument back if it is of one of its kinds, scalars of NumPy as numbers of Python."""
    if argument.number and type(value) is int and -(2**53) <= value <= 2**53:
        return value
    classes = tuple(each for kind in argument.kinds if isinstance(each := spaces.get(kind), type))
    if type(value) in argument.plain or isinstance(value, classes):
        return value
    if argument.number:
        return number(value, argument.number, argument.name, where)
    if argument.text and not isinstance(value, str):
        raise SpecError(f"{where}: {argument.name} is {reprlib.repr(value)}; give a name, a text")
    if classes:
        raise SpecError(f"{where}: {argument.name} is {reprlib.repr(value)}; give {' or '.join(argument.kinds)}")
    return value


def one_length(lengths: set[int], where: str) -> None:
    """Refuse arrays of different lengths; single values go with any.

    Raises:
        SpecError: They differ.

    Example:
        >>> one_length({1, 3}, "price")
    """
    if len(lengths - {1}) > 1:
        raise SpecError(f"{where}: arrays of {' and '.join(map(str, sorted(lengths - {1})))} points; give all as many")


def _points(value: Any) -> int:
    """Give how many design points an argument has: of an array, of a format, of an estimate."""
    return value.size if isinstance(value, np.ndarray) else getattr(value, "points", 1)


def number(value: Any, kind: str, name: str, where: str) -> Any:
    """Give a number back, one of NumPy as Python's; `kind` "Num": or an array, shape (n_points,).

    Raises:
        SpecError: It is none.

    Example:
        >>> number(np.float32(2), "int", "lanes", "vector unit")
        2.0
    """
    if type(value) is float:
        return value
    if isinstance(value, np.generic) or (isinstance(value, np.ndarray) and value.ndim == 0):
        value = value.item()
    if isinstance(value, int) and not isinstance(value, bool):
        if abs(value) > 2**1000:
            raise SpecError(f"{where}: {name} has {value.bit_length()} bits; give a number that a float can hold")
        return value if abs(value) <= 2**53 else float(value)
    if isinstance(value, float):
        return value
    if kind == "Num" and isinstance(value, np.ndarray) and value.dtype.kind in "iuf" and value.shape == (value.size,):
        if value.size:
            return value
        raise SpecError(f"{where}: {name} is an array of no points; give at least one")
    if kind != "Num" and isinstance(value, np.ndarray):
        raise SpecError(f"{where}: {name} is constant within a batch, not {reprlib.repr(value)}; call once for each")
    several = " or an array of them of shape (n_points,)" if kind == "Num" else ""
    raise SpecError(f"{where}: {name} is {reprlib.repr(value)}; give one number{several}")


def positive(value: Num, name: str, where: str) -> Num:
    """Return a number, or an array of them, that must be finite and above zero.

    Args:
        value: One value, or shape (n_points,).
        name: Of the argument, with its unit.
        where: The function that was called.

    Raises:
        SpecError: A value is zero, negative, infinite, not a number, or so large or small that products overflow.

    Example:
        >>> positive(64, "size_bytes", "cache")
        64
    """
    _within(value, name, where, ok=lambda v: np.isfinite(v) & (v > 0), rule="finite and above zero")
    _within(value, name, where, ok=lambda v: (v > 1e-60) & (v < 1e60), rule="between 1e-60 and 1e60")
    return value


def fraction(value: Num, name: str, where: str) -> Num:
    """Return a number, or an array of them, that must lie in 0 to 1.

    Args:
        value: One value, or shape (n_points,).
        name: Of the argument.
        where: The function that was called.

    Raises:
        SpecError: A value lies outside of 0 to 1.

    Example:
        >>> fraction(0.5, "row_hit_rate", "dram_energy")
        0.5
    """
    _within(value, name, where, ok=lambda v: (v >= 0) & (v <= 1), rule="between 0 and 1")
    return value


def _within(
    value: Num, name: str, where: str, *, ok: Callable[[NDArray[np.float64]], NDArray[np.bool_]], rule: str
) -> None:
    given = np.asarray(value)
    if given.dtype.kind not in "iufb":  # texts, complex numbers, objects, integers that no float holds
        raise SpecError(
            f"{where}: {name} = {reprlib.repr(value)} is no number; give one number or an array of shape (n_points,)"
        )
    numbers = np.atleast_1d(given).astype(np.float64)
    if not numbers.size:
        raise SpecError(f"{where}: {name} is an array of no points; give at least one")
    if numbers.ndim > 1:
        raise SpecError(f"{where}: {name} has shape {numbers.shape}; give one number or an array of shape (n_points,)")
    bad = numbers[~ok(numbers)]
    if bad.size:
        raise SpecError(f"{where}: {name} = {bad[0]:g}; it must be {rule}")
