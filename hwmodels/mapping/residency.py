"""Tensors that lie whole in a buffer before an operator starts, or stay in it when it ends: their *homes*.

Without a home a tensor comes from the outermost level, and goes there. One with a home moves nothing outside it; the
whole of it takes room there, and its tiles none besides. A home of O that keeps no partial sums is a buffer that
finished outputs are written into (`BufferLevel.takes_outputs`): the next operator reads them there.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from hwmodels.mapping.problem import Operand, Problem
from hwmodels.mapping.windows import piece_words
from hwmodels.spatial import Accelerator, BufferLevel, Conventions, Role
from workloads.errors import MappingError

__all__ = ["elements_of", "home_words", "with_room"]


def elements_of(sizes: Mapping[str, int], operand: Operand, rules: Conventions) -> int:
    """Count the elements of a tensor, as the cost model does."""
    exact = rules.exact_windows or operand.role != "I"
    words = math.prod(sizes[dim] for dim in operand.dims)
    for window in operand.windows:
        pieces = [np.full(1, sizes[dim], dtype=np.int64) for dim in window.dims]
        words *= int(np.ravel(piece_words(window, pieces, exact))[0])
    return words


def home_words(problem: Problem, role: Role, level: BufferLevel, rules: Conventions) -> int:
    """Give the words that a whole tensor takes in its home: partial sums where these are kept, else its stored width.

    Args:
        problem: The operator.
        role: Which tensor.
        level: Its home.
        rules: What a word is.
    """
    operand = problem.operands[role]
    bits = problem.acc_bits if role == "O" and role in level.keeps else operand.bits
    per_element = bits / level.word_bits if rules.bit_true else 1.0
    return math.ceil(elements_of(problem.sizes, operand, rules) * per_element)


def with_room(problem: Problem, accelerator: Accelerator, rules: Conventions) -> Accelerator:
    """Give an accelerator whose levels are smaller by what resides in them.

    Raises:
        MappingError: A level is too small for what is to reside in it.
    """
    if not problem.homes:
        return accelerator
    levels = list(accelerator.levels)
    for role, place in problem.homes.items():
        level, need = levels[place], home_words(problem, role, accelerator.levels[place], rules)
        if level.capacity_words is None:
            continue
        if need > level.capacity_words:
            raise MappingError(
                f"{problem.name}: {role} takes {need:,} words, but {level.name} of {accelerator.name} has "
                f"{level.capacity_words:,} left; let it go to {accelerator.levels[0].name}"
            )
        levels[place] = replace(level, capacity_words=level.capacity_words - need)
    return replace(accelerator, levels=tuple(levels))
