"""Refusals of the energy models in the words of whoever types options: --node for node_nm."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

from workloads.errors import SpecError

__all__ = ["typed"]

_TYPED = (
    (r"^[a-z]+_(energy|area|delay|leakage): ", ""),
    (r"\bnode_nm=([\d.]+)", r"--node \1"),
    (r"\blaw='([\w-]+)'", r"--law \1"),
    (r"\bdram='([\w-]+)'", r"--dram \1"),
    (r"\bnode_nm\b", "--node"),
    (r"\btemperature_k\b", "--temperature"),
    (r"\brow_hit_rate\b", "--hits"),
    (r"\bclock_scale\b", "--clock-scale"),
    (r"\bgive dram\b", "give --dram"),
)
"""What an argument of `hwmodels.energy` is called where it is typed; the function that it is one of goes unsaid."""


@contextmanager
def typed(what: str) -> Iterator[None]:
    """Put what was looked up before a refusal, and options in place of the arguments that it names.

    Raises:
        SpecError: As it was raised inside.

    Example:
        >>> with typed("mac:int8"):
        ...     raise SpecError("give node_nm, as in node_nm=45")
        Traceback (most recent call last):
        workloads.errors.SpecError: mac:int8: give --node, as in --node 45
    """
    try:
        yield
    except SpecError as error:
        text = str(error)
        for argument, option in _TYPED:
            text = re.sub(argument, option, text)
        raise SpecError(text if text.startswith(f"{what}: ") else f"{what}: {text}") from None
