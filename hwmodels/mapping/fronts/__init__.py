"""Operators and networks solved once for all capacities, bandwidths and energies of an accelerator."""

from hwmodels.mapping.fronts.knobs import Devices
from hwmodels.mapping.fronts.lookup import Answer, Front
from hwmodels.mapping.fronts.network import NetworkFronts, Product, network_fronts
from hwmodels.mapping.fronts.solving import FrontMemo, Searched, front

__all__ = [
    "Answer",
    "Devices",
    "Front",
    "FrontMemo",
    "NetworkFronts",
    "Product",
    "Searched",
    "front",
    "network_fronts",
]
