"""Structure by topology, not by names: decomposed chains become one operator, blocks get names."""

from workloads.structure.blocks import annotate
from workloads.structure.chains import collapse
from workloads.structure.patterns import Attention, FeedForward, find_attention, find_ffn

__all__ = ["Attention", "FeedForward", "annotate", "collapse", "find_attention", "find_ffn"]
