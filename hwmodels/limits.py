"""Bounds on numbers in files, for the schemas."""

from __future__ import annotations

from typing import Annotated, Any

__all__ = ["AtLeast", "Count", "Positive"]


class AtLeast:
    """Marks a number with a lower bound; 0 itself is excluded."""

    def __init__(self, low: int) -> None:
        self.low = low

    def __get_pydantic_core_schema__(self, source: Any, handler: Any) -> Any:
        """Tell pydantic the bound."""
        from pydantic_core import core_schema

        low = self.low

        def validate(value: float) -> float:
            if value < low or value <= 0:
                raise ValueError(f"is {value}, give at least {low}" if low else f"is {value}, give more than 0")
            return value

        return core_schema.no_info_after_validator_function(validate, handler(source))


Count = Annotated[int, AtLeast(1)]
Positive = Annotated[float, AtLeast(0)]
