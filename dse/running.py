"""`run`: drive a search with a model until its budget is spent, through a store if there is one."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from dse.batches import Model, check_against_rows, evaluate_chunks
from dse.constraints import Bounds, total_violation
from dse.digests import digest_of
from dse.knobs import Genes
from dse.pareto import objective_matrix
from dse.results import Result
from dse.search.protocol import Search
from dse.store import Part, load_part, open_run, save_part
from workloads.errors import SpaceError, StoreError

__all__ = ["run"]


def run(
    search: Search,
    model: Model,
    *,
    budget: int,
    minimize: Sequence[str],
    constraints: Bounds | None = None,
    store: str | Path | None = None,
    chunk: int | None = None,
    check_rows: int = 3,
    map: Callable[..., Iterable[Any]] = map,
    progress: Callable[[int, int], None] | None = None,
) -> Result:
    """Cost what a search proposes, until the budget is spent or the search ends.

    Args:
        search: `exhaustive`, `random_search`, `nsga2`, or a user's own. It can be run once.
        model: As in `sweep`.
        budget: Most points to cost; points that the store answers count. A search of a smaller space ends before.
        minimize: Objectives; "-column" is maximised.
        constraints: The search is told how far points are outside.
        store: Run directory, made on first use. The same search started again goes on where it was killed; with a
            larger budget, where it ended.
        chunk: Points per batch of the model; default: `batches.chunk_size`.
        check_rows: Random rows of the first batch that are costed again one by one and compared.
        map: Any `map`, over chunks of genes.
        progress: Called as progress(points done, budget).

    Returns:
        Every point that was costed; the best are `Result.pareto(constraints=...)`.

    Raises:
        SpaceError: As in `sweep`; or the budget is not positive, or the search leaves its space.
        StoreError: The store belongs to another run; the message names what changed.

    Example:
        >>> from dse.search import random_search
        >>> from dse.space import Space
        >>> space = Space(x=[1, 2, 3])
        >>> rng = np.random.default_rng(0)
        >>> found = run(random_search(space, rng=rng), lambda p: {"cost": p.x**2}, budget=50, minimize=["cost"])
        >>> len(found), found.best("cost").points.x
        (3, array([1.]))
    """
    if budget < 1:
        raise SpaceError(f"a budget of {budget} points leaves nothing to cost; give at least 1")
    names, bounds = tuple(minimize), constraints or {}
    folder = None if store is None else Path(store)
    if folder is not None:
        open_run(folder, _description(search, model, names, bounds))
    job = _Job(search, model, folder, chunk, check_rows, map)
    parts: list[Part] = []
    done = 0
    try:
        genes = next(search.proposals)
        while True:
            part = job.answer(len(parts), genes[: budget - done])
            parts.append(part)
            done += len(part.genes)
            if progress is not None:
                progress(done, budget)
            if done >= budget:
                break
            objectives = objective_matrix(part.columns, names)
            genes = search.proposals.send((objectives, total_violation(part.columns, bounds)))
    except StopIteration:
        pass
    return _joined(search, parts, names)


@dataclass(frozen=True, slots=True, eq=False)
class _Job:
    """What stays the same from batch to batch."""

    search: Search
    model: Model
    folder: Path | None
    chunk: int | None
    check_rows: int
    map: Callable[..., Iterable[Any]]

    def answer(self, number: int, genes: Genes) -> Part:
        """Give a batch's columns: from the store as far as it reaches, the rest from the model."""
        genes = np.array(genes, dtype=np.float64)  # the search may go on writing into its own
        inside = self.search.space.contains(genes) if len(genes) else np.zeros(1, dtype=bool)
        if not inside.all():
            raise SpaceError(
                f"the search {self.search.name!r} proposes {(~inside).sum()} points outside its space"
                if len(genes)
                else f"the search {self.search.name!r} proposes an empty batch; end the generator instead"
            )
        stored = None if self.folder is None else load_part(self.folder, number, self.search.space.genes)
        if stored is None:
            part = Part(genes, self.cost(genes, self.check_rows if number == 0 else 0))
        else:
            part = self.extended(stored, number, genes)
        if self.folder is not None and (stored is None or len(stored.genes) < len(genes)):
            save_part(self.folder, number, part)
        return part

    def extended(self, stored: Part, number: int, genes: Genes) -> Part:
        """Check a stored batch against what the search proposes, and cost what it lacks (the budget has grown)."""
        known = min(len(stored.genes), len(genes))
        if not np.array_equal(stored.genes[:known], genes[:known]):
            raise StoreError(
                f"{self.folder}: the search proposes other points than stored part {number} holds; its code, or "
                "NumPy's random streams, have changed. Give another directory"
            )
        columns = {name: values[:known] for name, values in stored.columns.items()}
        if known < len(genes):
            more = self.cost(genes[known:], 0)
            columns = {name: np.concatenate([values, more[name]]) for name, values in columns.items()}
        return Part(genes, columns)

    def cost(self, genes: Genes, check_rows: int) -> dict[str, Any]:
        """Ask the model."""
        columns = evaluate_chunks(self.search.space, self.model, genes, chunk=self.chunk, map=self.map)
        check_against_rows(self.search.space, self.model, genes, columns, check_rows, np.random.default_rng(0))
        return columns


def _joined(search: Search, parts: Sequence[Part], minimize: tuple[str, ...]) -> Result:
    if not parts:
        raise SpaceError(f"the search {search.name!r} proposed no points; it can be run once: make a new one")
    genes = np.concatenate([part.genes for part in parts])
    columns = {name: np.concatenate([part.columns[name] for part in parts]) for name in parts[0].columns}
    return Result(search.space.decode(genes), genes, columns, minimize)


def _description(search: Search, model: Model, minimize: tuple[str, ...], bounds: Bounds) -> dict[str, Any]:
    """Give what determines a run, and what its report cites."""
    describe = getattr(model, "describe", None)
    about: Mapping[str, Any] = describe(search.space) if callable(describe) else {"model": {"digest": digest_of(model)}}
    return {
        "search": search.name,
        "seed": search.seed,
        "settings": dict(search.settings),
        "space": search.space.to_dict(),
        "space_digest": search.space.digest(),
        "minimize": list(minimize),
        "constraints": {
            name: {side: limit for side, limit in zip(("low", "high"), pair, strict=True) if limit is not None}
            for name, pair in bounds.items()
        },
        **about,
    }
