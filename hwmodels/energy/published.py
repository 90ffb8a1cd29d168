"""The models against chips with published area and power. Nothing here feeds a model: each row is a check.

A predicted number leaves out what the bill says is not counted (the clock network, control, pads); the deviations say
what that amounts to.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache

from hwmodels.cited import cited_rows
from hwmodels.energy.applying import priced
from hwmodels.energy.arithmetic import mac_energy
from hwmodels.energy.bill import Bill
from hwmodels.energy.checking import checked
from hwmodels.energy.combining import product, total
from hwmodels.energy.dram import dram_energy
from hwmodels.energy.estimate import Estimate
from hwmodels.energy.pricing import price
from hwmodels.energy.technology import clock_at_voltage, nominal_supply, relative_energy
from hwmodels.energy.vector import VectorUnit
from hwmodels.spatial import Accelerator
from hwmodels.specs import load
from workloads.errors import SpecError, nearest
from workloads.operator import Num

__all__ = ["PublishedCheck", "published_checks"]

INTEGER_UNITS = (
    VectorUnit(name="activation unit", lanes=16, functions=("gelu", "exp", "requantize")),
    VectorUnit(name="normaliser", lanes=16, functions=("softmax", "layernorm")),
)
"""What was added to Gemmini: 16 activation units and a normaliser that keeps up with a row of 16 elements. Source: Kim
et al., arXiv 2302.14017, section 3.4.4."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishedCheck:
    """One published number beside the models'.

    Attributes:
        chip: "eyeriss".
        item: What it is.
        unit: "W", "mm2", "" for a share.
        published: The cited number.
        predicted: Of the models.
        source: Of the published number.
        note: What to know when comparing.
    """

    chip: str
    item: str
    unit: str
    published: float
    predicted: Estimate
    source: str
    note: str

    @property
    def deviation(self) -> float:
        """Predicted over published, less one."""
        return float(self.predicted.value) / self.published - 1

    @property
    def inside(self) -> bool:
        """Say whether the published number lies in the error band."""
        return bool(self.predicted.low <= self.published <= self.predicted.high)

    def estimates(self) -> Mapping[str, Estimate]:
        """Give the predicted number by name."""
        return {f"{self.chip}: {self.item}": self.predicted}


@checked
def published_checks(chip: str | None = None) -> tuple[PublishedCheck, ...]:
    """Hold the models against published totals.

    Args:
        chip: One chip; None: all of them.

    Raises:
        SpecError: An unknown chip.

    Example:
        >>> [check.item for check in published_checks("k80")]
        ['power, busy']
    """
    chips = dict.fromkeys(name for name, _ in CHECKS)
    if chip is not None and chip not in chips:
        raise SpecError(f"no published totals of {chip!r}; {nearest(chip, chips)}")
    return tuple(
        PublishedCheck(
            chip=name,
            item=item,
            unit=row["unit"],
            published=float(row["value"]),
            predicted=predict(),
            source=row["source"],
            note=row["note"],
        )
        for (name, item), predict in CHECKS.items()
        if chip in (None, name)
        for row in [_row(name, item)]
    )


def _row(chip: str, item: str) -> Mapping[str, str]:
    return next(row for row in cited_rows("published_totals") if (row["chip"], row["item"]) == (chip, item))


def _published(chip: str, item: str) -> float:
    return float(_row(chip, item)["value"])


@cache
def _bill(name: str) -> Bill:
    return price(load(name, kind=Accelerator))


def _ratio(part: Estimate, whole: Estimate, formula: str) -> Estimate:
    """Divide two estimates that share their errors' cause: the band is that of the ends against each other."""
    return Estimate(
        value=part.value / whole.value,
        unit="",
        low=min(part.low / whole.low, part.low / whole.high),
        high=max(part.high / whole.high, part.high / whole.low),
        origin="derived",
        formula=formula,
        source="its parts",
        parts={"part": part, "whole": whole},
    )


def _areas(name: str, *components: str) -> Estimate:
    bill = _bill(name)
    return total({part: bill.component(part).area_mm2 for part in components}, "mm2", " + ".join(components))


def _area_share(name: str, *components: str) -> Estimate:
    return _ratio(_areas(name, *components), _bill(name).area_mm2, f"{' + '.join(components)} over all that is counted")


@cache
def _alexnet(modelled: bool) -> Mapping[str, float]:
    """Give the energy of a MAC of AlexNet by component, with modelled or with the device file's energies [J]."""
    from hwmodels.energy.published_eyeriss import energy_of_alexnet  # brings the mapper: a third of all import time

    eyeriss = load("eyeriss")
    return energy_of_alexnet(priced(eyeriss, _bill("eyeriss")) if modelled else eyeriss)


def _rf_over_rest(modelled: bool) -> Estimate:
    joules = _alexnet(modelled)
    registers = sum(joules[name] for name in SPADS)
    value = registers / (joules["MAC"] + joules["GLB"])
    return _mapped(value, "", "spads over MAC and GLB, of the best row-stationary mappings that were found", modelled)


def _alexnet_power(modelled: bool, *components: str) -> Estimate:
    """Give the power of components at the published rate, with no input that is zero [W]."""
    rate = _published("eyeriss", "rate, AlexNet CONV layers")
    joules = sum(_alexnet(modelled)[name] for name in components)
    leakage = float(_bill("eyeriss").static_w.value) if len(components) > 1 else 0.0
    return _mapped(rate * joules + leakage, "W", f"{', '.join(components)} at the published rate, no zeros", modelled)


def _over_chip(power: Estimate) -> Estimate:
    return product(
        power, 1 / _published("eyeriss", "power, AlexNet CONV layers"), unit="", formula="over the published power"
    )


def _mapped(value: float, unit: str, formula: str, modelled: bool) -> Estimate:
    """Make an estimate of what a mapping costs; the band is that of a MAC, since the levels' is narrower."""
    mac = _bill("eyeriss").mac_j
    return Estimate(
        value=value, unit=unit, low=value * mac.low / mac.value, high=value * mac.high / mac.value, origin="derived",
        formula=formula, source="hwmodels.energy" if modelled else "the device file: unit energies of the paper",
    )  # fmt: skip


SPADS = ("IfmapSpad", "WeightSpad", "PsumSpad")
ON_CHIP = ("MAC", "GLB", *SPADS)


def _share_of_supply(share: float, law: Callable[[Num, Num], Estimate]) -> Estimate:
    return law(65, share * nominal_supply(65))


def _saving(share: float) -> Estimate:
    energy = _share_of_supply(share, relative_energy)
    return Estimate(
        value=1 / energy.value, unit="", low=1 / energy.high, high=1 / energy.low, origin="scaled",
        formula=f"one over the energy at {share:g} of the supply", source=energy.source,
    )  # fmt: skip


def _of_die(name: str, *components: str) -> Estimate:
    """Give an area over the published area of the die: what is not counted is in the whole."""
    return product(
        _areas(name, *components), 1 / _published(name, "die area"), unit="", formula="over the published die"
    )


def _tpu_busy() -> Estimate:
    """Events of CNN0 a second: every vector of 256 inputs is a read of the buffer and 256 sums read and written."""
    bill, rate = _bill("tpu-v1"), _published("tpu-v1", "rate, CNN0")
    macs = rate / 2
    vectors = macs / 65536
    weights = rate / _published("tpu-v1", "weight intensity, CNN0")
    per_s = {
        "MACs": product(bill.mac_j, macs, unit="W", formula="all MACs"),
        "Unified Buffer": product(bill.access_j("UnifiedBuffer", "read"), 256 * vectors, unit="W", formula="inputs"),
        "sums read": product(bill.access_j("Accumulators", "read"), 256 * vectors, unit="W", formula="sums"),
        "sums written": product(bill.access_j("Accumulators", "write"), 256 * vectors, unit="W", formula="sums"),
        "weights read": product(bill.access_j("WeightFIFO", "read"), weights, unit="W", formula="weights"),
        "weights written": product(bill.access_j("WeightFIFO", "write"), weights, unit="W", formula="weights"),
        "DRAM": product(dram_energy("DDR3").total, 8 * weights, unit="W", formula="weights"),
        "leakage": bill.static_w,
    }
    return total(per_s, "W", "CNN0 at its published rate; without the clock network")


def _chip_busy(chip: str, node_nm: float, dram: str) -> Estimate:
    """Give the power at both peaks over the published idle power, which stands for the constant power."""
    idle = _published(chip, "power, idle")
    flop = product(mac_energy("fp32", accumulator="fp32", node_nm=node_nm), 0.5, formula="a FLOP")
    parts = {
        "compute": product(flop, _published(chip, "fp32 peak"), unit="W", formula="fp32 at its peak"),
        "memory": product(
            dram_energy(dram).total, 8 * _published(chip, "DRAM bandwidth"), unit="W", formula="DRAM at its peak"
        ),
        "static": Estimate(
            value=idle, unit="W", low=idle, high=idle, origin="anchor", formula="measured idle power",
            source=_row(chip, "power, idle")["source"],
        ),
    }  # fmt: skip
    return total(parts, "W", "both peaks and the idle power; no instructions, no operands")


def _gemmini_units() -> tuple[Estimate, Estimate]:
    """Give the shares of the integer units in area and in the power of a BERT layer: 512 tokens, 768 wide, 12 heads."""
    bill = price(load("gemmini"), vector_units=INTEGER_UNITS)
    units = {unit.name: bill.component(unit.name) for unit in INTEGER_UNITS}
    area = total({name: part.area_mm2 for name, part in units.items()}, "mm2", "integer units")
    tokens, width, heads = 512, 768, 12
    macs = 12 * tokens * width**2 + 2 * tokens**2 * width
    elements = {
        ("activation unit", "gelu"): 4 * tokens * width,
        ("activation unit", "requantize"): 9 * tokens * width + 2 * heads * tokens**2,
        ("normaliser", "softmax"): heads * tokens**2,
        ("normaliser", "layernorm"): 2 * tokens * width,
    }
    used = total(
        {f"{unit}: {name}": product(units[unit].energy_j[name], count, formula="elements")
         for (unit, name), count in elements.items()}, "J", "integer units",
    )  # fmt: skip
    array = {
        "MACs": product(bill.mac_j, macs, formula="all MACs"),
        "inputs": product(bill.access_j("Scratchpad", "read"), macs / 16, formula="an input a row of 16 MACs"),
        "sums read": product(bill.access_j("Accumulator", "read"), macs / 16, formula="a sum a column of 16 MACs"),
        "sums written": product(bill.access_j("Accumulator", "write"), macs / 16, formula="a sum a column of 16 MACs"),
    }
    everything = total({**array, "units": used}, "J", "dynamic energy of a layer on chip")
    return (
        _ratio(area, bill.area_mm2, "integer units over all that is counted"),
        _ratio(used, everything, "integer units over the dynamic energy of a BERT layer"),
    )


CHECKS: Mapping[tuple[str, str], Callable[[], Estimate]] = {
    ("eyeriss", "core area"): lambda: _bill("eyeriss").area_mm2,
    ("eyeriss", "area of spads over area of GLB"): lambda: _ratio(
        _areas("eyeriss", *SPADS), _areas("eyeriss", "GLB"), "spads over GLB"
    ),
    ("eyeriss", "area share of GLB and spads"): lambda: _area_share("eyeriss", "GLB", *SPADS),
    ("eyeriss", "area share of multipliers and adders"): lambda: _area_share("eyeriss", "MACs"),
    ("eyeriss", "rate at 1.17 V over rate at 1 V"): lambda: _share_of_supply(1.17, clock_at_voltage),
    ("eyeriss", "efficiency at 0.82 V over efficiency at 1 V"): lambda: _saving(0.82),
    ("eyeriss", "energy of RF over all the rest but DRAM"): lambda: _rf_over_rest(True),
    ("eyeriss", "energy of RF over all the rest but DRAM, the paper's unit energies"): lambda: _rf_over_rest(False),
    ("eyeriss", "power, AlexNet CONV layers"): lambda: _alexnet_power(True, *ON_CHIP),
    ("eyeriss", "power share of multipliers and adders, most"): lambda: _over_chip(_alexnet_power(True, "MAC")),
    ("eyeriss", "power share of spads, GLB and NoC, most"): lambda: _over_chip(_alexnet_power(True, "GLB", *SPADS)),
    ("tpu-v1", "area share of the Unified Buffer"): lambda: _of_die("tpu-v1", "UnifiedBuffer"),
    ("tpu-v1", "area share of data buffers"): lambda: _of_die("tpu-v1", "UnifiedBuffer", "WeightFIFO", "Accumulators"),
    ("tpu-v1", "area share of the matrix unit"): lambda: _of_die("tpu-v1", "MACs", "pipeline registers", "WReg"),
    ("tpu-v1", "power, idle"): lambda: _bill("tpu-v1").static_w,
    ("tpu-v1", "power, busy"): _tpu_busy,
    ("k80", "power, busy"): lambda: _chip_busy("k80", 28, "GDDR5"),
    ("haswell-e5-2699-v3", "power, busy"): lambda: _chip_busy("haswell-e5-2699-v3", 22, "DDR4"),
    ("gemmini", "area share of integer nonlinear units"): lambda: _gemmini_units()[0],
    ("gemmini", "power share of integer nonlinear units"): lambda: _gemmini_units()[1],
}
"""By chip and item of `published_totals.csv`: what the models say."""
