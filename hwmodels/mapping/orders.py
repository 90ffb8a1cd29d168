"""Loop orders of one level, collapsed into classes that differ in what they cost.

The loops of a level run above the tiles of the inner levels. Read from the inside, a tensor's tile changes first at the first
loop that indexes it: that loop *closes* the tensor, and the loops inside it are its stationary run, which costs it nothing.
Loops that index none of the tensors still open are placed at once: they are free. What is left to choose is which loop
closes which tensors, so the 6 orders of a matrix product are 3 classes, and the 5040 of a convolution 8.

For a tensor with sliding windows the closing loop matters too: consecutive tiles overlap only if that loop walks a window.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

__all__ = ["OrderClass", "order_classes"]

Dims = frozenset[int]


@dataclass(frozen=True, slots=True)
class OrderClass:
    """Orders of a level's loops that cost the same; dims and tensors by their place.

    Attributes:
        order: One of the orders, all dims, innermost first.
        runs: Of each tensor, the dims of its stationary run.
        closers: Of each tensor with windows, the window dim that closes it, or -1; -1 for the others.
    """

    order: tuple[int, ...]
    runs: tuple[Dims, ...]
    closers: tuple[int, ...]


@lru_cache(maxsize=256)
def order_classes(n_dims: int, indexed: tuple[Dims, ...], windowed: tuple[Dims, ...]) -> tuple[OrderClass, ...]:
    """Give the classes, none worse than another for every tensor.

    Args:
        n_dims: Number of dims.
        indexed: Of each tensor that has a boundary below the level, the dims that index it.
        windowed: Of each, those that share a window axis with another dim.

    Example:
        >>> m, n, k = 0, 1, 2
        >>> gemm = order_classes(3, tuple(map(frozenset, ((k, n), (m, k), (m, n)))), (frozenset(),) * 3)
        >>> [item.order[0] for item in gemm]
        [0, 1, 2]
    """
    found = {(item.runs, item.closers): item for item in _grow(n_dims, indexed, windowed, (), {}, {})}
    classes = list(found.values())
    kept = [
        one for one in classes if not any(other is not one and _no_worse(other, one) for other in classes)
    ]
    return tuple(sorted(kept, key=lambda item: item.order))


def _grow(
    n_dims: int,
    indexed: tuple[Dims, ...],
    windowed: tuple[Dims, ...],
    order: tuple[int, ...],
    runs: dict[int, Dims],
    closers: dict[int, int],
) -> Iterator[OrderClass]:
    """Place the next loop outwards in every way that can matter."""
    open_ones = [place for place in range(len(indexed)) if place not in runs]
    left = [dim for dim in range(n_dims) if dim not in order]
    free = [dim for dim in left if not any(dim in indexed[place] for place in open_ones)]
    order, left = (*order, *free), [dim for dim in left if dim not in free]
    choices = [dim for dim in left if any(dim in indexed[place] for place in open_ones)]
    if not open_ones or not choices:
        every = {**runs, **{place: frozenset(order) - indexed[place] for place in open_ones}}
        tensors = range(len(indexed))
        yield OrderClass(
            (*order, *left), tuple(every[place] for place in tensors), tuple(closers.get(place, -1) for place in tensors)
        )
        return
    for dim in choices:
        closed = {place: frozenset(order) for place in open_ones if dim in indexed[place]}
        halos = {place: dim for place in closed if dim in windowed[place]}
        yield from _grow(n_dims, indexed, windowed, (*order, dim), {**runs, **closed}, {**closers, **halos})


def _no_worse(one: OrderClass, other: OrderClass) -> bool:
    """Say whether a class costs no tensor more than another one; of two equal ones the first in order stays."""
    runs = all(mine >= yours for mine, yours in zip(one.runs, other.runs, strict=True))
    halos = all(mine == yours or yours == -1 for mine, yours in zip(one.closers, other.closers, strict=True))
    equal = one.runs == other.runs and one.closers == other.closers
    return runs and halos and not equal
