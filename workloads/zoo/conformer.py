"""Conformer: two half feed-forward blocks around relative attention and a gated depthwise convolution.

Two model types of our own, since transformers has none: "conformer" ends in CTC scores; "conformer_transducer" has a
decoder, an LSTM over the tokens so far, whose state meets one frame of the encoder in a joint network (phase "decode").

Sources: Gulati et al. 2020, arXiv 2005.08100; Graves 2012, arXiv 1211.3711 (transducer); Graves et al. 2006 (CTC).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from workloads.zoo.config import Config
from workloads.zoo.graph import GraphWriter, transposed
from workloads.zoo.layers import Heads, embedding, feed_forward, layer_norm, linear
from workloads.zoo.phase import Phase
from workloads.zoo.speech import pointwise, relative_attention, relative_positions, separable, subsampled

__all__ = ["CTC", "TRANSDUCER", "Conformer", "Transducer", "read", "write"]

CTC = "conformer"
TRANSDUCER = "conformer_transducer"


@dataclass(frozen=True, slots=True)
class Transducer:
    """The decoder of a transducer.

    Attributes:
        embedded: Width of a token's embedding.
        width: Of the LSTM.
        joint: Width where decoder and encoder meet.
    """

    embedded: int
    width: int
    joint: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Conformer:
    """One architecture of this kind.

    Attributes:
        layers: Number of blocks.
        width: Of the hidden state.
        heads: Of the attention.
        inner: Width inside a feed-forward block.
        kernel: Steps that the depthwise convolution sees.
        mels: Mel bands of the input.
        vocabulary: Tokens, the blank included.
        eps: Of the norms.
        decoder: Of a transducer; None: CTC scores.
    """

    layers: int
    width: int
    heads: Heads
    inner: int
    kernel: int
    mels: int
    vocabulary: int
    eps: float
    decoder: Transducer | None


def read(values: Mapping[str, Any]) -> Conformer:
    """Read a configuration; its fields are named as those of transformers."""
    c = Config(values)
    width, heads = c.int("hidden_size"), c.heads("num_attention_heads")
    if width % 2:
        raise c.fault("hidden_size", "is odd; half of a position's encoding are sines")
    decoder = None
    if c.text("model_type") == TRANSDUCER:
        state = c.int("decoder_hidden_size")
        decoder = Transducer(c.int("decoder_embedding_size", state), state, c.int("joint_size", state))
    return Conformer(
        layers=c.depth("num_hidden_layers"),
        width=width,
        heads=Heads(heads, heads, c.share("num_attention_heads", width, heads)),
        inner=c.int("intermediate_size", 4 * width),
        kernel=c.int("conv_kernel_size", 32, most=10_000),
        mels=c.int("num_mel_bins", 80, most=100_000),
        vocabulary=c.int("vocab_size"),
        eps=c.positive("layer_norm_eps", 1e-5),
        decoder=decoder,
    )


def write(g: GraphWriter, model: Conformer, phase: Phase) -> None:
    """Write one phase.

    "encode": `input_features` [b, f, mels] to CTC `logits` [b, l, vocabulary], or to `encoder_output` [b, l, width].
    "decode" (transducer): the last token `input_ids` [b], the LSTM's `past_hidden` and `past_cell` [b, w] and one
    `encoder_frame` [b, width] to `logits` [b, vocabulary] and the next state.
    """
    if phase.decoding and model.decoder is not None:
        _step(g, model, model.decoder)
        return
    x = g.input("input_features", ("batch", "seq", model.mels))
    with g.scope("encoder"):
        x = subsampled(g, x, model.mels, model.width, depthwise=False)
        positions = relative_positions(g, x, model.width)
        for layer in range(model.layers):
            with g.scope(f"layers.{layer}"):
                x = _block(g, model, x, positions)
    if model.decoder is None:
        g.output("logits", pointwise(g, x, "decoder.decoder_layers.0", model.width, model.vocabulary), 3)
    else:
        g.output("encoder_output", x, 3)


def _block(g: GraphWriter, model: Conformer, x: str, positions: str) -> str:
    """One block: half a feed-forward block, attention, convolution, the other half, and a norm."""
    x = _half_fed(g, model, x, "feed_forward1")
    normed = layer_norm(g, x, "norm_self_att", model.width, model.eps)
    with g.scope("self_attn"):
        x = g.node("Add", x, relative_attention(g, normed, positions, model.width, model.heads))
    normed = layer_norm(g, x, "norm_conv", model.width, model.eps)
    with g.scope("conv"):
        x = g.node("Add", x, _convolved(g, model, normed))
    return layer_norm(g, _half_fed(g, model, x, "feed_forward2"), "norm_out", model.width, model.eps)


def _half_fed(g: GraphWriter, model: Conformer, x: str, name: str) -> str:
    normed = layer_norm(g, x, f"norm_{name}", model.width, model.eps)
    fed = feed_forward(g, normed, f"{name}.linear1", f"{name}.linear2", model.width, model.inner, "silu")
    return g.node("Add", x, g.node("Mul", fed, g.scalar(0.5)))


def _convolved(g: GraphWriter, model: Conformer, x: str) -> str:
    """Widen, gate (one half by the sigmoid of the other), convolve each channel, normalise, Swish, mix."""
    both = pointwise(g, x, "pointwise_conv1", model.width, 2 * model.width)
    value, gate = g.nodes("Split", (both,), 2, axis=-1, num_outputs=2)
    x = g.node("Mul", value, g.node("Sigmoid", gate))
    x = separable(g, x, "depthwise_conv", model.width, model.kernel, model.eps)
    return pointwise(g, x, "pointwise_conv2", model.width, model.width)


def _step(g: GraphWriter, model: Conformer, decoder: Transducer) -> None:
    """One step of the decoder: an LSTM cell on the last token, and the joint network with one frame."""
    token = g.input("input_ids", ("batch",), "int64")
    hidden = g.input("past_hidden", ("batch", decoder.width))
    cell = g.input("past_cell", ("batch", decoder.width))
    frame = g.input("encoder_frame", ("batch", model.width))
    with g.scope("decoder.prediction"):
        x = embedding(g, token, "embed", model.vocabulary, decoder.embedded)
        hidden, cell = _cell(g, decoder, x, hidden, cell)
    with g.scope("joint"):
        met = g.node(
            "Add",
            linear(g, frame, "enc", model.width, decoder.joint),
            linear(g, hidden, "pred", decoder.width, decoder.joint),
        )
        scores = linear(g, g.node("Tanh", met), "joint_net.2", decoder.joint, model.vocabulary)
    g.output("logits", scores, 2)
    g.output("present_hidden", hidden, 2)
    g.output("present_cell", cell, 2)


def _cell(g: GraphWriter, decoder: Transducer, x: str, hidden: str, cell: str) -> tuple[str, str]:
    """One step of an LSTM. Source: Hochreiter and Schmidhuber 1997; gates in torch's order: in, forget, cell, out."""
    name, gates = "dec_rnn.lstm", 4 * decoder.width

    def product(edge: str, part: str, n_in: int) -> str:
        full = g.path(f"{name}.weight_{part}_l0")
        y = g.node("MatMul", edge, g.parameter(f"{name}.weight_{part}_l0", (n_in, gates), transposed(full)))
        return g.node("Add", y, g.parameter(f"{name}.bias_{part}_l0", (gates,), fill=0.0))

    total = g.node("Add", product(x, "ih", decoder.embedded), product(hidden, "hh", decoder.width))
    let_in, forget, new, let_out = g.nodes("Split", (total,), 4, axis=-1, num_outputs=4)
    kept = g.node("Mul", g.node("Sigmoid", forget), cell)
    cell = g.node("Add", kept, g.node("Mul", g.node("Sigmoid", let_in), g.node("Tanh", new)))
    return g.node("Mul", g.node("Sigmoid", let_out), g.node("Tanh", cell)), cell
