"""SRAM beside published energies: what is compared with what, and whether one factor would do."""

from __future__ import annotations

import pytest

from hwmodels.energy import explain, published_srams, sram_calibration
from hwmodels.energy.sram import sram
from hwmodels.energy.technology import LAWS
from workloads.errors import SpecError


def test_published_accesses_are_those_of_the_papers() -> None:
    """Horowitz, ISSCC 2014: 10, 20, 100 pJ; Jouppi et al., ISCA 2021, Table 2: 7.5, 8.5, 14 pJ; 64 bits each."""
    stated = {
        (each.node_nm, each.size_bytes): round(float(each.published.value) * 1e12, 6)
        for each in published_srams()
        if each.kind == "figure" and each.word_stated and each.node_nm in (45, 7)
    }
    assert stated == {
        (45, 2**13): 10, (45, 2**15): 20, (45, 2**20): 100, (7, 2**13): 7.5, (7, 2**15): 8.5, (7, 2**20): 14,
    }  # fmt: skip


@pytest.mark.parametrize("device", ["itrs-hp", "itrs-lstp"])
def test_every_law_that_reaches_a_node_is_shown(device: str) -> None:
    for each in published_srams(device):
        assert all(each.ratios[law] * each.published.value == pytest.approx(model.value)
                   for law, model in each.models.items())  # fmt: skip
        if each.node_nm >= 22:
            assert set(each.models) == {"CACTI"}
            macro = sram(each.size_bytes, each.word_bytes, node_nm=each.node_nm, device=device)
            assert each.models["CACTI"].value == pytest.approx(getattr(macro, f"{each.operation}_j"))
        else:
            assert {"bitcell-wire", "horowitz-jouppi"} <= set(each.models) <= set(LAWS["sram energy"])
            assert "cacti" not in each.models  # ends at 22 nm


def test_a_factor_is_the_mean_of_what_it_was_made_from_and_is_tried_on_what_it_was_not() -> None:
    found = sram_calibration(45)
    assert found.factor.low <= found.factor.value <= found.factor.high
    assert len(found.before) == len(found.after) == 3
    product = 1.0
    for before in found.before:
        product *= before * float(found.factor.value)
    assert product == pytest.approx(1)
    first = (found.before[1] * found.before[2]) ** -0.5 * found.before[0]
    assert found.after[0] == pytest.approx(first)
    assert "Horowitz" in explain(found)


def test_no_factor_at_7_nm_since_the_published_energies_hardly_grow_with_the_capacity() -> None:
    for law in ("bitcell-wire", "horowitz-jouppi"):
        assert not sram_calibration(7, law=law).sound


def test_too_few_figures_make_no_factor() -> None:
    with pytest.raises(SpecError, match="1 published reads at 40 nm by 'CACTI'; 3 are needed"):
        sram_calibration(40)
