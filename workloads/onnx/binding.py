"""Sizes for the symbolic dims of a graph's inputs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from numbers import Integral

from workloads.errors import WorkloadError, nearest

__all__ = ["GraphInput", "bind_dims"]

ALIASES = {"batch": 0, "seq": 1}
"""What users say, and the input axis that it usually is."""


@dataclass(frozen=True, slots=True)
class GraphInput:
    """One graph input: name, format code, and per axis a size or a symbol."""

    name: str
    code: int
    dims: tuple[int | str, ...]


def bind_dims(inputs: Sequence[GraphInput], bind: Mapping[str, int], model: str) -> dict[str, int]:
    """Give every symbol of the inputs a size.

    `bind` takes the graph's own symbols and the aliases `batch` (a symbol on axis 0) and `seq` (a symbol on axis 1).

    Args:
        inputs: The graph's inputs.
        bind: Name to size.
        model: Name of the file, for messages.

    Returns:
        Symbol to size.

    Raises:
        WorkloadError: A symbol has no size, a name fits nothing, a size is impossible.
    """
    for name, size in bind.items():
        if isinstance(size, bool) or not isinstance(size, Integral) or size < 1:
            raise WorkloadError(f"{model}: cannot bind {name}={size!r}: a size is a whole number of at least 1")
    bind = {name: int(size) for name, size in bind.items()}  # a NumPy integer would show in digests
    symbols: dict[str, str] = {}
    for item in inputs:
        for position, dim in enumerate(item.dims):
            if isinstance(dim, str):
                symbols.setdefault(dim, f"axis {position} of input {item.name!r}")
    sizes = {symbol: bind[symbol] for symbol in symbols if symbol in bind}
    used = set(sizes)
    for alias, position in ALIASES.items():
        if alias not in bind or alias in symbols:
            continue
        fixed = [item for item in inputs if len(item.dims) > position and item.dims[position] == bind[alias]]
        found = {item.dims[position] for item in inputs if len(item.dims) > position}
        for symbol in found:
            if isinstance(symbol, str) and symbol not in sizes:
                sizes[symbol] = bind[alias]
                used.add(alias)
        if fixed:
            used.add(alias)
    _refuse_unused(inputs, symbols, bind, used, model)
    missing = [symbol for symbol in symbols if symbol not in sizes]
    if missing:
        listed = "; ".join(f"{symbol} ({symbols[symbol]})" for symbol in missing)
        example = ",".join(f"{symbol}=1" for symbol in missing)
        example = example if example.replace("=", "").replace(",", "").isidentifier() else f"'{example}'"
        raise WorkloadError(
            f"{model}: no size for {listed}. Bind it: --bind {example} (aliases: batch for axis 0, seq for axis 1)"
        )
    return sizes


def _refuse_unused(
    inputs: Sequence[GraphInput], symbols: Mapping[str, str], bind: Mapping[str, int], used: set[str], model: str
) -> None:
    for name, size in bind.items():
        if name in used:
            continue
        position = ALIASES.get(name)
        if position is not None:
            fixed = [item for item in inputs if len(item.dims) > position and isinstance(item.dims[position], int)]
            if fixed:
                raise WorkloadError(
                    f"{model}: cannot bind {name}={size}: axis {position} of input {fixed[0].name!r} is fixed at "
                    f"{fixed[0].dims[position]} in the file; bind that size, or export the model with a dynamic axis"
                )
        ranks = {len(item.dims) for item in inputs}
        aliases = [alias for alias, axis in ALIASES.items() if any(rank > axis for rank in ranks)]
        known = dict.fromkeys((*symbols, *aliases))
        raise WorkloadError(f"{model}: cannot bind {name}={size}: no input has such a dim; {nearest(name, known)}")
