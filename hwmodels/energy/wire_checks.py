"""The model of wires beside every published figure, and how far they are apart."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from hwmodels.cited import cited_rows
from hwmodels.energy.estimate import Estimate
from hwmodels.energy.wires import wire_energy

__all__ = ["PublishedWire", "published_wires"]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PublishedWire:
    """A published energy of a bit and a millimetre, and ours.

    Attributes:
        node_nm: None if the source states none.
        published: J/bit/mm, with the published range.
        model: `wire_energy` of the default wire at that node and activity; None without a node.
        comparable: Whether it is a plain wire at a stated node; only these make the band of the model.
        note: What the source says of it.
    """

    node_nm: float | None
    published: Estimate
    model: Estimate | None
    comparable: bool
    note: str

    @property
    def deviation(self) -> float | None:
        """Of the model from the published figure, as a share of that; None without a node."""
        return None if self.model is None else float(self.model.value / self.published.value - 1)

    def estimates(self) -> Mapping[str, Estimate]:
        """Give its numbers by name."""
        return {"published": self.published} | ({} if self.model is None else {"model": self.model})


def published_wires() -> tuple[PublishedWire, ...]:
    """Compare the model with all published figures, the ones that do not compare too.

    Source: table `wires_published`.

    Example:
        >>> for wire in published_wires()[:1]:
        ...     print(f"{wire.node_nm:g} nm: {wire.deviation:+.0%}, {wire.published.source}")
        40 nm: -6%, Keckler et al., IEEE Micro 2011, Table 1
    """
    return tuple(_compared(row) for row in cited_rows("wires_published"))


def _compared(row: Mapping[str, str]) -> PublishedWire:
    value, low, high = (
        float(row[f"{name}_fj_per_bit_mm"] or row["energy_fj_per_bit_mm"]) * 1e-15 for name in ("energy", "low", "high")
    )
    node_nm = float(row["node_nm"]) if row["node_nm"] else None
    return PublishedWire(
        node_nm=node_nm,
        published=Estimate(
            value=value,
            unit="J/bit/mm",
            low=low,
            high=high,
            origin="anchor",
            formula=row["note"],
            source=row["source"],
        ),
        model=None if node_nm is None else wire_energy(node_nm, activity=float(row["activity"])),
        comparable=row["comparable"] == "yes",
        note=row["note"],
    )
