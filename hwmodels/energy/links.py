"""Links between dies, packages and boards: energy of a bit, by name."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache as remember

import numpy as np

from hwmodels.cited import cited_rows
from hwmodels.energy.checking import checked, positive
from hwmodels.energy.estimate import Estimate
from workloads.errors import SpecError, nearest
from workloads.operator import Num

__all__ = ["known_links", "link_energy"]


@checked
def known_links(scope: str | None = None) -> Mapping[str, str]:
    """Give the known links and their scopes: on chip, package, board, network.

    Args:
        scope: Only links of this scope.

    Raises:
        SpecError: An unknown scope.

    Example:
        >>> sorted(known_links("network"))
        ['mcm-gpu-node-to-node']
    """
    every = {row["link"]: row["scope"] for row in _rows().values()}
    if scope is not None and scope not in every.values():
        raise SpecError(f"known_links: scope {scope!r}; {nearest(scope, every.values())}")
    return {name: of for name, of in every.items() if scope in (None, of)}


@checked
def link_energy(name: str, *, hops: Num = 1) -> Estimate:
    """Give the energy of moving one bit over a link, both ends included.

    Args:
        name: Of the link; `known_links` lists them.
        hops: Links in a row, or hops of a mesh; one value, or shape (n_points,).

    Raises:
        SpecError: An unknown name, or hops that are not above zero.

    Source: table `links`.

    Example:
        >>> estimate = link_energy("ucie-standard")
        >>> print(f"{estimate.value * 1e12:g} pJ/bit, {estimate.origin}")
        0.5 pJ/bit, anchor
    """
    if name not in _rows():
        raise SpecError(f"link_energy: no link {name!r}; {nearest(name, _rows())}")
    row = _rows()[name]
    value = float(row["pj_per_bit"]) * 1e-12
    low, high, band = _band(name)
    count = positive(hops, "hops", "link_energy")
    return Estimate(
        value=value * count,
        unit="J/bit",
        low=low * count,
        high=high * count,
        origin="assumption" if row["origin"] == "assumption" else "anchor",
        formula=f"{row['title']} ({row['scope']}), {row['pj_per_bit']} pJ/bit a {row['per']}; {band}",
        source=row["source"],
    )


@remember
def _rows() -> Mapping[str, Mapping[str, str]]:
    return {row["link"]: row for row in cited_rows("links")}


@remember
def _band(name: str) -> tuple[float, float, str]:
    """Take the published range, or the spread of the published links of one scope around their geometric mean."""
    row = _rows()[name]
    value = float(row["pj_per_bit"])
    if row["low_pj_per_bit"]:
        return float(row["low_pj_per_bit"]) * 1e-12, float(row["high_pj_per_bit"]) * 1e-12, "band: the published range"
    factor, where = max((_spread(scope), scope) for scope in set(known_links().values()))
    if len(known_links(row["scope"])) > 2:
        factor, where = _spread(row["scope"]), row["scope"]
    text = f"no published error; band: 90 % spread of the published links of scope {where!r}, {factor:.2g} times"
    return value / factor * 1e-12, value * factor * 1e-12, text


@remember
def _spread(scope: str) -> float:
    logs = np.log([float(_rows()[name]["pj_per_bit"]) for name in known_links(scope)])
    return float(np.exp(1.645 * logs.std(ddof=1))) if logs.size > 2 else 1.0
