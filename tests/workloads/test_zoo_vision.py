"""Vision models of the zoo give what transformers gives, with batch norms as they are or folded."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.workloads.zoo_compare import (
    TOLERANCE,
    config_of,
    difference,
    random_model,
    run,
    state_of,
    trained,
)
from workloads.zoo import parameter_count
from workloads.zoo.phase import Phase

VIT = {
    "hidden_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 80, "image_size": 32,
    "patch_size": 8,
}  # fmt: skip
OBLONG = {**VIT, "image_size": [32, 24], "patch_size": [8, 4], "qkv_bias": False, "num_labels": 5}
RESNET = {"embedding_size": 8, "hidden_sizes": [16, 32, 48], "depths": [2, 1, 2], "num_labels": 7}
CASES = [
    ("vit", "ViTForImageClassification", VIT),
    ("vit", "ViTForImageClassification", OBLONG),
    ("vit", "ViTModel", VIT),
    ("deit", "DeiTForImageClassificationWithTeacher", VIT),
    ("deit", "DeiTForImageClassification", {**VIT, "num_labels": 5}),
    ("deit", "DeiTModel", VIT),
    ("resnet", "ResNetForImageClassification", RESNET),
    ("resnet", "ResNetForImageClassification", {**RESNET, "downsample_in_bottleneck": True}),
    ("resnet", "ResNetForImageClassification", {**RESNET, "layer_type": "basic", "downsample_in_first_stage": True}),
    ("resnet", "ResNetModel", RESNET),
    ("mobilenet_v2", "MobileNetV2ForImageClassification", {"depth_multiplier": 0.25, "num_labels": 7}),
    ("mobilenet_v2", "MobileNetV2Model", {"depth_multiplier": 0.35, "tf_padding": False, "output_stride": 16}),
    (
        "mobilenet_v2",
        "MobileNetV2ForImageClassification",
        {"depth_multiplier": 0.25, "output_stride": 8, "first_layer_is_expansion": False, "finegrained_output": False},
    ),
]


def pixels(model: Any) -> Any:
    size = getattr(model.config, "image_size", 64)
    if not hasattr(model.config, "patch_size"):
        size = [67, 64]  # odd: padding is not the same on both sides
    sides = size if isinstance(size, (list, tuple)) else [size, size]
    return 0.3 * np.random.default_rng(4).normal(size=(2, 3, *sides)).astype(np.float32)


@pytest.mark.parametrize(("kind", "auto", "values"), CASES, ids=[f"{c[1]}{i}" for i, c in enumerate(CASES)])
def test_a_vision_model_gives_what_transformers_gives(kind: str, auto: str, values: dict[str, Any]) -> None:
    import torch

    model = random_model(kind, auto, values)
    seen = pixels(model)
    config = config_of(model) | {"image_size": list(seen.shape[2:])}
    with torch.no_grad():
        theirs = model(torch.from_numpy(seen))
    ours = run(config, state_of(model), Phase(name="encode"), {"pixel_values": seen})
    for name, value in ours.items():
        assert difference(value, theirs[name]) < TOLERANCE
    assert parameter_count(config) == trained(model)
    if kind not in ("vit", "deit"):
        folded = run(config | {"fold_batch_norm": True}, state_of(model), Phase(name="encode"), {"pixel_values": seen})
        for name, value in folded.items():
            assert difference(value, theirs[name]) < TOLERANCE
