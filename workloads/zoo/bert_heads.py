"""What stands on top of a text encoder of the BERT kind, by the name that `architectures` of a config.json gives.

Source of the heads and of their parameter names: transformers 5, BertFor..., RobertaFor..., DistilBertFor...,
AlbertFor..., ElectraFor..., MPNetFor...
"""

from __future__ import annotations

from dataclasses import dataclass

from workloads.zoo.graph import GraphWriter
from workloads.zoo.layers import activation, layer_norm, linear

__all__ = ["HEADS", "Top", "pools", "write"]

HEADS = (
    "Model", "MaskedLM", "PreTraining", "SequenceClassification", "TokenClassification", "QuestionAnswering",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Top:
    """What a head needs to know of the encoder below it.

    Attributes:
        kind: Hugging Face's model type.
        width: Of the hidden state.
        embedded: Width of the embeddings.
        vocabulary: Number of tokens.
        labels: Classes.
        act: Activation function of the encoder.
        eps: Of its norms.
        table: Whole name of the embedding table, where it is the output matrix too; empty: the output has its own.
    """

    kind: str
    width: int
    embedded: int
    vocabulary: int
    labels: int
    act: str
    eps: float
    table: str


@dataclass(frozen=True, slots=True)
class _Language:
    """What a checkpoint calls the parts of a masked language model on top.

    Attributes:
        dense: Product before the vocabulary.
        norm: Norm before the vocabulary.
        out: Product with the vocabulary.
        bias: Its bias.
        act: Activation function; empty: that of the encoder.
    """

    dense: str
    norm: str
    out: str
    bias: str
    act: str = ""


_ROBERTA = _Language("lm_head.dense", "lm_head.layer_norm", "lm_head.decoder", "lm_head.bias", "gelu")
_LANGUAGE = {
    "bert": _Language(
        "cls.predictions.transform.dense", "cls.predictions.transform.LayerNorm", "cls.predictions.decoder",
        "cls.predictions.bias",
    ),
    "roberta": _ROBERTA,
    "xlm-roberta": _ROBERTA,
    "camembert": _ROBERTA,
    "mpnet": _ROBERTA,
    "distilbert": _Language("vocab_transform", "vocab_layer_norm", "vocab_projector", "vocab_projector.bias"),
    "albert": _Language(
        "predictions.dense", "predictions.LayerNorm", "predictions.decoder", "predictions.bias"
    ),
    "electra": _Language(
        "generator_predictions.dense", "generator_predictions.LayerNorm", "generator_lm_head",
        "generator_lm_head.bias", "gelu",
    ),
}  # fmt: skip


def pools(kind: str, head: str) -> bool:
    """Say whether a head looks at the pooled first token of the encoder (if that kind of encoder makes one)."""
    return head in ("Model", "PreTraining") or (head == "SequenceClassification" and kind in ("bert", "albert"))


def write(g: GraphWriter, head: str, top: Top, x: str, pooled: str) -> None:
    """Write a head and the outputs of the graph.

    Args:
        g: The graph.
        head: One of `HEADS`.
        top: What it stands on.
        x: The hidden state, [b, l, width].
        pooled: The pooled first token, [b, width]; empty where there is none.
    """
    if head == "Model":
        g.output("last_hidden_state", x, 3)
        if pooled:
            g.output("pooler_output", pooled, 2)
    elif head == "MaskedLM":
        g.output("logits", _language(g, top, x), 3)
    elif head == "PreTraining":
        _pretraining(g, top, x, pooled)
    elif head == "SequenceClassification":
        g.output("logits", _sequence(g, top, x, pooled), 2)
    else:
        name, classes = ("classifier", top.labels) if head == "TokenClassification" else ("qa_outputs", 2)
        g.output("logits", linear(g, x, name, top.width, classes), 3)


def _language(g: GraphWriter, top: Top, x: str) -> str:
    """Score every token of the vocabulary at every position."""
    names = _LANGUAGE[top.kind]
    x = activation(g, linear(g, x, names.dense, top.width, top.embedded), names.act or top.act)
    x = layer_norm(g, x, names.norm, top.embedded, top.eps)
    if top.table:
        table = g.parameter(top.table, (top.vocabulary, top.embedded), absolute=True)
        scores = g.node("MatMul", x, g.node("Transpose", table, perm=[1, 0]))
    else:
        scores = linear(g, x, names.out, top.embedded, top.vocabulary, bias=False)
    return g.node("Add", scores, g.parameter(names.bias, (top.vocabulary,), fill=0.0))


def _pretraining(g: GraphWriter, top: Top, x: str, pooled: str) -> None:
    """ELECTRA says which tokens are not original; the others guess tokens, and whether two sentences go together."""
    if top.kind == "electra":
        x = activation(g, linear(g, x, "discriminator_predictions.dense", top.width, top.width), top.act)
        scores = linear(g, x, "discriminator_predictions.dense_prediction", top.width, 1)
        g.output("logits", g.node("Squeeze", scores, g.constant([2])), 2)
        return
    g.output("prediction_logits", _language(g, top, x), 3)
    if pooled:
        name = "sop_classifier.classifier" if top.kind == "albert" else "cls.seq_relationship"
        g.output("seq_relationship_logits", linear(g, pooled, name, top.width, 2), 2)


def _sequence(g: GraphWriter, top: Top, x: str, pooled: str) -> str:
    """Classify a sequence by its first token."""
    if top.kind in ("bert", "albert"):
        return linear(g, pooled, "classifier", top.width, top.labels)
    first = g.node("Gather", x, g.constant(0), axis=1)
    if top.kind == "distilbert":
        hidden = g.node("Relu", linear(g, first, "pre_classifier", top.width, top.width))
        return linear(g, hidden, "classifier", top.width, top.labels)
    act = "gelu" if top.kind == "electra" else "tanh"
    hidden = activation(g, linear(g, first, "classifier.dense", top.width, top.width), act)
    return linear(g, hidden, "classifier.out_proj", top.width, top.labels)
