"""What an access, an operation, a wire and a square millimetre cost, with error bands and sources."""

from hwmodels.energy.estimate import Estimate, Explained, explain

__all__ = ["Estimate", "Explained", "explain"]
