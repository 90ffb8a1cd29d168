"""Start points for searches whose objectives nearly add over genes: weighted sums, minimised gene by gene.

If every objective were a sum over genes, the points that minimise sum_o w_o f_o for all weights w would be the convex
part of the front, exactly (the Lagrangian form of the per-layer bit allocation of Dong et al., HAWQ-V2, 2020). Latency
with its maxima adds only nearly, so these points are where an evolutionary search starts.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dse.pareto import objective_matrix
from dse.space import Space
from workloads.errors import SpaceError

__all__ = ["additive_starts"]

Floats = NDArray[np.float64]
_NEVER = 1e30  # more than any finite change, which is at most 1


def additive_starts(
    space: Space,
    evaluate: Callable[[Floats], Mapping[str, Any]],
    minimize: tuple[str, ...],
    *,
    rng: np.random.Generator,
    number: int = 256,
) -> Floats:
    """Give genes that minimise weighted sums of objectives, as if each gene acted alone.

    Args:
        space: Discrete knobs only.
        evaluate: Genes of shape (n, genes) to columns.
        minimize: Objectives.
        rng: For the weights.
        number: Weight vectors to try; equal results are merged.

    Returns:
        Shape (<= number + 1, genes): the last value of every gene, and one point per distinct outcome.

    Raises:
        SpaceError: A knob is continuous.

    Example:
        >>> space = Space(a=[0, 1], b=[0, 1])
        >>> def evaluate(genes: Floats) -> dict[str, Floats]:
        ...     return {"cost": genes @ [1.0, 2.0], "loss": 3 - genes @ [2.0, 1.0]}
        >>> additive_starts(space, evaluate, ("cost", "loss"), rng=np.random.default_rng(0)).tolist()
        [[0.0, 0.0], [1.0, 0.0], [1.0, 1.0]]
    """
    counts = space.cardinalities
    if not counts.all():
        raise SpaceError("start points need discrete knobs; give grid(...) for a continuous one")
    gene = np.repeat(np.arange(space.genes), counts)
    value = np.concatenate([np.arange(count) for count in counts]).astype(np.float64)
    top = (counts - 1).astype(np.float64)
    single = np.tile(top, (len(gene), 1))
    single[np.arange(len(gene)), gene] = value
    base = objective_matrix(evaluate(np.vstack([top, top])), minimize)[0]
    with np.errstate(invalid="ignore"):  # a point that does not fit has infinite objectives
        change = objective_matrix(evaluate(single), minimize) - base
    scale = np.abs(np.where(np.isfinite(change), change, 0.0)).sum(axis=0)
    scale[scale == 0] = 1.0
    weights = rng.dirichlet(np.ones(len(minimize)), number) * 10.0 ** rng.uniform(-2, 2, (number, len(minimize)))
    scores = np.where(np.isfinite(change), change / scale, _NEVER) @ weights.T
    chosen = np.empty((number, space.genes))
    for position in range(space.genes):
        rows = np.flatnonzero(gene == position)
        chosen[:, position] = value[rows[np.argmin(scores[rows], axis=0)]]
    return np.unique(np.vstack([top, chosen]), axis=0)
