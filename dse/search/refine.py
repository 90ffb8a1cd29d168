"""Local refinement: look at every neighbour of the front until none is left to look at.

Source: Paquete, Chiarandini, Stuetzle, Pareto local optimum sets in the biobjective traveling salesman problem, LNEMS
535, 2004 (Pareto local search).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dse.pareto import non_dominated
from dse.search.protocol import Proposals, Search, seed_of
from dse.space import Genes, Space

__all__ = ["local_refine"]


def local_refine(
    space: Space, starts: ArrayLike, *, rng: np.random.Generator, batch: int = 4096, step: float = 0.02
) -> Search:
    """Search the neighbourhood of a front, of another search's result, until no neighbour is new.

    A neighbour differs in one gene: by one step of a list of values, by `step` of a range. With constraints only points
    that meet them count, and while none does, the one that comes closest.

    Args:
        space: Discrete genes, continuous ones, or both.
        starts: Genes of the front, shape (n, genes).
        rng: Chooses which points of the front are explored first.
        batch: About as many points per batch.
        step: Step of a continuous gene, as a fraction of its range.

    Returns:
        A search that ends by itself on a discrete space.

    Example:
        >>> from dse.running import run
        >>> space = Space(x=[1, 2, 3, 4])
        >>> search = local_refine(space, [[3]], rng=np.random.default_rng(0))
        >>> run(search, lambda p: {"cost": p.x**2}, budget=10, minimize=["cost"]).best("cost").points.x
        array([1.])
    """
    genes = np.unique(np.asarray(starts, dtype=np.float64).reshape(-1, space.genes), axis=0)
    settings = {"batch": batch, "step": step, "starts": genes.tolist()}
    return Search("local_refine", space, _refine(space, genes, rng, batch, step), seed_of(rng), settings)


def _refine(space: Space, genes: Genes, rng: np.random.Generator, batch: int, step: float) -> Proposals:
    seen = {row.tobytes() for row in genes}
    objectives, violation = yield genes
    explored = np.zeros(len(genes), dtype=bool)
    while True:
        kept = _best(objectives, violation)
        genes, objectives, violation, explored = genes[kept], objectives[kept], violation[kept], explored[kept]
        open_rows = rng.permutation(np.flatnonzero(~explored))[: max(1, batch // (2 * space.genes))]
        if not len(open_rows):
            return
        explored[open_rows] = True
        fresh = _unseen(_neighbours(space, genes[open_rows], step), seen)
        if not len(fresh):
            continue
        seen.update(row.tobytes() for row in fresh)
        more, over = yield fresh
        genes = np.concatenate([genes, fresh])
        explored = np.concatenate([explored, np.zeros(len(fresh), dtype=bool)])
        objectives, violation = np.concatenate([objectives, more]), np.concatenate([violation, over])


def _best(objectives: Genes, violation: Genes) -> NDArray[np.intp]:
    """Give the rows of the front among the points that meet the constraints, or of the point that comes closest."""
    allowed = np.flatnonzero((violation <= 0) & np.isfinite(objectives).all(axis=1))
    if not len(allowed):
        return np.array([np.argmin(violation)])
    return allowed[non_dominated(objectives[allowed])]


def _neighbours(space: Space, genes: Genes, step: float) -> Genes:
    """Give every point that differs from one of genes by one step of one gene; some may be outside or twice in it."""
    counts = space.cardinalities
    width = np.diag(np.where(counts > 0, 1.0, step))
    moved = (genes[:, None, :] + np.concatenate([width, -width])).reshape(-1, space.genes)
    top = np.where(counts > 0, counts - 1, 1)
    inside = ((moved >= 0) & (moved <= top)).all(axis=1)
    return np.unique(moved[inside], axis=0)


def _unseen(genes: Genes, seen: set[bytes]) -> Genes:
    new = np.flatnonzero([row.tobytes() not in seen for row in genes])
    fresh: Genes = genes[new]
    return fresh
