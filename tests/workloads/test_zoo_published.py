"""Every published architecture has its published number of parameters, and the one that transformers counts."""

from __future__ import annotations

from typing import Any

import pytest

from tests.workloads.zoo_compare import trained
from workloads.zoo import parameter_count
from workloads.zoo.catalogue import Published, published, published_names

OURS = ("conformer", "conformer_transducer", "squeezeformer")
"""Model types that transformers does not have."""
LARGEST_DIFFERENCE = {"squeezeformer": 0.015}
"""As a fraction of the published number; 0.005 for all other model types."""
CLASSES = {
    "bart": "BartForConditionalGeneration",
    "deit": "DeiTForImageClassificationWithTeacher",
    "mobilenet_v2": "MobileNetV2ForImageClassification",
    "resnet": "ResNetForImageClassification",
    "t5": "T5ForConditionalGeneration",
    "vit": "ViTForImageClassification",
    "whisper": "WhisperForConditionalGeneration",
}
"""Class in transformers where it is not the bare model."""
BARE = ("albert", "bert", "distilbert", "electra", "roberta")


def counted(entry: Published) -> dict[str, Any]:
    """Give the configuration that the published number counts."""
    return {**entry.config, **entry.counted_with}


@pytest.mark.parametrize("name", published_names())
def test_parameters_are_within_half_a_percent_of_the_published_number(name: str) -> None:
    entry = published(name)
    allowed = LARGEST_DIFFERENCE.get(str(entry.config["model_type"]), 0.005)
    assert parameter_count(counted(entry)) == pytest.approx(entry.parameters, rel=allowed)
    assert entry.source
    assert not entry.counted_with or entry.counted


@pytest.mark.parametrize(
    "name", [n for n in published_names() if published(n).config["model_type"] in (*CLASSES, *BARE)]
)
def test_parameters_are_those_of_transformers(name: str) -> None:
    import torch
    import transformers

    config = counted(published(name))
    kind = str(config["model_type"])
    settings = transformers.AutoConfig.for_model(**config)
    with torch.device("meta"):
        if "architectures" in config:
            model: Any = getattr(transformers, config["architectures"][0])(settings)
        elif kind in BARE:
            model = transformers.AutoModel.from_config(settings)  # type: ignore[no-untyped-call]
        else:
            model = getattr(transformers, CLASSES[kind])(settings)
    tied_by_transformers = kind == "t5" and config.get("tie_word_embeddings") is False  # the checkpoints do not tie
    assert parameter_count(config) == trained(model) + tied_by_transformers * config.get("d_model", 0) * config.get(
        "vocab_size", 0
    )
