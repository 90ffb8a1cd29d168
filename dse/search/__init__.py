"""Searches: generators that yield genes and receive the objectives of these points."""

from dse.search.additive import additive_starts
from dse.search.genetic import nsga2
from dse.search.protocol import Proposals, Search, seed_of
from dse.search.refine import local_refine
from dse.search.simple import exhaustive, random_search

__all__ = [
    "Proposals",
    "Search",
    "additive_starts",
    "exhaustive",
    "local_refine",
    "nsga2",
    "random_search",
    "seed_of",
]
