"""Frozen dataclasses that are made by the thousand."""

from __future__ import annotations

from dataclasses import MISSING, Field, fields
from typing import Any, TypeVar

__all__ = ["quick"]

Record = TypeVar("Record")


def quick(cls: type[Record]) -> type[Record]:
    """Give a frozen dataclass with slots an `__init__` that takes less than half the time; nothing else changes.

    The one that `dataclasses` writes goes through `object.__setattr__`, which finds every field anew; this one stores
    through the slots themselves: a `Tensor` in 2.4 us instead of 3.8, and a load makes thousands.

    Args:
        cls: Its fields have plain defaults or none, and it has no `__post_init__`.

    Raises:
        TypeError: It is another kind of class.

    Example:
        >>> from dataclasses import dataclass
        >>> @quick
        ... @dataclass(frozen=True, slots=True)
        ... class Point:
        ...     x: int
        ...     y: int = 0
        >>> Point(1)
        Point(x=1, y=0)
    """
    items: tuple[Field[Any], ...] = fields(cls)  # type: ignore[arg-type]  # mypy does not know that it is a dataclass
    if hasattr(cls, "__post_init__") or any(item.default_factory is not MISSING or not item.init for item in items):
        raise TypeError(f"{cls.__name__}: only a dataclass of plain fields without __post_init__ is made quickly")
    known: dict[str, Any] = {f"set_{item.name}": getattr(cls, item.name).__set__ for item in items}
    known |= {f"default_{item.name}": item.default for item in items}
    named = [item for item in items if item.kw_only]
    given = ", ".join(
        ["self", *map(_parameter, (item for item in items if not item.kw_only)), *["*"][: len(named)],
         *map(_parameter, named)]
    )  # fmt: skip
    stores = "; ".join(f"set_{item.name}(self, {item.name})" for item in items)
    exec(f"def __init__({given}): {stores}", known)  # dataclasses makes its own in the same way
    known["__init__"].__qualname__ = f"{cls.__qualname__}.__init__"
    known["__init__"].__annotations__ = cls.__init__.__annotations__
    cls.__init__ = known["__init__"]  # type: ignore[method-assign]
    return cls


def _parameter(item: Field[Any]) -> str:
    """Write a field as a parameter."""
    return item.name if item.default is MISSING else f"{item.name}=default_{item.name}"
