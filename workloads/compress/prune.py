"""`PruneHeads` and `PruneNeurons`: structured pruning by magnitude; the smallest units of every layer go."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

from workloads.compress.dependency import Group, trace_group
from workloads.compress.edit import ModelEditor, workload_of
from workloads.compress.prune_apply import magnitudes, slice_groups
from workloads.compress.prune_cost import Finder, shrink
from workloads.compress.technique import LayerNum, check_names, plain, resolve
from workloads.errors import TechniqueError
from workloads.operator import Num, is_batch
from workloads.structure import find_attention, find_ffn
from workloads.structure.patterns import is_weighted
from workloads.workload import Workload

if TYPE_CHECKING:
    import onnx

__all__ = ["PruneHeads", "PruneNeurons", "PrunedUnits", "kept_units"]


def kept_units(density: Num, units: int, block: str = "") -> Num:
    """Give how many units stay: density x units, rounded half up, at least one.

    Example:
        >>> kept_units(0.5, 5)
        3

    Raises:
        TechniqueError: A density is not above 0 and at most 1 (NaN is not).
    """
    values = np.asarray(density)
    valid = (values > 0) & (values <= 1)
    if not valid.all():
        wrong = values[~valid].ravel()[0]
        raise TechniqueError(f"density{f' of {block}' if block else ''} is above 0 and at most 1, not {wrong:g}")
    kept = np.maximum(1, np.floor(np.asarray(density) * units + 0.5))
    return kept if is_batch(density) else int(kept)


@lru_cache(maxsize=64)
def _head_groups(workload: Workload) -> dict[str, Group]:
    """Find the heads of every attention block: "layer.0.attn" to what they reach."""
    groups = {}
    for attention in find_attention(workload):
        scores = workload[attention.scores]
        if any(scores.name.startswith(f"{node}:") for node in scores.nodes):
            raise TechniqueError(
                f"{scores.nodes[0]}: its heads are inside a fused operator, where they cannot be cut out; export the "
                "model with attention as MatMul, Softmax and MatMul, and fuse it after pruning"
            )
        batch = [name for name in scores.dims if name.startswith("b")]
        if not attention.output or len(batch) < 2:
            raise TechniqueError(
                f"{scores.name}: heads are not an axis of their own (the batch is flattened into them); export the "
                "model with attention as [batch, heads, queries, keys]"
            )
        groups[scores.block.rpartition(".")[0]] = trace_group(workload, scores.name, batch[-1])
    return _apart(groups)


@lru_cache(maxsize=64)
def _neuron_groups(workload: Workload) -> dict[str, Group]:
    """Find the neurons of every feed-forward block: "layer.0.ffn" to what they reach."""
    groups = {}
    for block in find_ffn(workload):
        up = workload[block.up[0]]
        if up.block.startswith("layer.") and is_weighted(up):  # the neurons of experts stay: no two experts share any
            groups[up.block.rpartition(".")[0]] = trace_group(workload, up.name, "n")
    return _apart(groups)


def _apart(groups: Mapping[str, Group]) -> dict[str, Group]:
    """Keep the first of blocks that share units: these go together (all layers of T5 add one bias per head)."""
    kept: dict[str, Group] = {}
    seen: set[tuple[str, str]] = set()
    for block, group in groups.items():
        if seen.isdisjoint(group.dims):
            kept[block] = group
        seen |= group.dims
    return kept


_FINDERS: dict[str, Finder] = {"PruneHeads": _head_groups, "PruneNeurons": _neuron_groups}


def _groups(technique: str, workload: Workload) -> Mapping[str, Group]:
    """Find the prunable groups.

    Raises:
        TechniqueError: There are none.
    """
    groups = _FINDERS[technique](workload)
    if not groups:
        what = "attention" if technique == "PruneHeads" else "feed-forward"
        raise TechniqueError(
            f"{technique}: no {what} block was found in {workload.name!r}; structure is found by topology "
            "(load with structure=True), and quantized products are not recognised: prune first"
        )
    return groups


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Prune:
    """What both techniques share: a density per layer, magnitude as the score."""

    density: LayerNum = 1.0

    def cost(self, workload: Workload, base: Workload) -> Workload:
        """Give the workload with fewer units: every dim that carries them shrinks."""
        name = type(self).__name__
        groups = _groups(name, base)
        check_names(self.density, tuple(groups), f"{name}.density")
        kept: dict[tuple[int, int], tuple[Num, Num]] = {}
        counts = {}
        for block, group in groups.items():
            density = resolve(self.density, block, f"{name}.density")
            key = (id(density), group.units)
            if key not in kept:  # one array per distinct knob, so that equal operators stay recognisable
                kept[key] = (density, kept_units(density, group.units, block))  # holding it keeps its id its own
            counts[block] = kept[key][1]
        return shrink(workload, base, _FINDERS[name], counts)

    def fit(self, model: onnx.ModelProto) -> PrunedUnits:
        """Choose the units that stay in every layer: those with the largest weights (sum of squares)."""
        name = type(self).__name__
        workload = workload_of(model)
        groups = _groups(name, workload)
        check_names(self.density, tuple(groups), f"{name}.density")
        editor = ModelEditor(model)
        kept = {}
        for block, group in groups.items():
            density = resolve(self.density, block, f"{name}.density")
            if is_batch(density):
                raise TechniqueError(f"{name}.density is a batch; a real model takes one design point (PerLayer.row)")
            scores = magnitudes(editor, workload, group)
            number = int(kept_units(density, group.units, block))
            kept[block] = tuple(sorted(np.argsort(-scores, kind="stable")[:number].tolist()))
        return PrunedUnits(technique=name, kept=kept)

    def to_dict(self) -> dict[str, Any]:
        """Give the parameters as plain data."""
        return {"technique": type(self).__name__, "density": plain(self.density)}


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PruneHeads(_Prune):
    """Remove the attention heads with the smallest weights.

    Attributes:
        density: Fraction of the heads that stays, per layer; at least one head stays.

    Example:
        >>> PruneHeads(density=0.5).to_dict()
        {'technique': 'PruneHeads', 'density': 0.5}

    Source: Michel et al., Are Sixteen Heads Really Better than One?, 2019 (heads as units); magnitude as in Han et al.,
        Learning both Weights and Connections, 2015.
    """


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PruneNeurons(_Prune):
    """Remove the feed-forward neurons with the smallest weights.

    Attributes:
        density: Fraction of the neurons that stays, per layer; at least one neuron stays.

    Example:
        >>> PruneNeurons(density={"layer.0": 1.0, "layer.1": 0.5}).to_dict()["density"]["layer.1"]
        0.5

    Source: Han et al., Learning both Weights and Connections for Efficient Neural Networks, 2015 (magnitude).
    """


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PrunedUnits:
    """The heads or neurons that stay, chosen on real weights.

    Attributes:
        technique: "PruneHeads" or "PruneNeurons".
        kept: Block to the indices that stay, ascending.
    """

    technique: str
    kept: Mapping[str, tuple[int, ...]]

    def __post_init__(self) -> None:
        if self.technique not in _FINDERS:
            raise TechniqueError(f"PrunedUnits.technique is one of {', '.join(_FINDERS)}, not {self.technique!r}")

    def fit(self, model: onnx.ModelProto) -> PrunedUnits:
        """Give itself: it is fitted."""
        return self

    def to_dict(self) -> dict[str, Any]:
        """Give the decisions as plain data."""
        return {"technique": self.technique, "kept": {block: list(units) for block, units in self.kept.items()}}

    def cost(self, workload: Workload, base: Workload) -> Workload:
        """Give the workload with only the kept units."""
        self._check(_groups(self.technique, base))
        counts: dict[str, Num] = {block: len(units) for block, units in self.kept.items()}
        return shrink(workload, base, _FINDERS[self.technique], counts)

    def apply(self, model: onnx.ModelProto) -> onnx.ModelProto:
        """Give the model with every stored tensor sliced, and every fixed shape on the way rewritten."""
        workload = workload_of(model)
        groups = _groups(self.technique, workload)
        self._check(groups)
        editor = ModelEditor(model)
        chosen = {block: groups[block] for block in self.kept}
        slice_groups(editor, workload, chosen, {block: np.asarray(units) for block, units in self.kept.items()})
        return editor.finish()

    def _check(self, groups: Mapping[str, Group]) -> None:
        """Refuse blocks and units that the model does not have."""
        for block, units in self.kept.items():
            if block not in groups:
                raise TechniqueError(
                    f"{self.technique}: the model has no block {block!r} to prune; it has {', '.join(groups)}"
                )
            number = groups[block].units
            if not units or len(set(units)) != len(units) or min(units) < 0 or max(units) >= number:
                raise TechniqueError(
                    f"{self.technique}: the kept units of {block} are distinct indices from 0 to {number - 1}, at "
                    f"least one, not {list(units)}"
                )
