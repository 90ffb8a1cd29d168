"""Moving one tile between the outermost level and a buffer: words, energy and the time that a port is busy."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from hwmodels.mapping.problem import Operand
from hwmodels.spatial import Accelerator, BufferLevel, Conventions
from workloads.operator import Tensor

__all__ = ["Moved", "burst_factor", "port_cycles", "tile_run"]


@dataclass(slots=True)
class Moved:
    """What is read from and written to each level, by place [words]: adds up.

    Attributes:
        accelerator: Its levels.
        out: Read.
        into: Written.
    """

    accelerator: Accelerator
    out: dict[int, float] = field(default_factory=dict)
    into: dict[int, float] = field(default_factory=dict)

    def read(self, place: int, words: float) -> None:
        """Read words from a level."""
        self.out[place] = self.out.get(place, 0.0) + words

    def write(self, place: int, words: float) -> None:
        """Write words into a level."""
        self.into[place] = self.into.get(place, 0.0) + words

    def add(self, other: Moved, times: float = 1.0) -> None:
        """Add what something else moves, several times."""
        for place, words in other.out.items():
            self.read(place, words * times)
        for place, words in other.into.items():
            self.write(place, words * times)

    def energy_j(self) -> float:
        """Give the energy of all words [J]."""
        levels = self.accelerator.levels
        return sum(words * levels[place].read_j for place, words in self.out.items()) + sum(
            words * levels[place].write_j for place, words in self.into.items()
        )

    def cycles(self, rules: Conventions, place: int) -> float:
        """Give the cycles that a level's ports take."""
        return port_cycles(self.accelerator.levels[place], rules, self.out.get(place, 0.0), self.into.get(place, 0.0))


def port_cycles(level: BufferLevel, rules: Conventions, read: float, written: float) -> float:
    """Give the cycles that the ports of a level take, as `hwmodels.mapping.timing` does."""
    out = read / level.read_words_per_cycle if level.read_words_per_cycle else 0.0
    into = written / level.write_words_per_cycle if level.write_words_per_cycle else 0.0
    return out + into if rules.shared_ports and level.shared_port else max(out, into)


def tile_run(operand: Operand | Tensor, tile: Mapping[str, int], sizes: Mapping[str, int]) -> int:
    """Count the elements of a tile that lie side by side in a tensor that is stored row by row.

    Args:
        operand: A tensor whose axes are single dims, or digits of one number.
        tile: Size of the tile in each dim.
        sizes: Of the whole.

    Example:
        >>> from workloads import axis
        >>> tile_run(Tensor(name="x", axes=(axis("m"), axis("n"))), {"m": 4, "n": 8}, {"m": 16, "n": 8})
        32
    """
    if isinstance(operand, Tensor):
        order = [dim for item in operand.axes for _, dim in sorted(item.terms, reverse=True)]
    else:
        order = [entry for entry in operand.layout if isinstance(entry, str)]
    run = 1
    for dim in reversed(order):
        run *= tile[dim]
        if tile[dim] != sizes[dim]:
            break
    return run


def burst_factor(level: BufferLevel, rules: Conventions, run: float, bits: float) -> float:
    """Give how many words move per word that is asked for, where runs of elements are rounded up to bursts."""
    if not rules.bursts or not level.burst_bits:
        return 1.0
    asked = run * (bits if rules.bit_true else level.word_bits)
    return math.ceil(asked / level.burst_bits) * level.burst_bits / asked
