"""Text encoders of the zoo give what transformers gives, with padding, from its checkpoints' names."""

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

SIZES: dict[str, Any] = {
    "hidden_size": 48, "num_hidden_layers": 3, "num_attention_heads": 4, "intermediate_size": 80, "vocab_size": 101,
    "max_position_embeddings": 40,
}  # fmt: skip
DISTILBERT = {
    "dim": 48,
    "n_layers": 3,
    "n_heads": 4,
    "hidden_dim": 80,
    "vocab_size": 101,
    "max_position_embeddings": 40,
}
ALBERT = {**SIZES, "embedding_size": 32}
DEBERTA_V3 = {
    **SIZES, "relative_attention": True, "position_buckets": 6, "norm_rel_ebd": "layer_norm", "share_att_key": True,
    "pos_att_type": "p2c|c2p", "position_biased_input": False, "type_vocab_size": 0, "pad_token_id": 1,
}  # fmt: skip
MODERNBERT = {**SIZES, "local_attention": 6, "pad_token_id": 1}
MODERNBERT_BIASED = {
    "norm_bias": True, "attention_bias": True, "mlp_bias": True, "classifier_bias": True, "decoder_bias": False,
    "tie_word_embeddings": False, "layer_types": ["sliding_attention", "full_attention", "sliding_attention"],
}  # fmt: skip
HEADS = ("Model", "ForMaskedLM", "ForSequenceClassification", "ForTokenClassification", "ForQuestionAnswering")
CASES = [
    *(("bert", "Bert" + head, SIZES) for head in (*HEADS, "ForPreTraining")),
    *(("roberta", "Roberta" + head, SIZES) for head in HEADS),
    ("roberta", "RobertaForSequenceClassification", {**SIZES, "num_labels": 5}),
    ("xlm-roberta", "XLMRobertaModel", SIZES),
    *(("distilbert", "DistilBert" + head, DISTILBERT) for head in HEADS),
    *(("albert", "Albert" + head, ALBERT) for head in (*HEADS, "ForPreTraining")),
    ("albert", "AlbertModel", {**ALBERT, "num_hidden_layers": 5, "num_hidden_groups": 2, "inner_group_num": 2}),
    *(("electra", "Electra" + head, {**SIZES, "embedding_size": 24}) for head in (*HEADS, "ForPreTraining")),
    ("electra", "ElectraModel", {**SIZES, "embedding_size": 48}),
    *(("mpnet", "MPNet" + head, SIZES) for head in HEADS),
    *(("deberta-v2", "DebertaV2" + head, DEBERTA_V3) for head in HEADS),
    ("deberta-v2", "DebertaV2ForMaskedLM", {**DEBERTA_V3, "legacy": False}),
    ("deberta-v2", "DebertaV2Model", {**SIZES, "type_vocab_size": 2}),  # by content alone
    ("deberta-v2", "DebertaV2Model", {**DEBERTA_V3, "share_att_key": False, "position_buckets": -1}),
    ("deberta-v2", "DebertaV2Model", {**DEBERTA_V3, "conv_kernel_size": 3, "conv_act": "gelu", "embedding_size": 32}),
    ("deberta-v2", "DebertaV2Model", {**DEBERTA_V3, "pos_att_type": ["c2p"], "max_relative_positions": 9}),
    *(("modernbert", "ModernBert" + head, MODERNBERT) for head in HEADS),
    ("modernbert", "ModernBertForMaskedLM", {**MODERNBERT, **MODERNBERT_BIASED}),
    ("modernbert", "ModernBertForSequenceClassification", {**MODERNBERT, "classifier_pooling": "mean"}),
]  # fmt: skip


def padded(batch: int, seq: int) -> dict[str, Any]:
    """Make tokens whose last ones are padding in every row but the first (token 1: padding of RoBERTa)."""
    random = np.random.default_rng(3)
    ids = random.integers(2, 101, (batch, seq))
    mask = np.ones((batch, seq), np.int64)
    for row in range(1, batch):
        mask[row, seq - 2 * row :] = 0
        ids[row, seq - 2 * row :] = 1
    return {"input_ids": ids, "attention_mask": mask, "token_type_ids": random.integers(0, 2, (batch, seq))}


@pytest.mark.parametrize(("kind", "auto", "values"), CASES, ids=[f"{c[1]}{i}" for i, c in enumerate(CASES)])
def test_an_encoder_gives_what_transformers_gives_with_padding(kind: str, auto: str, values: dict[str, Any]) -> None:
    import torch

    model = random_model(kind, auto, values)
    config = config_of(model)
    feeds = padded(3, 13)
    if getattr(model.config, "type_vocab_size", 0) < 2:
        del feeds["token_type_ids"]
    with torch.no_grad():
        theirs = model(**{name: torch.from_numpy(value) for name, value in feeds.items()})
    ours = run(config, state_of(model), Phase(name="encode"), feeds)
    pairs = {name: theirs.get(name) for name in ours}
    if auto.endswith("QuestionAnswering"):
        pairs = {"logits": torch.stack([theirs.start_logits, theirs.end_logits], -1)}
    if auto == "AlbertForPreTraining":
        pairs["seq_relationship_logits"] = theirs.sop_logits
    # what a padding token gives means nothing: windows, or a mask of pairs, may hide all from it
    real = feeds["attention_mask"].astype(bool)
    for name, wanted in pairs.items():
        if kind in ("deberta-v2", "modernbert") and wanted.dim() == 3:
            assert ours[name].shape == wanted.shape
            ours[name], wanted = ours[name][real], wanted[torch.from_numpy(real)]
        assert difference(ours[name], wanted) < TOLERANCE
    assert parameter_count(config) == trained(model)
