"""Perfect factors as arrays: divisors, tile vectors as grids, and a code by which "divides" is one bit operation."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

__all__ = ["Floats", "Ints", "divisors", "grid", "prime_powers", "unary_codes"]

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
Codes = NDArray[np.uint64]


@lru_cache(maxsize=4096)
def divisors(n: int) -> tuple[int, ...]:
    """Give the divisors of a number, ascending.

    Example:
        >>> divisors(12)
        (1, 2, 3, 4, 6, 12)
    """
    low = [d for d in range(1, int(n**0.5) + 1) if n % d == 0]
    return tuple(sorted({*low, *(n // d for d in low)}))


def grid(columns: Sequence[NDArray[np.generic]]) -> list[NDArray[np.generic]]:
    """Spread one column per dim over all combinations, the last dim fastest.

    Args:
        columns: Values of each dim, each of shape (n_dim,).

    Returns:
        Per dim an array of shape (product of the n_dim,).

    Example:
        >>> [list(map(int, part)) for part in grid([np.array([1, 2]), np.array([1, 3])])]
        [[1, 1, 2, 2], [1, 3, 1, 3]]
    """
    shape = tuple(len(column) for column in columns)
    views = [
        np.broadcast_to(column.reshape([-1 if axis == place else 1 for axis in range(len(shape))]), shape)
        for place, column in enumerate(columns)
    ]
    return [view.reshape(-1) for view in views]


@lru_cache(maxsize=4096)
def prime_powers(n: int) -> tuple[tuple[int, int], ...]:
    """Give the primes of a number with their powers.

    Example:
        >>> prime_powers(12)
        ((2, 2), (3, 1))
    """
    found, left, prime = [], n, 2
    while left > 1:
        power = 0
        while left % prime == 0:
            left //= prime
            power += 1
        if power:
            found.append((prime, power))
        prime += 1 if prime * prime <= left else max(left - prime, 1)
    return tuple(found)


@lru_cache(maxsize=512)
def unary_codes(bounds: tuple[int, ...]) -> tuple[Codes, ...]:
    """Code the divisors of each bound as prime exponents in unary, in bits of their own.

    The code of a tile is the bitwise or of its dims' codes; tile `a` divides tile `b` in every dim exactly if
    ``code(a) & ~code(b)`` is 0. The bits are as many as the bounds have prime factors, fewer than 64 for any nest of
    fewer than 2**64 points.

    Example:
        >>> [hex(int(code)) for code in unary_codes((4, 3))[0]], [hex(int(code)) for code in unary_codes((4, 3))[1]]
        (['0x0', '0x1', '0x3'], ['0x0', '0x4'])
    """
    codes: list[Codes] = []
    bit = 0
    for bound in bounds:
        row = np.zeros(len(divisors(bound)), dtype=np.uint64)
        for prime, power in prime_powers(bound):
            for place, divisor in enumerate(divisors(bound)):
                exponent, left = 0, divisor
                while left % prime == 0:
                    exponent, left = exponent + 1, left // prime
                row[place] |= np.uint64(((1 << exponent) - 1) << bit)
            bit += power
        codes.append(row)
    return tuple(codes)
