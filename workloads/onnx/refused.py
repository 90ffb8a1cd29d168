"""Op types that exist and have no handler on purpose, with the reason: the literal table."""

from __future__ import annotations

__all__ = ["REFUSED"]

REFUSED: dict[str, str] = {}
"""ONNX op type ("domain::op type" outside the default domain) to the reason, which ends the sentence "... because"."""
