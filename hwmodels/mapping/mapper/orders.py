"""Loop orders of one level, collapsed into those that can differ in what they cost.

The loops of a level run above the tiles of the inner levels. Read from the inside, a tensor's tile changes first at the
first loop that indexes it: that loop *closes* the tensor, and the loops inside it are its stationary run, which costs
it nothing. Loops that index none of the tensors still open are placed at once: they are free. What is left to choose is
which loop closes which tensors, so the 6 orders of a matrix product are 3 classes (`order_classes`).

For a tensor with sliding windows consecutive tiles overlap, and the order of all its loops matters. `window_orders`
gives every order that can differ for it or for a stationary run.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from itertools import permutations, product

__all__ = ["Dims", "Order", "OrderClass", "order_classes", "window_orders"]

Dims = frozenset[int]
Order = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class OrderClass:
    """Orders of a level's loops that cost the same; dims and tensors by their place.

    Attributes:
        order: One of the orders, innermost first.
        runs: Of each tensor, the dims of its stationary run.
    """

    order: Order
    runs: tuple[Dims, ...]


@lru_cache(maxsize=256)
def order_classes(n_dims: int, indexed: tuple[Dims, ...]) -> tuple[OrderClass, ...]:
    """Give the classes for tensors without windows, none worse than another for every tensor.

    With windows, every order still has runs that are part of those of one class.

    Args:
        n_dims: Number of dims.
        indexed: Of each tensor that the loops drive, the dims that index it.

    Example:
        >>> m, n, k = 0, 1, 2
        >>> gemm = order_classes(3, tuple(map(frozenset, ((k, n), (m, k), (m, n)))))
        >>> [item.order[0] for item in gemm]
        [0, 1, 2]
    """
    found = {item.runs: item for item in _grow(n_dims, indexed, (), {})}
    kept = [
        one
        for one in found.values()
        if not any(other is not one and _at_least(other.runs, one.runs) for other in found.values())
    ]
    return tuple(sorted(kept, key=lambda item: item.order))


def _at_least(mine: tuple[Dims, ...], yours: tuple[Dims, ...]) -> bool:
    return all(one >= other for one, other in zip(mine, yours, strict=True))


def _grow(n_dims: int, indexed: tuple[Dims, ...], order: Order, runs: dict[int, Dims]) -> Iterator[OrderClass]:
    """Place the next loop outwards in every way that can matter."""
    open_ones = [place for place in range(len(indexed)) if place not in runs]
    left = [dim for dim in range(n_dims) if dim not in order]
    free = [dim for dim in left if not any(dim in indexed[place] for place in open_ones)]
    order, left = (*order, *free), [dim for dim in left if dim not in free]
    if not left:
        every = {**runs, **{place: frozenset(order) - indexed[place] for place in open_ones}}
        yield OrderClass(order, tuple(every[place] for place in range(len(indexed))))
        return
    for dim in left:
        closed = {place: frozenset(order) for place in open_ones if dim in indexed[place]}
        yield from _grow(n_dims, indexed, (*order, dim), {**runs, **closed})


@lru_cache(maxsize=1024)
def window_orders(dims: Dims, indexed: tuple[Dims, ...], whole: tuple[Dims | None, ...]) -> tuple[OrderClass, ...]:
    """Give the orders of some dims that can differ for tensors with windows.

    A dim that indexes an axis alone changes the whole tile: outside its loop no step finds an overlap. So an order is
    no better than another one with the same or longer stationary runs in which that loop is further out and the loops
    inside it are in the same order.

    Args:
        dims: Those with a loop.
        indexed: Of each tensor that the loops drive, the dims that index it.
        whole: Of each tensor with windows, the dims that index an axis alone; None: a tensor without windows.

    Example:
        >>> p, r, c, k = range(4)
        >>> conv = tuple(map(frozenset, ((r, c, k), (p, r, c), (p, k))))
        >>> [item.order for item in window_orders(frozenset({p, c}), conv, (None, frozenset({c}), None))]
        [(0, 2), (2, 0)]
    """
    found: dict[_Key, OrderClass] = {}
    for order in permutations(sorted(dims)):
        runs = tuple(_run(order, own) for own in indexed)
        alive = tuple(_alive(order, alone) for alone in whole if alone is not None)
        found.setdefault((runs, alive), OrderClass(order, runs))
    longer: dict[tuple[Order, ...], list[_Key]] = {}
    for key in found:
        for inside in product(*[[part[:length] for length in range(len(part) + 1)] for part in key[1]]):
            longer.setdefault(inside, []).append(key)
    return tuple(
        item
        for key, item in found.items()
        if not any(other != key and _at_least(other[0], key[0]) for other in longer[key[1]])
    )


_Key = tuple[tuple[Dims, ...], tuple[Order, ...]]
"""Stationary runs by tensor, and by tensor with windows the loops inside the first that changes the whole tile."""


def _run(order: Order, own: Dims) -> Dims:
    inside = []
    for dim in order:
        if dim in own:
            break
        inside.append(dim)
    return frozenset(inside)


def _alive(order: Order, alone: Dims) -> Order:
    """Give the loops inside the first one that changes the whole tile."""
    stop = next((place for place, dim in enumerate(order) if dim in alone), len(order))
    return order[:stop]
