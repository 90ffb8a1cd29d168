"""`PruneHeads` and `PruneNeurons`: structured pruning by magnitude; the smallest units of every layer go."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from workloads.compress.dependency import Group, trace_group
from workloads.compress.edit import ModelEditor, attributes_of, workload_of
from workloads.compress.technique import LayerNum, resolve
from workloads.errors import TechniqueError
from workloads.operator import Num, Operator, is_batch
from workloads.structure import find_attention, find_ffn
from workloads.workload import Workload

if TYPE_CHECKING:
    import onnx

__all__ = ["PruneHeads", "PruneNeurons", "PrunedUnits", "kept_units"]


def kept_units(density: Num, units: int) -> Num:
    """Give how many units stay: density x units, rounded half up, at least one.

    Example:
        >>> kept_units(0.5, 5)
        3
    """
    if np.any(np.asarray(density) <= 0) or np.any(np.asarray(density) > 1):
        raise TechniqueError(f"density is above 0 and at most 1, not {np.asarray(density).min():g}")
    kept = np.maximum(1, np.floor(np.asarray(density) * units + 0.5))
    return kept if is_batch(density) else int(kept)


@lru_cache(maxsize=64)
def _head_groups(workload: Workload) -> dict[str, Group]:
    """Find the heads of every attention block: "layer.0.attn" to what they reach."""
    groups = {}
    for attention in find_attention(workload):
        scores = workload[attention.scores]
        batch = [name for name in scores.dims if name.startswith("b")]
        if not attention.output or len(batch) < 2:
            raise TechniqueError(
                f"{scores.name}: heads are not an axis of their own (the batch is flattened into them); export the "
                "model with attention as [batch, heads, queries, keys]"
            )
        groups[scores.block.rpartition(".")[0]] = trace_group(workload, scores.name, batch[-1])
    return groups


@lru_cache(maxsize=64)
def _neuron_groups(workload: Workload) -> dict[str, Group]:
    """Find the neurons of every feed-forward block: "layer.0.ffn" to what they reach."""
    groups = {}
    for block in find_ffn(workload):
        up = workload[block.up[0]]
        if up.block.startswith("layer."):
            groups[up.block.rpartition(".")[0]] = trace_group(workload, up.name, "n")
    return groups


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Prune:
    """What both techniques share: a density per layer, a way to find the units, magnitude as the score."""

    density: LayerNum = 1.0

    def groups(self, workload: Workload) -> dict[str, Group]:
        """Find the prunable groups of a scalar workload by block."""
        raise NotImplementedError

    def cost(self, workload: Workload, base: Workload) -> Workload:
        """Give the workload with fewer units: every dim that carries them shrinks."""
        groups = self.groups(base)
        kept: dict[tuple[int, int], Num] = {}
        counts = {}
        for block, group in groups.items():
            density = resolve(self.density, block, "density")
            key = (id(density), group.units)
            if key not in kept:  # one array per distinct knob, so that equal operators stay recognisable
                kept[key] = kept_units(density, group.units)
            counts[block] = kept[key]
        return _shrink(workload, groups, counts)

    def fit(self, model: onnx.ModelProto) -> PrunedUnits:
        """Choose the units that stay in every layer: those with the largest weights (sum of squares)."""
        workload = workload_of(model)
        editor = ModelEditor(model)
        kept = {}
        for block, group in self.groups(workload).items():
            number = int(kept_units(float(resolve(self.density, block, "density")), group.units))  # type: ignore[arg-type]
            scores = _magnitudes(editor, workload, group)
            kept[block] = tuple(sorted(np.argsort(-scores, kind="stable")[:number].tolist()))
        return PrunedUnits(technique=type(self).__name__, kept=kept)

    def to_dict(self) -> dict[str, Any]:
        """Give the parameters as plain data."""
        density = self.density
        plain = dict(density) if isinstance(density, Mapping) else getattr(density, "tolist", lambda: density)()
        return {"technique": type(self).__name__, "density": plain}


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

    def groups(self, workload: Workload) -> dict[str, Group]:
        """Find the heads of every attention block."""
        return _head_groups(workload)


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

    def groups(self, workload: Workload) -> dict[str, Group]:
        """Find the neurons of every feed-forward block."""
        return _neuron_groups(workload)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PrunedUnits:
    """The heads or neurons that stay, chosen on real weights.

    Attributes:
        technique: "PruneHeads" or "PruneNeurons".
        kept: Block to the indices that stay, ascending.
    """

    technique: str
    kept: Mapping[str, tuple[int, ...]]

    def groups(self, workload: Workload) -> dict[str, Group]:
        """Find the prunable groups of a scalar workload by block."""
        return _head_groups(workload) if self.technique == "PruneHeads" else _neuron_groups(workload)

    def fit(self, model: onnx.ModelProto) -> PrunedUnits:
        """Give itself: it is fitted."""
        return self

    def to_dict(self) -> dict[str, Any]:
        """Give the decisions as plain data."""
        return {"technique": self.technique, "kept": {block: list(units) for block, units in self.kept.items()}}

    def cost(self, workload: Workload, base: Workload) -> Workload:
        """Give the workload with only the kept units."""
        groups = {block: group for block, group in self.groups(base).items() if block in self.kept}
        return _shrink(workload, groups, {block: len(self.kept[block]) for block in groups})

    def apply(self, model: onnx.ModelProto) -> onnx.ModelProto:
        """Give the model with every stored tensor sliced, and every fixed shape on the way rewritten."""
        workload = workload_of(model)
        groups = self.groups(workload)
        unknown = set(self.kept) - set(groups)
        if unknown:
            raise TechniqueError(f"{self.technique}: the model has no block {sorted(unknown)[0]!r}; it has {', '.join(groups)}")
        editor = ModelEditor(model)
        for block, units in self.kept.items():
            _slice_group(editor, workload, groups[block], np.asarray(units))
        return editor.finish()


def _shrink(workload: Workload, groups: Mapping[str, Group], counts: Mapping[str, Num]) -> Workload:
    """Scale every dim that carries a group's units."""
    of_dim: dict[str, list[tuple[str, str]]] = {}
    of_axis: dict[tuple[str, int], str] = {}
    for block, group in groups.items():
        for operator, dim in group.dims:
            of_dim.setdefault(operator, []).append((dim, block))
        of_axis |= dict.fromkeys(group.whole, block)
    sizes: dict[tuple[int, int, float], Num] = {}

    def scaled(size: Num, block: str) -> Num:
        units, kept = groups[block].units, counts[block]
        key = (id(kept), units, float(size))  # type: ignore[arg-type]  # only dims of the base are scaled
        if key not in sizes:
            each = size / units
            sizes[key] = kept * each if is_batch(kept) else int(kept * each)  # type: ignore[arg-type]
        return sizes[key]

    operators = []
    for op in workload.operators:
        if op.name in of_dim:
            dims = dict(op.dims) | {dim: scaled(op.dims[dim], block) for dim, block in of_dim[op.name]}
            op = replace(op, dims=dims)
        if any((tensor.name, position) in of_axis for tensor in op.tensors() for position in range(len(tensor.axes))):
            op = _with_extents(op, of_axis, scaled)
        operators.append(op)
    return replace(workload, operators=tuple(operators))


def _with_extents(op: Operator, of_axis: Mapping[tuple[str, int], str], scaled: Any) -> Operator:
    """Scale axes that an operator reads whole (the parts of a Split)."""

    def changed(tensor: Any) -> Any:
        axes = tuple(
            replace(axis, extent=scaled(axis.extent, of_axis[tensor.name, position]))
            if (tensor.name, position) in of_axis and not axis.terms and axis.extent != 1
            else axis
            for position, axis in enumerate(tensor.axes)
        )
        return replace(tensor, axes=axes)

    return replace(op, inputs=tuple(map(changed, op.inputs)), outputs=tuple(map(changed, op.outputs)))


def _magnitudes(editor: ModelEditor, workload: Workload, group: Group) -> NDArray[Any]:
    """Sum the squares of all matrix weights of each unit, shape (units,)."""
    stored = {tensor.name for op in workload.operators for tensor in op.inputs if len(tensor.axes) >= 2}
    scores = np.zeros(group.units)
    for (name, position), labels in group.axes.items():
        if name not in group.weights or name not in stored:
            continue
        array = _oriented(editor, name, position, labels.size)
        others = tuple(index for index in range(array.ndim) if index != position)
        scores += np.bincount(labels, np.sum(array.astype(np.float64) ** 2, axis=others), minlength=group.units)
    return scores


def _oriented(editor: ModelEditor, name: str, position: int, extent: int) -> NDArray[Any]:
    array = editor.array(name)
    if position >= array.ndim or array.shape[position] != extent:
        raise TechniqueError(
            f"tensor {name!r}: stored as {array.shape}, read with {extent} along axis {position} after a change of "
            "shape; fold constants in the model first (onnxscript.optimizer or onnxruntime's offline optimisation)"
        )
    return array


def _slice_group(editor: ModelEditor, workload: Workload, group: Group, kept: NDArray[Any]) -> None:
    for (name, position), labels in group.axes.items():
        if name in group.weights:
            array = _oriented(editor, name, position, labels.size)
            editor.store(name, np.compress(np.isin(labels, kept), array, axis=position))
    for op in workload.operators:
        if op.op_type not in ("Reshape", "Split"):
            continue
        for node_name in op.nodes:
            node = editor.nodes[node_name]
            if op.op_type == "Reshape":
                _rewrite_reshape(editor, node, group, kept)
            elif (op.inputs[0].name, _split_axis(node, op)) in group.axes:
                _rewrite_split(editor, node, group, kept, _split_axis(node, op))


def _new_length(group: Group, tensor: str, position: int, kept: NDArray[Any]) -> int | None:
    labels = group.axes.get((tensor, position))
    return None if labels is None else int(np.isin(labels, kept).sum())


def _rewrite_reshape(editor: ModelEditor, node: Any, group: Group, kept: NDArray[Any]) -> None:
    """Put the new sizes into a Reshape whose target fixes an axis that shrank."""
    positions = [position for tensor, position in group.axes if tensor == node.output[0]]
    for position in positions:
        length = _new_length(group, node.output[0], position, kept)
        assert length is not None  # the position comes from the group's own axes
        _rewrite_entry(editor, node, position, length)


def _rewrite_entry(editor: ModelEditor, node: Any, position: int, length: int) -> None:
    """Change one entry of a Reshape's target, which is stored, or put together by a Concat."""
    source = node.input[1]
    if source in editor.initializers or _constant(editor, source) is not None:
        target = np.array(editor.array(source) if source in editor.initializers else _constant(editor, source))
        if target[position] > 0:
            target[position] = length
            node.input[1] = editor.store(editor.free_name(f"{node.output[0]}:shape"), target)
        return
    producer = next((item for item in editor.model.graph.node if source in item.output), None)
    if producer is None or producer.op_type != "Concat":
        raise TechniqueError(
            f"node {node.name!r} (Reshape): its target shape {source!r} is computed in a way that cannot be edited; "
            "fold constants in the model first"
        )
    pieces = list(producer.input)
    piece = pieces[position]
    known = editor.array(piece) if piece in editor.initializers else _constant(editor, piece)
    if known is not None and known.size == 1 and known.ravel()[0] > 0:
        import onnx

        pieces[position] = editor.store(editor.free_name(f"{node.output[0]}:size"), np.array([length], dtype=np.int64))
        joined = editor.free_name(f"{node.output[0]}:shape")
        concat = onnx.helper.make_node("Concat", pieces, [joined], f"{node.output[0]}:concat", axis=0)
        node.input[1] = joined
        editor.insert_before(node, concat)
    elif known is not None and known.size != 1:
        raise TechniqueError(f"node {node.name!r} (Reshape): piece {piece!r} of its target has {known.size} entries")


def _constant(editor: ModelEditor, name: str) -> NDArray[Any] | None:
    """Read the value of a Constant node, or None."""
    from onnx import numpy_helper

    producer = next((item for item in editor.model.graph.node if name in item.output), None)
    if producer is None or producer.op_type != "Constant":
        return None
    given = attributes_of(producer)
    if "value" in given:
        return np.asarray(numpy_helper.to_array(given["value"]))
    return np.asarray(given.get("value_ints", [given.get("value_int", 0)]), dtype=np.int64)


def _split_axis(node: Any, op: Operator) -> int:
    return int(attributes_of(node).get("axis", 0)) % len(op.inputs[0].axes)


def _rewrite_split(editor: ModelEditor, node: Any, group: Group, kept: NDArray[Any], position: int) -> None:
    """Put the new part sizes into a Split."""
    lengths = [_new_length(group, output, position, kept) for output in node.output]
    if any(length is None for length in lengths):
        raise TechniqueError(f"node {node.name!r} (Split): not every part shrinks; they cannot be pruned apart")
    if len(node.input) > 1 and node.input[1]:
        sizes = np.asarray(lengths, dtype=np.int64)
        node.input[1] = editor.store(editor.free_name(f"{node.output[0]}:split"), sizes)
        return
    for attribute in node.attribute:
        if attribute.name == "split":
            attribute.ints[:] = lengths
