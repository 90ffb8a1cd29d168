"""Verify a certificate without the mapper: `check_certificate(path)`.

Only the cost model is shared with the search. The checker re-evaluates the mappings, then goes through the whole space
itself: all bypass patterns and spatial vectors, all tiles level by level, which loop is innermost, at last every order
of the loops. What has a lower bound (`checking`) no better than the claim is discarded with all that is inside it; the
mappings that are left are priced one by one. So the report is right if the cost model and these bounds are, whatever
the search did.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from collections.abc import Mapping as MappingABC
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hwmodels.mapping.checking.claims import Claim, read_certificate
from hwmodels.mapping.checking.classes import Spread, bypass_patterns, inwards, spreads
from hwmodels.mapping.checking.orders import every_order, order_count
from hwmodels.mapping.checking.prices import fitting, least_costs
from hwmodels.mapping.checking.settings import Classes, Setting, setting_of
from hwmodels.mapping.problem import Problem, problem_on
from hwmodels.mapping.records import Mapping
from hwmodels.mapping.text import mapping_text
from hwmodels.mapping.traffic import Traffic, evaluate
from workloads.errors import MappingError

__all__ = ["Report", "check_certificate"]

Floats = NDArray[np.float64]

SAME = 1e-9
"""Relative difference below which two costs are taken for the same: they come from sums in different orders."""

MOST_MAPPINGS = 2_000_000
"""Mappings that are priced one by one before the checker gives up: a minute or two of one core."""

_ROWS = 1 << 15


@dataclass(frozen=True, slots=True)
class Report:
    """What a check came to.

    Attributes:
        ok: The claim holds.
        lines: To print: what was claimed, what each stage discarded, the verdict.
        fault: Why it does not hold; "" if it does.
        better: A mapping that the claim says does not exist.
    """

    ok: bool
    lines: tuple[str, ...]
    fault: str = ""
    better: Mapping | None = None

    def __str__(self) -> str:
        return "\n".join(self.lines)


def check_certificate(
    source: str | os.PathLike[str] | MappingABC[str, Any], most_mappings: int = MOST_MAPPINGS
) -> Report:
    """Verify a certificate: its mappings cost what it says, and no mapping of its space is better.

    Args:
        source: A file of `write_certificate`, or what `certificate` gives.
        most_mappings: Mappings to price one by one before giving up (the claim is then not verified).

    Raises:
        MappingError: The certificate cannot be read.

    Example:
        >>> from hwmodels.mapping import REFERENCE, ROLES, Accelerator, BufferLevel, search
        >>> from hwmodels.mapping.cases import gemm_operator
        >>> from hwmodels.mapping.certificate import certificate
        >>> dram = BufferLevel(name="DRAM", keeps=ROLES, capacity_words=None, word_bits=8, read_j=1.0, write_j=1.0)
        >>> buffer = BufferLevel(name="Buffer", keeps=ROLES, capacity_words=12, word_bits=8)
        >>> toy = Accelerator(name="toy", levels=(dram, buffer), mac_j=0.0, conventions=REFERENCE)
        >>> written = certificate(search(gemm_operator("g", {"M": 4, "N": 4, "K": 4}), toy, "energy"))
        >>> check_certificate(written).ok, check_certificate({**written, "lower_bound": 90.0}).fault
        (True, 'the lower bound 90 is above the value 80')
    """
    try:
        claim = read_certificate(source)
        lines = [_headline(claim)]
    except (ArithmeticError, AttributeError, KeyError, RecursionError, TypeError, ValueError) as error:
        where = source if isinstance(source, str | os.PathLike) else "certificate"
        raise MappingError(f"{where}: cannot be read ({error}); write it again with write_certificate") from error
    try:
        _reevaluate(claim)
        lines.append(f"re-evaluated: {len(claim.mappings)} mapping(s), costs as claimed")
        proof = _Proof(claim, problem_on(claim.operator, claim.accelerator, claim.conventions), most_mappings)
        proof.run()
    except _RefutedError as refuted:
        fault = str(refuted)
        shown = [f"FAILED: {fault}"]
        if refuted.better is not None:
            shown.append(mapping_text(refuted.better, claim.operator.dims))
        return Report(False, (*lines, *shown), fault, refuted.better)
    verdict = "VERIFIED: no mapping of the space is better than the claim"
    return Report(True, (*lines, *proof.lines(), verdict))


class _RefutedError(Exception):
    """The claim does not hold, or could not be verified."""

    def __init__(self, fault: str, better: Mapping | None = None) -> None:
        super().__init__(fault)
        self.better = better


def _headline(claim: Claim) -> str:
    sizes = ", ".join(f"{dim} {size}" for dim, size in claim.operator.dims.items())
    kind = "relaxed" if claim.relaxed else "wired"
    return (
        f"claim: {claim.objective} of {claim.operator.name} ({sizes}) on {claim.accelerator.name}, "
        f"{claim.conventions.name} conventions, {claim.factors} factors, {kind}: {claim.value:.9g}, "
        f"nothing below {claim.lower_bound:.9g}"
    )


def _value(objective: str, energy: Floats, cycles: Floats) -> Floats:
    return {"energy": energy, "latency": cycles}.get(objective, energy * cycles)


def _reevaluate(claim: Claim) -> None:
    """Price the claimed mappings."""
    if claim.factors != "perfect":
        raise _RefutedError(f"the claim is about {claim.factors} factors; only perfect ones can be checked")
    try:
        cost = evaluate(claim.operator, claim.accelerator, claim.mappings, claim.conventions, claim.relaxed)
        for row in range(len(cost)):
            cost.require_fit(row)
    except MappingError as error:
        raise _RefutedError(f"a claimed mapping is not valid: {error}") from None
    for row, (energy, cycles) in enumerate(claim.costs):
        _require_same("energy [J]", energy, float(cost.energy_j[row]))
        _require_same("cycles", cycles, float(cost.cycles[row]))
    _require_same("value", claim.value, float(_value(claim.objective, cost.energy_j, cost.cycles)[0]))
    if not claim.lower_bound <= claim.value * (1 + SAME):
        raise _RefutedError(f"the lower bound {claim.lower_bound:.9g} is above the value {claim.value:.9g}")
    if (np.diff(cost.cycles) <= 0).any() or (np.diff(cost.energy_j) >= 0).any():
        raise _RefutedError("of the points of the front one beats another, or they are not in ascending cycles")
    if claim.objective != "pareto" and len(claim.mappings) != 1:
        raise _RefutedError(f"{len(claim.mappings)} mappings are claimed to be the one best")


def _require_same(what: str, claimed: float, true: float) -> None:
    if not abs(claimed - true) <= SAME * abs(true):
        raise _RefutedError(f"the {what} of a claimed mapping is {true:.9g}, not {claimed:.9g}")


@dataclass(slots=True)
class _Stage:
    """What one stage has seen: mutable, because classes come in chunks.

    Attributes:
        name: What it decides.
        seen: Classes.
        tight: Of them, those whose tile does not fit.
        discarded: Of them, those whose bound is no better than the claim.
        least: Least bound among these, over the claim; of a front it has no meaning.
    """

    name: str
    seen: int = 0
    tight: int = 0
    discarded: int = 0
    least: float = np.inf

    def __str__(self) -> str:
        left = self.seen - self.tight - self.discarded
        fit = f", {self.tight:,} do not fit" if self.tight else ""
        least = f" (bounds from {self.least:.6f} of the claim)" if np.isfinite(self.least) else ""
        return f"{self.name}: {self.seen:,} classes{fit}, {self.discarded:,} discarded{least}, {left:,} left"


@dataclass(slots=True)
class _Proof:
    """The walk through the space: mutable, because it counts.

    Attributes:
        claim: What is held against it.
        problem: The operator.
        most: Mappings to price.
        stages: Counts by level of the innermost decided tile.
        priced: Mappings that were priced.
        patterns: Bypass patterns.
    """

    claim: Claim
    problem: Problem
    most: int
    stages: list[_Stage] = field(default_factory=list)
    priced: int = 0
    patterns: int = 0

    def run(self) -> None:
        """Go through everything.

        Raises:
            _RefutedError: Something is better than the claim, or there is too much to price.
        """
        claim = self.claim
        names = [level.name for level in claim.accelerator.levels]
        self.stages = [_Stage("bypass and spatial vectors"), *(_Stage(f"tiles of {name}") for name in names[1:])]
        vectors = spreads(self.problem, claim.accelerator, claim.relaxed)
        factors = np.array([vector.factors for vector in vectors], dtype=np.int64)
        fill = np.array([vector.fill for vector in vectors], dtype=np.int64)
        for keeps in bypass_patterns(claim.accelerator, claim.relaxed):
            self.patterns += 1
            setting = setting_of(self.problem, claim.accelerator, claim.conventions, keeps, factors, fill)
            n = len(vectors)
            sizes = np.broadcast_to(np.array(setting.sizes, dtype=np.int64), (n, 1, len(setting.sizes)))
            self._descend(setting, vectors, Classes(np.arange(n), sizes, np.zeros((n, 0), dtype=np.int64)))

    def lines(self) -> Iterator[str]:
        """Say what every stage came to."""
        vectors = self.stages[0].seen // max(self.patterns, 1)
        yield f"space: {self.patterns} bypass patterns, {vectors:,} spatial vectors"
        yield from map(str, self.stages)
        yield f"every order of the rest: {self.priced:,} mappings priced, none better"

    def _descend(self, setting: Setting, vectors: Sequence[Spread], classes: Classes) -> None:
        """Discard what cannot be better; decide one more level of the rest, or price it."""
        stage = self.stages[classes.tiles.shape[1] - 1]
        stage.seen += len(classes)
        fits = fitting(setting, classes)
        stage.tight += int((~fits).sum())
        classes = classes.take(fits)
        if not len(classes):
            return
        energy, cycles = least_costs(setting, classes)
        better = self._better(energy, cycles)
        stage.discarded += int((~better).sum())
        if not better.all() and self.claim.objective != "pareto":
            value = _value(self.claim.objective, energy[~better], cycles[~better])
            stage.least = min(stage.least, float(value.min()) / self.claim.value)
        classes = classes.take(better)
        if not len(classes):
            return
        if classes.tiles.shape[1] == setting.depth:
            self._price(setting, vectors, classes)
            return
        for rows in range(0, len(classes), _ROWS):
            for part in _gathered(inwards(setting, classes.take(slice(rows, rows + _ROWS)))):
                self._descend(setting, vectors, part)

    def _better(self, energy: Floats, cycles: Floats) -> NDArray[np.bool_]:
        """Say which costs, or bounds of costs, the claim says do not exist."""
        claim = self.claim
        less = 1.0 - SAME
        if claim.objective != "pareto":
            return np.asarray(_value(claim.objective, energy, cycles) < claim.lower_bound * less)
        front_energy, front_cycles = np.array(claim.costs).T
        place = np.searchsorted(front_cycles, cycles / less, side="right") - 1
        level = np.where(place >= 0, front_energy[np.maximum(place, 0)], np.inf)
        beyond = energy < level * less
        if claim.lower_bound < claim.value * less:  # a front with a gap: only products below the bound are excluded
            beyond &= energy * cycles < claim.lower_bound * less
        return np.asarray(beyond)

    def _price(self, setting: Setting, vectors: Sequence[Spread], classes: Classes) -> None:
        """Price every order of the loops of some classes."""
        count = order_count(setting, vectors, classes)
        if self.priced + count > self.most:
            raise _RefutedError(
                f"not verified: more than {self.most:,} mappings would have to be priced one by one; "
                "allow more (most_mappings)"
            )
        self.priced += count
        for batch in every_order(setting, vectors, classes):
            cost: Traffic = evaluate(self.problem, self.claim.accelerator, batch, self.claim.conventions, relaxed=True)
            better = self._better(cost.energy_j, cost.cycles)
            if better.any():
                value = _value(self.claim.objective, cost.energy_j, cost.cycles)
                row = int(np.argmin(np.where(better, value, np.inf)))
                raise _RefutedError(
                    f"a mapping has {value[row]:.9g} (energy {cost.energy_j[row]:.9g} J, {cost.cycles[row]:.9g} "
                    f"cycles), which is better than the claim of {self.claim.lower_bound:.9g}",
                    batch.mapping(row),
                )


def _gathered(parts: Iterator[Classes]) -> Iterator[Classes]:
    """Join small pieces, so that arithmetic is on long arrays."""
    some: list[Classes] = []
    for part in parts:
        some.append(part)
        if sum(map(len, some)) >= _ROWS:
            yield _joined(some)
            some = []
    if some:
        yield _joined(some)


def _joined(parts: Sequence[Classes]) -> Classes:
    return Classes(*(np.concatenate([getattr(part, name) for part in parts]) for name in ("vector", "tiles", "inner")))
