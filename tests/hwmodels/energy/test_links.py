"""Links by name: published figures unchanged, hops add up, bands hold what was published."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest

from hwmodels.cited import cited_rows
from hwmodels.energy.estimate import explain
from hwmodels.energy.links import known_links, link_energy
from tests.close import close
from workloads.errors import SpecError

GOLDEN = Path(__file__).resolve().parents[2] / "golden" / "reference" / "energy" / "link_energy.csv"
with GOLDEN.open(newline="", encoding="utf-8") as file:
    PUBLISHED = {row["link"]: row for row in csv.DictReader(file)}
TITLES = {row["link"]: row["title"] for row in cited_rows("links")}


@pytest.mark.parametrize("name", known_links())
def test_published_links_come_back_unchanged(name: str) -> None:
    row, estimate = PUBLISHED[TITLES[name]], link_energy(name)
    assert estimate.value == float(row["energy"]) * 1e-12
    assert estimate.unit == "J/bit"
    assert estimate.source == row["source"]
    assert estimate.low < estimate.value < estimate.high
    assert (estimate.origin == "assumption") == row["source"].startswith("design-document")


def test_no_published_link_is_left_out() -> None:
    assert sorted(TITLES.values()) == sorted(PUBLISHED)


def test_hops_add_up() -> None:
    hops = np.array([1, 3, 7])
    batch = link_energy("floonoc-hop", hops=hops)
    np.testing.assert_allclose(batch.value, hops * 0.01875e-12)
    assert [link_energy("floonoc-hop", hops=int(h)).high for h in hops] == list(np.asarray(batch.high))


def test_links_get_dearer_outwards() -> None:
    def typical(scope: str) -> float:
        return float(np.exp(np.mean([np.log(link_energy(name).value) for name in known_links(scope)])))

    assert typical("on chip") < typical("package") < typical("board") < typical("network")


def test_a_published_range_is_the_band_and_else_the_spread_of_the_scope() -> None:
    pcie = link_energy("pcie-gen4-5")
    assert (pcie.low, pcie.high) == close((5e-12, 6e-12))
    for scope in ("package", "board"):
        logs = [np.log(float(PUBLISHED[TITLES[name]]["energy"])) for name in known_links(scope)]
        factor = np.exp(1.645 * np.std(logs, ddof=1))  # 90 % of a log-normal
        for name in set(known_links(scope)) - {"pcie-gen4-5"}:
            estimate = link_energy(name)
            assert float(estimate.high / estimate.value) == close(factor)
            assert float(estimate.value / estimate.low) == close(factor)
    widest = link_energy("mcm-gpu-node-to-node")  # alone in its scope: the widest spread of the others
    assert float(widest.high / widest.value) == close(link_energy("hybrid-bond").high / 0.05e-12)


def test_bad_names_and_hops_are_refused() -> None:
    with pytest.raises(SpecError, match=r"no link 'ucie-std'; nearest: ucie-standard"):
        link_energy("ucie-std")
    with pytest.raises(SpecError, match=r"hops = 0; it must be finite and above zero"):
        link_energy("nvlink-c2c", hops=0)
    with pytest.raises(SpecError, match=r"scope 'pakage'; nearest: package"):
        known_links("pakage")


def test_explain_names_scope_and_source() -> None:
    text = explain(link_energy("mcm-gpu-on-package"))
    assert "package" in text
    assert "Arunkumar" in text
