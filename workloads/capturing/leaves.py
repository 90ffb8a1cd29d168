"""Tensors inside nested arguments and results: flat, with names, and put back."""

from __future__ import annotations

import copy
import dataclasses
import inspect
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from workloads.errors import WorkloadError

if TYPE_CHECKING:
    import torch

__all__ = ["bound_arguments", "leaves", "rebuild", "result_names"]

_CONSTANTS = (type(None), bool, int, float, str)


def bound_arguments(module: torch.nn.Module, inputs: Any) -> dict[str, Any]:
    """Give the arguments of a module's forward by name.

    Args:
        module: The module.
        inputs: A mapping of argument names, a sequence of positional arguments, or one tensor.

    Raises:
        WorkloadError: They do not fit the signature.
    """
    import torch

    signature = inspect.signature(module.forward)
    given = (inputs,) if isinstance(inputs, torch.Tensor) else inputs
    try:
        bound = signature.bind(**given) if isinstance(given, Mapping) else signature.bind(*given)
    except TypeError as error:
        raise WorkloadError(
            f"{type(module).__name__}: the inputs do not fit forward{signature}: {error}; give a mapping of argument "
            "names to values, or the positional arguments in order"
        ) from None
    arguments: dict[str, Any] = {}
    for name, value in bound.arguments.items():
        kind = signature.parameters[name].kind
        if kind is inspect.Parameter.VAR_KEYWORD:
            arguments.update(value)
        elif kind in (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.POSITIONAL_ONLY):
            raise WorkloadError(
                f"{type(module).__name__}: forward takes {name!r} by position only; wrap the module in one with "
                "named arguments"
            )
        else:
            arguments[name] = value
    return arguments


def leaves(value: Any, name: str) -> dict[str, torch.Tensor]:
    """Give the tensors inside a value, in order, by name: `past` of keys and values holds `past_key_0`, ...

    Mappings, sequences, dataclasses and the key-value caches of transformers are walked; numbers, texts and None hold
    no tensor.

    Raises:
        WorkloadError: A value of another type.
    """
    found: dict[str, torch.Tensor] = {}
    for label, tensor in _walk(value, name):
        if label in found:
            raise WorkloadError(f"two tensors would both be called {label!r}; rename one of the keys")
        found[label] = tensor
    return found


def _walk(value: Any, name: str) -> Iterator[tuple[str, torch.Tensor]]:
    import torch

    if isinstance(value, torch.Tensor):
        yield name, value
    elif not isinstance(value, _CONSTANTS):
        for key, item in _parts(value, name).items():
            yield from _walk(item, _joined(name, key))


def _joined(name: str, key: str) -> str:
    return f"{name}_{key}" if name else key


def _parts(value: Any, name: str) -> dict[str, Any]:
    """Give what a container holds, by the label of each part."""
    if isinstance(value, Mapping):
        return {str(key): item for key, item in value.items()}
    if _is_cache(value):
        kept = ("keys", "values")
        return {
            f"{kind[:-1]}_{index}": getattr(layer, kind) for index, layer in enumerate(value.layers) for kind in kept
        }
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    if isinstance(value, Sequence) and not isinstance(value, (str, bytes)):
        return {str(index): item for index, item in enumerate(value)}
    raise WorkloadError(
        f"{name or 'the result'} is a {type(value).__name__}; tensors, mappings, sequences, dataclasses and key-value "
        "caches are understood. Wrap the module in one that takes and gives those"
    )


def _is_cache(value: Any) -> bool:
    """Say whether a value is a cache of transformers: layers that each hold keys and values (`DynamicCache`)."""
    layers = getattr(value, "layers", None)
    return isinstance(layers, list) and all(hasattr(layer, "keys") and hasattr(layer, "values") for layer in layers)


def rebuild(value: Any, tensors: Iterator[Any]) -> Any:
    """Give a copy of a nested value that holds other tensors, taken in the order of `leaves`."""
    import torch

    if isinstance(value, torch.Tensor):
        return next(tensors)
    if isinstance(value, _CONSTANTS):
        return value
    parts = {key: rebuild(item, tensors) for key, item in _parts(value, "").items()}
    if isinstance(value, Mapping):
        return dict(zip(value, parts.values(), strict=True))
    if _is_cache(value):
        return _cache_of(value, list(parts.values()))
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return dataclasses.replace(value, **parts)
    items = list(parts.values())
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return type(value)(*items)
    return tuple(items) if isinstance(value, tuple) else items


def _cache_of(cache: Any, tensors: Sequence[Any]) -> Any:
    """Copy a cache, so that a forward pass that appends to it leaves the caller's as it was."""
    fresh = copy.copy(cache)
    fresh.layers = [copy.copy(layer) for layer in cache.layers]
    for index, layer in enumerate(fresh.layers):
        layer.keys, layer.values = tensors[2 * index], tensors[2 * index + 1]
    return fresh


def result_names(result: Any, wanted: Sequence[str], taken: Sequence[str], where: str) -> tuple[str, ...]:
    """Name the tensors of a result: by their keys or positions, or by `wanted`; never like an input.

    Raises:
        WorkloadError: There is no tensor in it, or `wanted` has another length.
    """
    import torch

    if isinstance(result, torch.Tensor):
        found = ["output"]
    else:
        found = [label if not label.isdecimal() else f"output_{label}" for label in leaves(result, "")]
    if not found:
        raise WorkloadError(f"{where}: forward gives no tensor; return what it computes")
    if wanted:
        if len(wanted) != len(found):
            raise WorkloadError(f"{where}: {len(wanted)} output names for {len(found)} tensors ({', '.join(found)})")
        return tuple(wanted)
    return tuple(_fresh(label, taken) for label in found)


def _fresh(label: str, taken: Sequence[str]) -> str:
    """Rename an output that is called like an input: past becomes present, as exporters name grown caches."""
    if label not in taken:
        return label
    renamed = label.replace("past", "present")
    return renamed if renamed not in taken else f"{label}_out"
