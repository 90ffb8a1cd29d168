"""A checkpoint's tensors under the names that graphs use: published files carry older ones, or another prefix."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["Renamed", "spellings"]

_OLDER: tuple[tuple[str, str], ...] = (
    # What the checkpoints on the hub are called, from what transformers 5 calls them.
    (r"\blayers\.(\d+)\.attention\.q_proj\.", r"encoder.layer.\1.attention.attention.query."),  # ViT, DeiT
    (r"\blayers\.(\d+)\.attention\.k_proj\.", r"encoder.layer.\1.attention.attention.key."),
    (r"\blayers\.(\d+)\.attention\.v_proj\.", r"encoder.layer.\1.attention.attention.value."),
    (r"\blayers\.(\d+)\.attention\.o_proj\.", r"encoder.layer.\1.attention.output.dense."),
    (r"\blayers\.(\d+)\.mlp\.fc1\.", r"encoder.layer.\1.intermediate.dense."),
    (r"\blayers\.(\d+)\.mlp\.fc2\.", r"encoder.layer.\1.output.dense."),
    (r"\blayers\.(\d+)\.(layernorm_before|layernorm_after)\.", r"encoder.layer.\1.\2."),
    (r"\bmlp\.(gate|experts)\.", r"block_sparse_moe.\1."),  # Mixtral
    (r"\bLayerNorm\.weight$", "LayerNorm.gamma"),  # BERT as converted from TensorFlow
    (r"\bLayerNorm\.bias$", "LayerNorm.beta"),
)

_STACKS = {
    "experts.gate_up_proj": (("gate_proj", "up_proj"), ("w1", "w3")),
    "experts.down_proj": (("down_proj",), ("w2",)),
}
"""Matrices of all experts in one tensor, and what files call the matrices of one expert: rows follow each other."""


def spellings(name: str) -> Iterator[str]:
    """Give the names that a tensor may have in a file: the present one first.

    Example:
        >>> list(spellings("embeddings.LayerNorm.weight"))
        ['embeddings.LayerNorm.weight', 'embeddings.LayerNorm.gamma']
    """
    yield name
    for pattern, replacement in _OLDER:
        older = re.sub(pattern, replacement, name)
        if older != name:
            yield older


class Renamed(Mapping[str, Any]):
    """Looks a tensor up by each of its spellings, each also with a prefix more or less ("bert.", "model.").

    A file of a model with something on top keeps the body under a prefix; one of the body alone does not. It keeps
    the list of prefixes, since a checkpoint may have thousands of tensors. Experts that a file keeps one by one are
    stacked when they are asked for.
    """

    def __init__(self, tensors: Mapping[str, Any]) -> None:
        """Take the tensors as the file names them."""
        self._tensors = tensors

    @cached_property
    def _prefixes(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(name.partition(".")[0] for name in self._tensors))

    def _found(self, name: str) -> str | None:
        for spelling in spellings(name):
            if spelling in self._tensors:
                return spelling
            shorter = spelling.partition(".")[2]
            if shorter in self._tensors:
                return shorter
            for prefix in self._prefixes:
                if f"{prefix}.{spelling}" in self._tensors:
                    return f"{prefix}.{spelling}"
        return None

    def _experts(self, name: str) -> list[tuple[str, ...]]:
        """Give the tensors of each expert that make up a stacked tensor, in the order of the experts."""
        for ending, choices in _STACKS.items():
            if not name.endswith(ending):
                continue
            stem = name.removesuffix(ending) + "experts"
            for parts in choices:
                experts: list[tuple[str, ...]] = []
                while found := self._all(f"{stem}.{len(experts)}.{part}.weight" for part in parts):
                    experts.append(found)
                if experts:
                    return experts
        return []

    def _all(self, names: Iterable[str]) -> tuple[str, ...]:
        """Give the names in the file of all of some tensors; nothing if one of them is not there."""
        found = [self._found(name) for name in names]
        return tuple(name for name in found if name is not None) if None not in found else ()

    def __contains__(self, name: object) -> bool:
        """Say whether there is such a tensor, under any of its spellings or in parts."""
        return isinstance(name, str) and (self._found(name) is not None or bool(self._experts(name)))

    def __getitem__(self, name: str) -> NDArray[Any]:
        """Give a tensor."""
        found = self._found(name)
        if found is not None:
            values: NDArray[Any] = self._tensors[found]
            return values
        experts = self._experts(name)
        if not experts:
            raise KeyError(name)
        return np.stack([np.concatenate([self._tensors[part] for part in parts]) for parts in experts])

    def __iter__(self) -> Iterator[str]:
        """List the names in the file."""
        return iter(self._tensors)

    def __len__(self) -> int:
        """Count the tensors."""
        return len(self._tensors)
