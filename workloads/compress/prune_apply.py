"""Real view of pruning: stored tensors are sliced, and every fixed shape on the way is rewritten."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from workloads.compress.dependency import Group, Labels, private_names
from workloads.compress.edit import ModelEditor, attributes_of
from workloads.errors import TechniqueError
from workloads.operator import Operator
from workloads.workload import Workload

__all__ = ["magnitudes", "slice_groups"]


def magnitudes(editor: ModelEditor, workload: Workload, group: Group) -> NDArray[Any]:
    """Sum the squares of all matrix weights of each unit, shape (units,)."""
    scores = np.zeros(group.units)
    operators = {op.name: op for op in workload.operators}
    for (operator, weight, position), labels in group.reads.items():
        array = _as_read(editor, operators[operator], weight, {position: labels})
        if array.ndim >= 2:
            others = tuple(index for index in range(array.ndim) if index != position)
            scores += np.bincount(labels, np.sum(array.astype(np.float64) ** 2, axis=others), minlength=group.units)
    return scores


def slice_groups(
    editor: ModelEditor, workload: Workload, groups: Mapping[str, Group], kept: Mapping[str, NDArray[Any]]
) -> None:
    """Keep the given units of every group.

    Args:
        editor: Of the model that is changed.
        workload: Of the same model; the groups were found on it.
        groups: By block, those that are pruned.
        kept: Block to the indices of the units that stay.
    """
    copies = private_names(workload, groups)
    operators = {op.name: op for op in workload.operators}
    readers: dict[str, list[tuple[str, str]]] = {}
    cuts = _cuts(groups, kept)
    for operator, weight in cuts:
        readers.setdefault(copies.get((operator, weight), weight), []).append((operator, weight))
    for name, sharing in readers.items():
        first, weight = sharing[0]
        array = _as_read(editor, operators[first], weight, {p: labels for p, (labels, _) in cuts[sharing[0]].items()})
        for position, (_, mask) in cuts[sharing[0]].items():
            array = np.compress(mask, array, axis=position)
        edges = [edge for operator, _ in sharing for edge in editor.edges(operators[operator].nodes, weight)]
        # in place where nobody else reads it, so that a parameter keeps its name
        alone = (
            name in editor.initializers and all(edge == name for *_, edge in edges) and editor.uses(name) == len(edges)
        )
        target = editor.store(name if alone else editor.free_name(name), array)
        for node, index, _ in edges:
            node.input[index] = target
    for block, group in groups.items():
        _rewrite_shapes(editor, workload, group, kept[block])


def _cuts(
    groups: Mapping[str, Group], kept: Mapping[str, NDArray[Any]]
) -> dict[tuple[str, str], dict[int, tuple[Labels, NDArray[np.bool_]]]]:
    """Collect, per operator and weight, which indices of which axes stay."""
    cuts: dict[tuple[str, str], dict[int, tuple[Labels, NDArray[np.bool_]]]] = {}
    for block, group in groups.items():
        for (operator, weight, position), labels in group.reads.items():
            cuts.setdefault((operator, weight), {})[position] = (labels, np.isin(labels, kept[block]))
    return cuts


def _as_read(editor: ModelEditor, op: Operator, weight: str, labels: Mapping[int, Labels]) -> NDArray[Any]:
    """Read a stored tensor the way an operator does, behind transposes and other constant nodes."""
    edges = editor.edges(op.nodes, weight)
    array = editor.array(edges[0][2] if edges else weight)
    for position, given in labels.items():
        if position >= array.ndim or array.shape[position] != given.size:
            raise TechniqueError(
                f"tensor {weight!r}: stored as {array.shape}, but {op.name} reads {given.size} along axis {position}; "
                "fold constants in the model first (onnxscript.optimizer or onnxruntime's offline optimisation)"
            )
    return array


def _rewrite_shapes(editor: ModelEditor, workload: Workload, group: Group, kept: NDArray[Any]) -> None:
    for op in workload.operators:
        if op.op_type not in ("Reshape", "Split"):
            continue
        for node_name in op.nodes:
            node = editor.nodes[node_name]
            if op.op_type == "Reshape":
                _rewrite_reshape(editor, node, group, kept, len(op.outputs[0].axes))
            elif (op.inputs[0].name, _split_axis(node, op)) in group.axes:
                _rewrite_split(editor, node, group, kept, _split_axis(node, op))


def _new_length(group: Group, tensor: str, position: int, kept: NDArray[Any]) -> int | None:
    labels = group.axes.get((tensor, position))
    return None if labels is None else int(np.isin(labels, kept).sum())


def _rewrite_reshape(editor: ModelEditor, node: Any, group: Group, kept: NDArray[Any], rank: int) -> None:
    """Put the new sizes into a Reshape whose target fixes an axis that shrank."""
    for position in [position for tensor, position in group.axes if tensor == node.output[0]]:
        length = _new_length(group, node.output[0], position, kept)
        assert length is not None  # the position comes from the group's own axes
        _rewrite_entry(editor, node, position, length, rank)


def _rewrite_entry(editor: ModelEditor, node: Any, position: int, length: int, rank: int) -> None:
    """Change one entry of a Reshape's target, which is stored, or put together by a Concat."""
    source = node.input[1]
    if editor.is_constant(source):
        target = np.array(editor.array(source))
        if target[position] > 0:
            target[position] = length
            node.input[1] = editor.store(editor.free_name(f"{node.output[0]}:shape"), target)
        return
    producer = editor.producer(source)
    if producer is None or producer.op_type != "Concat":
        raise TechniqueError(
            f"node {node.name!r} (Reshape): its target shape {source!r} is computed in a way that cannot be edited; "
            "fold constants in the model first"
        )
    _rewrite_piece(editor, node, producer, position, length, rank)


def _rewrite_piece(editor: ModelEditor, node: Any, concat: Any, position: int, length: int, rank: int) -> None:
    """Change one entry of a target that a Concat puts together, in a Concat of the node's own."""
    import onnx

    pieces = list(concat.input)
    known = [editor.array(piece) if editor.is_constant(piece) else None for piece in pieces]
    computed = sum(array is None for array in known)
    left = rank - sum(array.size for array in known if array is not None)
    if computed and left % computed:
        raise TechniqueError(
            f"node {node.name!r} (Reshape): {computed} computed pieces of its target have {left} entries together, and "
            "which has how many is not known; fold constants in the model first"
        )
    starts = np.cumsum([0, *(left // computed if array is None else array.size for array in known)])
    number = int(np.searchsorted(starts, position, side="right")) - 1
    array = known[number]
    offset = position - int(starts[number])
    if array is None or array.ravel()[offset] <= 0:
        return  # computed from the tensor's own shape: it follows
    changed = np.array(array).ravel()
    changed[offset] = length
    pieces[number] = editor.store(editor.free_name(f"{node.output[0]}:size"), changed)
    joined = editor.free_name(f"{node.output[0]}:shape")
    own = onnx.helper.make_node("Concat", pieces, [joined], f"{joined}:concat", axis=0)
    node.input[1] = joined
    editor.insert_before(node, own)


def _split_axis(node: Any, op: Operator) -> int:
    return int(attributes_of(node).get("axis", 0)) % len(op.inputs[0].axes)


def _rewrite_split(editor: ModelEditor, node: Any, group: Group, kept: NDArray[Any], position: int) -> None:
    """Put the new part sizes into a Split."""
    lengths = [_new_length(group, output, position, kept) for output in node.output]
    if any(length is None for length in lengths):
        raise TechniqueError(f"node {node.name!r} (Split): not every part shrinks; they cannot be pruned apart")
    if len(node.input) > 1 and node.input[1]:
        node.input[1] = editor.store(editor.free_name(f"{node.output[0]}:split"), np.asarray(lengths, dtype=np.int64))
        return
    for attribute in node.attribute:
        if attribute.name == "split":
            attribute.ints[:] = lengths
