"""What a search for a fused mapping gives back, and how it prints."""

from __future__ import annotations

from collections.abc import Mapping as MappingABC
from dataclasses import dataclass

from hwmodels.cascades.chain import Cascade
from hwmodels.cascades.choices import Choice
from hwmodels.cascades.costing import Totals
from hwmodels.cascades.unfused import Unfused
from hwmodels.mapping.mapper.goals import Objective
from hwmodels.mapping.problem import problem_of
from hwmodels.mapping.records import Mapping
from hwmodels.mapping.text import mapping_text, pieces_text
from hwmodels.spatial import Accelerator, Conventions

__all__ = ["FusedResult"]

SPACE = (
    "tiles of shared dims that divide, all orders of the loops over them, every operand resident or not by itself, "
    "functions on whole tiles or in passing, rows whole or online, in series or overlapping; products in all mappings "
    "with perfect factors"
)
"""What a proof holds within."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class FusedResult:
    """The best fused mapping, beside the operators one by one.

    Attributes:
        cascade: What is computed.
        accelerator: On what.
        conventions: How it was counted.
        objective: What was looked for.
        choice: Loops that all stages run inside, residents, modes.
        mappings: Of the products of a tile, in order.
        iterations: Of the shared loops.
        cost: Energy by component, cycles, busy cycles by engine, words by level.
        extra_flops: Of an online form.
        value: Of the objective: energy [J], cycles, or their product.
        lower_bound: No fused mapping of the space has less.
        candidates: Choices of loops and residents that a bound was computed for.
        opened: Those whose products were mapped.
        searches: Products that were mapped.
        unfused: The operators one by one, each product best for itself.
    """

    cascade: Cascade
    accelerator: Accelerator
    conventions: Conventions
    objective: Objective
    choice: Choice
    mappings: tuple[Mapping, ...]
    iterations: int
    cost: Totals
    extra_flops: float
    value: float
    lower_bound: float
    candidates: int
    opened: int
    searches: int
    unfused: Unfused

    @property
    def gap(self) -> float:
        """Relative distance of the best to the lower bound; 0: proven."""
        return (self.value - self.lower_bound) / self.value if self.value else 0.0

    @property
    def latency_s(self) -> float:
        """Of one execution [s]."""
        return self.cost.cycles / self.accelerator.clock_hz

    @property
    def energy_j(self) -> float:
        """Of one execution, static power included [J]."""
        return self.cost.energy_j

    @property
    def edp_js(self) -> float:
        """Energy x latency [J s]."""
        return self.energy_j * self.latency_s

    @property
    def busy_s(self) -> MappingABC[str, float]:
        """Time that the array, each engine and the outermost port work [s]."""
        return {name: cycles / self.accelerator.clock_hz for name, cycles in self.cost.busy.items()}

    @property
    def read_bytes(self) -> MappingABC[str, float]:
        """By level [B]."""
        return self._bytes(self.cost.moved.out)

    @property
    def written_bytes(self) -> MappingABC[str, float]:
        """By level [B]."""
        return self._bytes(self.cost.moved.into)

    @property
    def outer_bytes(self) -> float:
        """Moved at the outermost level [B]."""
        name = self.accelerator.levels[0].name
        return self.read_bytes.get(name, 0.0) + self.written_bytes.get(name, 0.0)

    def changes(self) -> MappingABC[str, float]:
        """Give what fusing changes, as a fraction of the unfused: negative is a gain."""
        return {
            "latency": self.latency_s / self.unfused.latency_s - 1.0,
            "energy": self.energy_j / self.unfused.energy_j - 1.0,
            "edp": self.edp_js / self.unfused.edp_js - 1.0,
            "outer_bytes": self.outer_bytes / self.unfused.outer_bytes - 1.0,
        }

    def _bytes(self, words: MappingABC[int, float]) -> dict[str, float]:
        return {
            level.name: words[place] * level.word_bits / 8
            for place, level in enumerate(self.accelerator.levels)
            if place in words
        }

    def __str__(self) -> str:
        return fused_text(self)


def fused_text(result: FusedResult) -> str:
    """Write a fused mapping as a loop nest: shared loops, residents, then each stage."""
    levels = result.accelerator.levels
    left, tile = dict(result.cascade.sizes), dict(result.choice.tile)
    mode = "overlapping" if result.choice.overlap else "in series"
    lines = [f"{levels[0].name}: {result.iterations} iterations, stages {mode}"]
    for depth, dim in enumerate(result.choice.order, start=1):
        lines.append(f"{'| ' * depth}for {dim} by {tile[dim]}    # {pieces_text(left[dim], tile[dim])}")
        left[dim] = tile[dim]
    bars = "| " * (len(result.choice.order) + 1)
    for at, (link, homes, mapping) in enumerate(
        zip(result.cascade.links, result.choice.homes, result.mappings, strict=True)
    ):
        names = {role: tensor.name for role, tensor in problem_of(link.product).operands.items()}
        for role, place in homes:
            lines.append(f"{bars}{names[role]} ({role} of {link.product.name}) lies in {levels[place].name}")
        lines.append(f"{bars}{link.product.name}:")
        sizes = {dim: tile.get(dim, size) for dim, size in link.product.dims.items()}
        lines += [f"{bars}  {line}" for line in mapping_text(mapping, sizes).splitlines()]
        if link.functions:
            how = {"whole": "on whole tiles", "passing": "in passing"}[result.choice.sources[at]]
            online = ", online" if at == 0 and result.choice.online else ""
            lines.append(f"{bars}{' + '.join(op.op_type for op in link.functions)} {how}{online}")
    return "\n".join(lines)
