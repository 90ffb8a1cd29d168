"""Gradients over mappings and buffers: the traffic formulas between whole factors, and descents through them."""

from dse.gradients.buffers import BufferDesign, descend_buffers
from dse.gradients.costing import Costs, costs
from dse.gradients.descent import Descended, descend
from dse.gradients.prices import BufferPrices, buffer_prices, with_buffers
from dse.gradients.relaxation import Hardware, Point, Relaxation, relax

__all__ = [
    "BufferDesign",
    "BufferPrices",
    "Costs",
    "Descended",
    "Hardware",
    "Point",
    "Relaxation",
    "buffer_prices",
    "costs",
    "descend",
    "descend_buffers",
    "relax",
    "with_buffers",
]
