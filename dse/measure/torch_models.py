"""Whole models as torch modules: published encoders by transformers, MiniLM with its weights."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dse.measure.timing import Call

__all__ = ["whole_call"]

ENCODERS = ("bert", "distilbert", "electra", "albert", "roberta")


def whole_call(name: str, bind: Mapping[str, int]) -> Call | None:
    """Give a call of a model in torch, or None where no module of it is known or transformers is not there.

    Only encoders by token ids are known: those of the zoo whose configuration transformers takes, and `minilm-l6`.

    Args:
        name: A published name of the zoo, or `minilm-l6`.
        bind: `batch` and `seq`; 1 and 128 where they are not given.
    """
    import importlib.util

    if importlib.util.find_spec("transformers") is None:
        return None
    import torch

    batch, seq = int(bind.get("batch", 1)), int(bind.get("seq", 128))
    ids = torch.randint(0, 100, (batch, seq), generator=torch.Generator().manual_seed(0))
    if name == "minilm-l6":
        from workloads.zoo.export import minilm_l6_module

        module: Any = minilm_l6_module().eval()
        ones = torch.ones_like(ids)
        return lambda: module(ids, ones, torch.zeros_like(ids))
    config = _config(name)
    if config is None:
        return None
    from transformers import AutoModel

    module = AutoModel.from_config(config).eval()  # type: ignore[no-untyped-call]
    return lambda: module(input_ids=ids)


def _config(name: str) -> Any:
    """Give transformers' configuration of an encoder of the zoo; None: there is none."""
    from workloads.zoo import published, published_names

    if name not in published_names():
        return None
    values = dict(published(name).config)
    kind = str(values.pop("model_type", ""))
    if kind not in ENCODERS:
        return None
    from transformers import CONFIG_MAPPING  # takes ten seconds

    return CONFIG_MAPPING[kind](**values)
