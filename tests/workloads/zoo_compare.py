"""The sceptic's test of a zoo architecture: random weights from torch, outputs of ONNX Runtime beside torch's."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from workloads.zoo.families import family_of
from workloads.zoo.graph import GraphWriter
from workloads.zoo.phase import Phase

TOLERANCE = 1e-5
"""Largest absolute difference from torch, for outputs of order one."""

Arrays = dict[str, NDArray[Any]]


def random_model(kind: str, auto: str, values: Mapping[str, Any], seed: int = 0) -> Any:
    """Build a transformers model of one type in evaluation mode; nothing that starts at zero or one stays there."""
    import transformers

    config = transformers.AutoConfig.for_model(kind, **values)
    import torch

    torch.manual_seed(seed)
    model = getattr(transformers, auto)._from_config(config, attn_implementation="eager").eval()
    shake(model, seed)
    return model


def shake(model: Any, seed: int = 0) -> None:
    """Move every vector: biases and norms start at zero and one, and would hide that they are left out."""
    import torch

    random = torch.Generator().manual_seed(seed + 1)
    with torch.no_grad():
        for value in model.parameters():
            spread = 0.2 if value.dim() < 2 else 0.02
            value += spread * torch.randn(value.shape, generator=random)
        for name, value in model.named_buffers():
            if name.endswith("running_mean"):
                value += 0.2 * torch.randn(value.shape, generator=random)
            if name.endswith("running_var"):
                value *= 0.5 + torch.rand(value.shape, generator=random)


def config_of(model: Any) -> dict[str, Any]:
    """Give the content of the config.json that transformers would write, with the model's class."""
    values = json.loads(model.config.to_json_string(use_diff=False))
    return {**values, "architectures": [type(model).__name__]}


def state_of(model: Any) -> Arrays:
    """Give the values as a checkpoint holds them."""
    return {name: value.detach().float().numpy() for name, value in model.state_dict().items()}


def trained(model: Any) -> int:
    """Count the parameters of a torch model."""
    return sum(value.numel() for value in model.parameters())


def written(config: Mapping[str, Any], phase: Phase) -> GraphWriter:
    """Write one phase of an architecture in fp32."""
    family = family_of(config)
    writer = GraphWriter(str(config["model_type"]), "fp32")
    family.write(writer, family.read(config), phase)
    return writer


def run(config: Mapping[str, Any], state: Mapping[str, NDArray[Any]], phase: Phase, feeds: Mapping[str, Any]) -> Arrays:
    """Run one phase in ONNX Runtime with a checkpoint's values."""
    import onnx
    import onnxruntime as ort

    writer = written(config, phase)
    model = writer.model(lambda item: item.make(state))
    onnx.checker.check_model(model, full_check=True)
    options = ort.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = 1
    session = ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    names = [item.name for item in session.get_outputs()]
    known = {item.name for item in session.get_inputs()}
    given = {name: np.asarray(value) for name, value in feeds.items() if name in known}
    return dict(zip(names, session.run(names, given), strict=True))


def difference(ours: NDArray[Any], theirs: Any) -> float:
    """Give the largest absolute difference from a torch result."""
    wanted = np.asarray(theirs.detach())
    assert ours.shape == wanted.shape
    return float(np.abs(ours - wanted).max())


def step_feeds(config: Mapping[str, Any], prefill: Mapping[str, NDArray[Any]], tokens: int) -> Arrays:
    """Turn what a prefill of `tokens` tokens has kept into the caches of a decode step that adds one more."""
    feeds = {}
    for item in written(config, Phase(name="decode")).inputs():
        if not item.startswith("past_"):
            continue
        kept = prefill["present_" + item.removeprefix("past_")]
        if "cross" in item:
            feeds[item] = kept
            continue
        axis = 3 if "key" in item else 2
        room = [(0, 1 if position == axis else 0) for position in range(4)]
        assert kept.shape[axis] == tokens
        feeds[item] = np.pad(kept, room, constant_values=np.nan)  # the step must overwrite it
    return feeds
