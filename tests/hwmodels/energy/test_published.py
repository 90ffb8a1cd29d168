"""The models against published chips: how far they may be off is stated here for every number, and nothing is tuned.

Areas are those of cells and macros: placement, clock, control and pads are not counted, and published memories of a few
hundred bytes are several times larger than CACTI's. Powers leave out the clock network (a third and more of Eyeriss);
those of a GPU and a CPU leave out instructions and operands.
"""

from __future__ import annotations

import pytest

import hwmodels
from hwmodels.cited import cited_rows
from hwmodels.energy import explain, price, priced, published_checks
from hwmodels.energy.published import CHECKS
from hwmodels.energy.published_eyeriss import LAYERS, energy_of_alexnet
from tests.close import close
from workloads.errors import SpecError

# Predicted over published: from, to.
RATIOS = {
    ("eyeriss", "core area"): (0.1, 0.3),
    ("eyeriss", "area of spads over area of GLB"): (0.3, 0.7),
    ("eyeriss", "area share of GLB and spads"): (1.0, 1.4),
    ("eyeriss", "area share of multipliers and adders"): (1.3, 2.5),
    ("eyeriss", "rate at 1.17 V over rate at 1 V"): (0.9, 1.0),
    ("eyeriss", "efficiency at 0.82 V over efficiency at 1 V"): (1.0, 1.1),
    ("eyeriss", "energy of RF over all the rest but DRAM"): (0.3, 0.7),
    ("eyeriss", "energy of RF over all the rest but DRAM, the paper's unit energies"): (0.75, 1.0),
    ("eyeriss", "power, AlexNet CONV layers"): (0.3, 0.7),
    ("eyeriss", "power share of multipliers and adders, most"): (1.0, 1.9),
    ("eyeriss", "power share of spads, GLB and NoC, most"): (0.5, 1.0),
    ("tpu-v1", "area share of the Unified Buffer"): (0.35, 0.6),
    ("tpu-v1", "area share of data buffers"): (0.35, 0.6),
    ("tpu-v1", "area share of the matrix unit"): (0.15, 0.35),
    ("tpu-v1", "power, idle"): (0.2, 0.5),
    ("tpu-v1", "power, busy"): (0.8, 1.4),
    ("k80", "power, busy"): (0.35, 0.65),
    ("haswell-e5-2699-v3", "power, busy"): (0.25, 0.5),
    ("gemmini", "area share of integer nonlinear units"): (1.3, 2.3),
    ("gemmini", "power share of integer nonlinear units"): (0.1, 0.4),
}


def test_every_check_has_a_stated_ratio() -> None:
    assert set(RATIOS) == set(CHECKS)


@pytest.mark.parametrize("chip", dict.fromkeys(chip for chip, _ in CHECKS))
def test_the_models_are_as_far_off_as_stated(chip: str) -> None:
    checks = published_checks(chip)
    assert checks
    for check in checks:
        low, high = RATIOS[check.chip, check.item]
        assert low <= 1 + check.deviation <= high, f"{check.item}: {check.predicted.value} of {check.published}"
        assert check.predicted.low <= check.predicted.value <= check.predicted.high
        assert check.inside == (check.predicted.low <= check.published <= check.predicted.high)


def test_a_bound_holds_where_the_published_number_is_one() -> None:
    """TDP is no coefficient; the busy power that follows from the parts lies below it."""
    (tdp,) = [float(row["value"]) for row in cited_rows("published_totals")
              if (row["chip"], row["item"]) == ("tpu-v1", "TDP")]  # fmt: skip
    busy = next(check for check in published_checks("tpu-v1") if check.item == "power, busy")
    assert busy.predicted.value < tdp


def test_alexnet_has_its_published_macs() -> None:
    # Chen et al., JSSC 2017: 23.1 GMAC/s at 34.7 frames/s
    macs = sum(
        layer.groups * layer.filter**2 * layer.output**2 * layer.channels * layer.filters for layer in LAYERS.values()
    )
    assert macs == close(23.1e9 / 34.7, rel=0.01)


def test_the_papers_unit_energies_come_back_from_its_device_file() -> None:
    eyeriss = hwmodels.load("eyeriss")
    found = energy_of_alexnet(eyeriss)
    assert found["MAC"] == close(1e-12)  # the unit of the normalised energies
    assert found["DRAM"] > found["GLB"]
    assert sum(found[name] for name in ("IfmapSpad", "WeightSpad", "PsumSpad")) > 3 * found["MAC"]
    modelled = energy_of_alexnet(priced(eyeriss, price(eyeriss)))
    assert modelled["MAC"] == close(float(price(eyeriss).mac_j.value))


def test_every_check_is_explained_and_an_unknown_chip_is_refused() -> None:
    for check in published_checks("k80"):
        text = explain(check)
        assert "k80: power, busy" in text
        assert "Horowitz" in text
    with pytest.raises(SpecError, match="no published totals of 'tpu'; nearest: tpu-v1"):
        published_checks("tpu")
