"""Gradients over mappings and buffers: the traffic formulas between whole factors, and descents through them."""

from dse.gradients.costing import Costs, costs
from dse.gradients.relaxation import Hardware, Point, Relaxation, relax

__all__ = ["Costs", "Hardware", "Point", "Relaxation", "costs", "relax"]
