"""What `dse energy` can look up: single figures by kind, and devices."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any, NamedTuple

from dse.cli.energy_options import typed
from workloads.errors import SpecError, nearest

if TYPE_CHECKING:
    from hwmodels.energy import Estimate

__all__ = ["KINDS", "Given", "Looked", "is_figure", "kind_of", "look_up"]

NODE_NM = 45.0
"""Where no node is given: that of most published figures [nm]."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Given:
    """Options of a look-up as they were typed; None: not given."""

    node: str | None = None
    device: str | None = None
    ports: str | None = None
    banks: int | None = None
    temperature: float | None = None
    objective: str | None = None
    law: str | None = None
    hits: float | None = None
    scope: str | None = None
    hops: float | None = None
    dram: str | None = None
    clock_scale: float | None = None
    capacity: list[str] | None = None
    bandwidth: list[str] | None = None

    def named(self) -> dict[str, Any]:
        """Give what was typed, by the name of its option."""
        return {one.name.replace("_", "-"): value for one in fields(self) if (value := getattr(self, one.name))
                is not None and value != []}  # fmt: skip

    def of(self, *names: str) -> dict[str, Any]:
        """Give those of some arguments that were typed, for a call."""
        return {name: getattr(self, name) for name in names if getattr(self, name) is not None}

    @property
    def node_nm(self) -> float:
        """The node as a number [nm]: from "45", "45nm", "45 nm"; the default where none was typed."""
        if self.node is None:
            return NODE_NM
        try:
            return float(self.node)
        except ValueError:
            from hwmodels.units import parse_quantity

            try:
                return float(f"{parse_quantity(self.node, 'm') * 1e9:.9g}")
            except SpecError as error:
                raise SpecError(f"--node: {error}") from None


class Looked(NamedTuple):
    """What was found.

    Attributes:
        what: As it was typed.
        about: What holds for all figures.
        figures: By name.
        details: More of it, for JSON.
        parted: Whether the parts of the figures belong into a table of them.
    """

    what: str
    about: str
    figures: Mapping[str, Estimate]
    details: Mapping[str, Any] = {}
    parted: bool = False

    def estimates(self) -> Mapping[str, Estimate]:
        """Give its figures, for `hwmodels.energy.explain`."""
        return self.figures


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of figure.

    Attributes:
        example: How it is written.
        options: Those that move it.
        find: Gives figures and what holds for them from what follows the colon.
        parted: Whether the parts of its figures belong into a table.
    """

    example: str
    options: tuple[str, ...]
    find: Callable[[str, Given], tuple[str, Mapping[str, Estimate]]] = field(repr=False)
    parted: bool = False


def is_figure(what: str) -> bool:
    """Say whether something is a figure by kind, not a device."""
    return ":" in what or what in KINDS


def kind_of(what: str) -> Kind:
    """Give the kind that a figure is of.

    Raises:
        SpecError: There is none of that name.
    """
    name = what.partition(":")[0].strip()
    if name not in KINDS:
        raise SpecError(f"no kind {name!r}; {nearest(name, KINDS)}; or the name of a device")
    return KINDS[name]


def look_up(what: str, given: Given) -> Looked:
    """Look a figure up.

    Args:
        what: A kind and what is asked of it: "sram:256KiB/8B".
        given: Options.

    Raises:
        SpecError: No such kind, or what the model says of it.

    Example:
        >>> found = look_up("add:fp32", Given(node="45nm"))
        >>> found.about, round(found.figures["energy"].value * 1e12, 2)
        ('45 nm', 0.9)
    """
    with typed(what):
        about, figures = kind_of(what).find(what.partition(":")[2].strip(), given)
    return Looked(what, about, figures, parted=kind_of(what).parted)


def _bytes(text: str, example: str) -> float:
    from hwmodels.units import parse_quantity

    if not text:
        raise SpecError(f"a size is missing; write it like {example}")
    try:
        return parse_quantity(text, "B")
    except SpecError as error:
        raise SpecError(f"{error}; the whole like {example}") from None


def _ports(text: str) -> tuple[int, int, int]:
    parts = [part.strip() for part in text.split(",")]
    if len(parts) != 3 or not all(part.isdecimal() for part in parts):
        raise SpecError(
            f"--ports {text!r} is not three whole numbers; write read-write, read-only and write-only ports: 1,0,0"
        )
    read_write, read, write = map(int, parts)
    return read_write, read, write


def _sram(rest: str, given: Given) -> tuple[str, Mapping[str, Estimate]]:
    from hwmodels.energy.sram import Quality, sram

    size, _, width = rest.partition("/")
    example = KINDS["sram"].example
    turned = given.of("device", "banks", "objective", "law")
    if given.ports is not None:
        turned["ports"] = _ports(given.ports)
    if given.temperature is not None:
        turned["temperature_k"] = given.temperature
    macro = sram(_bytes(size, example), _bytes(width, example), node_nm=given.node_nm, **turned)
    quality = Quality(int(macro.quality)).name.lower().replace("_", " ")
    return f"{macro.node_nm:g} nm {macro.device}, {quality}", macro.estimates()


def _edram(rest: str, given: Given) -> tuple[str, Mapping[str, Estimate]]:
    from hwmodels.energy import edram

    size, _, width = rest.partition("/")
    example = KINDS["edram"].example
    node = given.node_nm
    return f"{node:g} nm", edram(_bytes(size, example), _bytes(width, example), node_nm=node).estimates()


def _cache(rest: str, given: Given) -> tuple[str, Mapping[str, Estimate]]:
    from hwmodels.energy import cache

    node = given.node_nm
    return f"{node:g} nm, 8 ways, 64 B lines", cache(_bytes(rest, KINDS["cache"].example), node_nm=node).estimates()


def _operation(name: str) -> Callable[[str, Given], tuple[str, Mapping[str, Estimate]]]:
    """Make the look-up of an operation on one or two operands: energy and area."""

    def find(rest: str, given: Given) -> tuple[str, Mapping[str, Estimate]]:
        from hwmodels import energy

        formats = [part.strip() for part in rest.split("x" if name in ("mac", "multiply") else ":")]
        if not all(formats) or len(formats) > (1 if name == "add" else 2):
            raise SpecError(f"what of? write it like {KINDS[name].example}")
        node = given.node_nm
        joule: Estimate = getattr(energy, f"{name}_energy")(*formats, node_nm=node, law=given.law)
        area: Estimate = getattr(energy, f"{name}_area")(*formats, node_nm=node)
        return f"{node:g} nm", {"energy": joule, "area": area}

    return find


def _dram(rest: str, given: Given) -> tuple[str, Mapping[str, Estimate]]:
    from hwmodels.energy import dram_energy
    from hwmodels.energy.dram.published import technologies

    if not rest:
        raise SpecError(f"which technology? write it like {KINDS['dram'].example}")
    spelt = {name.upper(): name for name in technologies()}
    found = dram_energy(spelt.get(rest.upper(), rest), **given.of("scope"), row_hit_rate=given.hits)
    hits = f", {given.hits:g} row hits" if given.hits is not None else ""
    return f"scope {found.scope}{hits}", found.estimates()


def _link(rest: str, given: Given) -> tuple[str, Mapping[str, Estimate]]:
    from hwmodels.energy import known_links, link_energy

    known = known_links()
    if rest not in known:
        raise SpecError(f"no link {rest!r}; {nearest(rest, known)}")
    return known[rest], {"energy": link_energy(rest, **given.of("hops"))}


def _wire(rest: str, given: Given) -> tuple[str, Mapping[str, Estimate]]:
    from hwmodels.energy import wire_delay, wire_energy, wire_leakage

    node = given.node_nm
    how: dict[str, Any] = given.of("device") | ({"kind": rest} if rest else {})
    return f"{node:g} nm, per full transition", {
        "energy": wire_energy(node, **how, law=given.law),
        "delay": wire_delay(node, **how),
        "leakage": wire_leakage(node, **how),
    }


def _router(rest: str, given: Given) -> tuple[str, Mapping[str, Estimate]]:
    from hwmodels.energy import router_energy

    if rest:
        raise SpecError(f"a router has no {rest!r}; write router alone")
    node = given.node_nm
    return f"{node:g} nm", {"energy": router_energy(node, law=given.law)}


KINDS: Mapping[str, Kind] = {
    "sram": Kind(
        "sram:256KiB/8B", ("node", "device", "ports", "banks", "temperature", "objective", "law"), _sram
    ),
    "edram": Kind("edram:1MiB/64B", ("node",), _edram),
    "cache": Kind("cache:1MiB", ("node",), _cache),
    "mac": Kind("mac:int8xint4", ("node", "law"), _operation("mac")),
    "multiply": Kind("multiply:bf16", ("node", "law"), _operation("multiply")),
    "add": Kind("add:fp32", ("node", "law"), _operation("add")),
    "dequantize": Kind("dequantize:int4:fp16", ("node", "law"), _operation("dequantize")),
    "requantize": Kind("requantize:int32:int8", ("node", "law"), _operation("requantize")),
    "dram": Kind("dram:HBM3", ("hits", "scope"), _dram, parted=True),
    "link": Kind("link:ucie-standard", ("hops",), _link),
    "wire": Kind("wire", ("node", "device", "law"), _wire),
    "router": Kind("router", ("node", "law"), _router),
}  # fmt: skip
"""Kinds of figures; all else is a device."""
