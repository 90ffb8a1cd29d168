"""Trends after "AI and Memory Wall": its data, rates refitted to them, its defects, devices of other years."""

from hwmodels.trends.defects import DEFECTS, Defect
from hwmodels.trends.fits import Fit, fit, refit
from hwmodels.trends.points import QUANTITIES, Point, Quantity, points_of, quantity, table, years
from hwmodels.trends.projecting import Growth, growths, project

__all__ = [
    "DEFECTS",
    "QUANTITIES",
    "Defect",
    "Fit",
    "Growth",
    "Point",
    "Quantity",
    "fit",
    "growths",
    "points_of",
    "project",
    "quantity",
    "refit",
    "table",
    "years",
]
