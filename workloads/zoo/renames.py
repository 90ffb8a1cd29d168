"""A checkpoint's tensors under the names that graphs use: published files carry older ones, or another prefix."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import cached_property
from typing import Any

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
    (r"\bLayerNorm\.weight$", "LayerNorm.gamma"),  # BERT as converted from TensorFlow
    (r"\bLayerNorm\.bias$", "LayerNorm.beta"),
)


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
    the list of prefixes, since a checkpoint may have thousands of tensors.
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

    def __contains__(self, name: object) -> bool:
        """Say whether there is such a tensor, under any of its spellings."""
        return isinstance(name, str) and self._found(name) is not None

    def __getitem__(self, name: str) -> NDArray[Any]:
        """Give a tensor."""
        found = self._found(name)
        if found is None:
            raise KeyError(name)
        values: NDArray[Any] = self._tensors[found]
        return values

    def __iter__(self) -> Iterator[str]:
        """List the names in the file."""
        return iter(self._tensors)

    def __len__(self) -> int:
        """Count the tensors."""
        return len(self._tensors)
