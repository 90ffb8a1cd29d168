"""Which axes of the inputs stay symbolic, and inputs of another shape to check an export with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from workloads.errors import WorkloadError, nearest

if TYPE_CHECKING:
    import torch

__all__ = ["Axes", "another_shape", "check_axes", "inferred_axes", "symbol_sizes", "with_free_lengths"]

Axes = dict[str, dict[int, str]]
"""Input name to axis to symbol."""

_SHORTER = 0.75
_LONGER = 13
"""How a length is changed: 13 more (a prime, so that no size divides another by accident), or a quarter less."""


def inferred_axes(inputs: Mapping[str, torch.Tensor]) -> Axes:
    """Guess the symbolic axes, by these rules; an axis of size 1 stays fixed.

    - `batch`: axis 0 of every input that agrees with the first input there.
    - `past`: axis 2 of key and value caches (rank 4, "past" or "cache" in the name).
    - `seq`: axis 1 of integer matrices (ids, masks, types) that agree with the first of them, and of float inputs
      of rank 3 that agree with it. Beside a cache, a longer integer matrix has `total` there: past and new tokens.
    """
    axes: Axes = {name: {} for name in inputs}
    first = next(iter(inputs.values()), None)
    if first is None:
        return axes
    matrices = {name: tensor for name, tensor in inputs.items() if tensor.dim() == 2 and not tensor.is_floating_point()}
    caches = [name for name in inputs if _is_cache(name, inputs[name])]
    seq = next((tensor.shape[1] for tensor in matrices.values()), 0)
    for name, tensor in inputs.items():
        if tensor.dim() and first.dim() and tensor.shape[0] == first.shape[0] > 1:
            axes[name][0] = "batch"
        if name in caches and tensor.shape[2] > 1:
            axes[name][2] = "past"
        elif (name in matrices or tensor.dim() == 3) and tensor.shape[1] == seq > 1:
            axes[name][1] = "seq"
        elif name in matrices and caches and tensor.shape[1] > seq:
            axes[name][1] = "total"
    return axes


def with_free_lengths(inputs: Mapping[str, torch.Tensor], axes: Axes) -> Axes:
    """Add `seq` on axis 1 of float inputs [batch, length, width] where no integer matrix says what the length is.

    It is a guess: axis 1 may be channels, which a module fixes. Inputs whose length differs from the first one's keep
    theirs; so does one of size 1.
    """
    if any(1 in given for given in axes.values()):
        return axes
    lengths = {name: int(t.shape[1]) for name, t in inputs.items() if t.dim() == 3 and t.is_floating_point()}
    seq = next(iter(lengths.values()), 0)
    return {name: {**given, 1: "seq"} if lengths.get(name, 0) == seq > 1 else given for name, given in axes.items()}


def _is_cache(name: str, tensor: torch.Tensor) -> bool:
    return tensor.dim() == 4 and ("past" in name or "cache" in name)


def check_axes(axes: Mapping[str, Mapping[int, str]], inputs: Mapping[str, torch.Tensor], where: str) -> Axes:
    """Check the axes that a caller gave, and fill in the inputs that it left out.

    Raises:
        WorkloadError: An input, an axis or a symbol is impossible, or an example size is 1, which torch would freeze.
    """
    for name, given in axes.items():
        if name not in inputs:
            raise WorkloadError(f"{where}: dynamic names {name!r}, which is no input; {nearest(name, inputs)}")
        shape = tuple(inputs[name].shape)
        for position, symbol in given.items():
            if not -len(shape) <= position < len(shape):
                raise WorkloadError(f"{where}: input {name!r} of shape {shape} has no axis {position}")
            if not symbol.isidentifier():
                raise WorkloadError(f"{where}: {symbol!r} cannot name an axis; use letters, digits and underscores")
            if shape[position] < 2:
                raise WorkloadError(
                    f"{where}: axis {position} ({symbol}) of input {name!r} has size {shape[position]}; torch.export "
                    "freezes sizes 0 and 1, so give an example of at least 2 there"
                )
    return {
        name: {position % tensor.dim(): symbol for position, symbol in axes.get(name, {}).items()}
        for name, tensor in inputs.items()
    }


def symbol_sizes(axes: Axes, inputs: Mapping[str, torch.Tensor], where: str) -> dict[str, int]:
    """Give the size of every symbol in the example.

    Raises:
        WorkloadError: One symbol has two sizes.
    """
    sizes: dict[str, int] = {}
    for name, given in axes.items():
        for position, symbol in given.items():
            size = int(inputs[name].shape[position])
            if sizes.setdefault(symbol, size) != size:
                raise WorkloadError(
                    f"{where}: axis {position} of input {name!r} is {size}, but {symbol} is {sizes[symbol]} elsewhere; "
                    "give it a symbol of its own"
                )
    return sizes


def another_shape(
    inputs: Mapping[str, torch.Tensor], axes: Axes, *, longer: bool = True, seed: int = 1
) -> dict[str, torch.Tensor]:
    """Make inputs of other sizes on every symbolic axis, shuffled, with padding in the masks.

    Values are drawn from those of the example, so token ids stay ids and pixels stay pixels. Row r of a mask (an
    integer or bool input with "mask" in its name) hides its last r x length / (2 x rows) positions; a single row a
    quarter.

    Args:
        inputs: The example.
        axes: Its symbolic axes.
        longer: Lengthen the axes; else shorten them, for models with a table of positions that ends.
        seed: Of the shuffle.
    """
    import torch

    generator = torch.Generator().manual_seed(seed)
    sizes = symbol_sizes(axes, inputs, "inputs")
    changed = _changed(sizes, axes, inputs, longer)
    made = {}
    for name, tensor in inputs.items():
        shape = [changed[axes[name][i]] if i in axes[name] else int(extent) for i, extent in enumerate(tensor.shape)]
        made[name] = _padded(shape, tensor) if _is_mask(name, tensor) else _redrawn(tensor, shape, generator)
    return made


def _changed(sizes: Mapping[str, int], axes: Axes, inputs: Mapping[str, torch.Tensor], longer: bool) -> dict[str, int]:
    """Give other sizes; where a matrix covers past and new tokens (total = past + seq), it still does."""
    step: dict[str, int] = {}
    for index, (symbol, size) in enumerate(sizes.items()):
        if any(symbol == given.get(0) for given in axes.values()):
            step[symbol] = 1 if longer else -1
        else:
            step[symbol] = _LONGER + 2 * index if longer else int(_SHORTER * size) - size
    matrices = [name for name, tensor in inputs.items() if tensor.dim() == 2]
    seq = int(inputs[matrices[0]].shape[1]) if matrices else 0
    seq_symbol = axes[matrices[0]].get(1, "") if matrices else ""
    pasts = {axes[name].get(2, "") for name, tensor in inputs.items() if _is_cache(name, tensor)} - {""}
    for total in {axes[name].get(1, "") for name in matrices} - {"", seq_symbol}:
        for past in pasts:
            if sizes[past] + seq == sizes[total]:
                step[total] = step[past] + step.get(seq_symbol, 0)
    return {symbol: max(size + step[symbol], 1) for symbol, size in sizes.items()}


def _is_mask(name: str, tensor: torch.Tensor) -> bool:
    return "mask" in name and not tensor.is_floating_point() and tensor.dim() >= 2


def _padded(shape: Sequence[int], like: torch.Tensor) -> torch.Tensor:
    import torch

    mask = torch.ones(list(shape), dtype=like.dtype)
    rows, length = shape[0], shape[-1]
    for row in range(rows):
        hidden = row * length // (2 * rows) if rows > 1 else length // 4
        mask[row, ..., length - hidden :] = 0
    return mask


def _redrawn(tensor: torch.Tensor, shape: Sequence[int], generator: Any) -> torch.Tensor:
    """Draw the values of a new shape from those of the example, without replacement as far as they go."""
    import torch

    count = 1
    for extent in shape:
        count *= extent
    order = torch.randperm(max(tensor.numel(), count), generator=generator)[:count] % max(tensor.numel(), 1)
    return tensor.detach().flatten()[order].reshape(list(shape)).contiguous()
