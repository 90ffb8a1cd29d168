"""Fused cascades: products and the functions between them in one loop nest, the best of them found with proof."""

from hwmodels.cascades.chain import Cascade, Link, cascade_of
from hwmodels.cascades.finding import find_cascades
from hwmodels.cascades.results import FusedResult
from hwmodels.cascades.searching import search_cascade

__all__ = ["Cascade", "FusedResult", "Link", "cascade_of", "find_cascades", "search_cascade"]
