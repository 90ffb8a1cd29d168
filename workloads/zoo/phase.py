"""What of a model is computed: a prefill, one decode step with its KV cache, or one pass of an encoder."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from workloads.errors import WorkloadError, nearest
from workloads.zoo.graph import TOTAL, GraphWriter
from workloads.zoo.layers import keys_cached, split_keys

__all__ = ["CACHE_FORMATS", "PHASES", "Cache", "Phase", "PhaseName"]

PhaseName = Literal["encode", "prefill", "decode"]
PHASES: tuple[PhaseName, ...] = ("encode", "prefill", "decode")

CACHE_FORMATS = {4: "int4", 8: "int8"}
"""Bits of a quantized KV cache to the format that holds it."""

_SCALE = 0.05
"""Of a quantized cache before it is calibrated: keys and values of a normalised layer lie within a few units."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Phase:
    """One phase of a model.

    Attributes:
        name: "encode": one pass of an encoder (or of a vision or speech model); "prefill": all tokens of a prompt, the
            KV cache is written; "decode": one new token per sequence, the KV cache is read.
        logits: Of a prefill, for the last token or for all.
        kv_bits: Width of the stored keys and values: 4 or 8 (integers, one scale per head), or None: as activations
            [bit].
    """

    name: PhaseName = "prefill"
    logits: Literal["last", "all"] = "last"
    kv_bits: int | None = None

    def __post_init__(self) -> None:
        if self.name not in PHASES:
            raise WorkloadError(f"no phase {self.name!r}; {nearest(self.name, PHASES)}")
        if self.logits not in ("last", "all"):
            raise WorkloadError(f"logits are for the 'last' token or for 'all', not {self.logits!r}")
        if self.kv_bits not in (None, 4, 8):
            raise WorkloadError(
                f"a KV cache is kept in 4 or 8 bits, or (None) as activations are; not {self.kv_bits!r}"
            )

    @property
    def decoding(self) -> bool:
        """Whether this is a decode step."""
        return self.name == "decode"


@dataclass(frozen=True, slots=True)
class Cache:
    """The KV cache of one graph: declares its inputs and outputs and hands out keys and values to attend to.

    In a decode step a cache has room for the new token: its token axis is `total` = tokens before + 1, and the step
    writes that one token in place (TensorScatter). A layer with a sliding window keeps `window` tokens in a ring.

    Attributes:
        g: The graph.
        phase: The phase.
        at: Decode: positions of the new tokens, [b] (int64).
    """

    g: GraphWriter
    phase: Phase
    at: str = ""

    def keys(self, layer: int, x: str, groups: int, width: int, window: int | None = None) -> str:
        """Give the keys [b, kv, d, t] that layer `layer` attends to, from its new ones [b, l, kv * d]."""
        new = self._single(x, groups, width, 1) or split_keys(self.g, x, groups, width)
        return self._kept(f"key_{layer}", new, groups, (groups, width, self._total(window)), 3, window)

    def values(self, layer: int, x: str, groups: int, width: int, window: int | None = None) -> str:
        """Give the values [b, kv, t, d] that layer `layer` attends to, from its new ones [b, l, kv * d]."""
        new = self._single(x, groups, 1, width) or split_keys(self.g, x, groups, width, values=True)
        return self._kept(f"value_{layer}", new, groups, (groups, self._total(window), width), 2, window)

    def latent(self, layer: int, x: str, width: int, name: str = "latent") -> str:
        """Give what layer `layer` keeps per token beside heads, [b, 1, t, w], from the new ones [b, l, w] (MLA)."""
        new = self.g.node("Unsqueeze", x, self.g.constant([1]))
        return self._kept(f"{name}_{layer}", new, 1, (1, self._total(None), width), 2, None)

    def _single(self, x: str, *shape: int) -> str:
        """Give one token's keys or values without moving anything; empty in a prefill, where there are more."""
        return self.g.node("Reshape", x, self.g.constant([0, *shape])) if self.phase.decoding else ""

    def cross_keys(self, layer: int, new: str, groups: int, width: int, source: int | str) -> str:
        """Give the keys [b, kv, d, s] of an encoder's output: a prefill makes them (`new`), a step reads them."""
        return self._fixed(f"cross_key_{layer}", new, groups, (groups, width, source))

    def cross_values(self, layer: int, new: str, groups: int, width: int, source: int | str) -> str:
        """Give the values [b, kv, s, d] of an encoder's output."""
        return self._fixed(f"cross_value_{layer}", new, groups, (groups, source, width))

    def _fixed(self, name: str, new: str, groups: int, shape: tuple[int | str, ...]) -> str:
        """Keep what does not grow: a prefill writes it, a decode step reads it."""
        g, bits = self.g, self.phase.kv_bits
        kind = None if bits is None else CACHE_FORMATS[bits]
        if self.phase.decoding:
            past = g.input(f"past_{name}", ("batch", *shape), kind)
            return past if bits is None else g.node("DequantizeLinear", past, *self._scale(groups), axis=1)
        stored = new if bits is None else g.node("QuantizeLinear", new, *self._scale(groups), axis=1)
        g.output(f"present_{name}", stored, 4, kind)
        return new

    def _total(self, window: int | None) -> str:
        if window is None:
            return TOTAL
        self.g.limits["window_total"] = window
        return "window_total"

    def _kept(
        self, name: str, new: str, groups: int, shape: tuple[int | str, ...], axis: int, window: int | None
    ) -> str:
        g, bits = self.g, self.phase.kv_bits
        stored = new if bits is None else g.node("QuantizeLinear", new, *self._scale(groups), axis=1)
        kind = None if bits is None else CACHE_FORMATS[bits]
        if not self.phase.decoding:
            g.output(f"present_{name}", stored, 4, kind)
            return new  # a prefill attends to what it has just computed
        past = g.input(f"past_{name}", ("batch", *shape), kind)
        at = self.at if window is None else self._ring(past, axis)
        present = keys_cached(g, stored, past, at, axis)
        g.output(f"present_{name}", present, 4, kind)
        return present if bits is None else g.node("DequantizeLinear", present, *self._scale(groups), axis=1)

    def _scale(self, groups: int) -> tuple[str, str]:
        """Give one scale per head and its zero point: constants of the file, to be calibrated."""
        g = self.g
        scale = g.constant([_SCALE] * groups, g.dtype)
        return scale, g.constant([0] * groups, CACHE_FORMATS[self.phase.kv_bits or 8])

    def _ring(self, past: str, axis: int) -> str:
        """Give the place of the new token in a cache that is written round and round."""
        room = self.g.node("Squeeze", self.g.node("Shape", past, start=axis, end=axis + 1))
        return self.g.node("Mod", self.at, room)
