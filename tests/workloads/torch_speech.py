"""Conformer and Squeezeformer in torch, written from the papers: what the zoo's graphs are compared with.

Attention by relative position is written as its definition, one distance per pair of steps, not as the shift of rows by
which the graphs compute it. Parameters carry the zoo's names, so that a state dict fits.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import glu, relu, silu

__all__ = ["Conformer", "Squeezeformer", "TransducerDecoder"]


def distance_encoding(distance: Tensor, width: int) -> Tensor:
    """Encode whole-number distances of any shape: [.., width]. Vaswani et al. 2017, section 3.5."""
    result = torch.zeros(*distance.shape, width)
    index = torch.arange(0, width, 2)
    angle = distance[..., None].float() / torch.pow(torch.tensor(10_000.0), index / width)
    result[..., 0::2] = angle.sin()
    result[..., 1::2] = angle.cos()
    return result


class RelativeAttention(nn.Module):
    """Dai et al. 2019, section 3.3: terms (a) to (d) of the score, for every pair (i, j) with distance i - j."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.linear_q, self.linear_k, self.linear_v = (nn.Linear(width, width) for _ in range(3))
        self.linear_out = nn.Linear(width, width)
        self.linear_pos = nn.Linear(width, width, bias=False)
        self.pos_bias_u = nn.Parameter(torch.randn(heads, width // heads))
        self.pos_bias_v = nn.Parameter(torch.randn(heads, width // heads))

    def forward(self, x: Tensor) -> Any:
        batch, steps, width = x.shape
        head = width // self.heads
        q, k, v = (f(x).view(batch, steps, self.heads, head) for f in (self.linear_q, self.linear_k, self.linear_v))
        index = torch.arange(steps)
        encoded = distance_encoding(index[:, None] - index[None, :], width)
        p = self.linear_pos(encoded).view(steps, steps, self.heads, head)
        content = torch.einsum("bihd,bjhd->bhij", q + self.pos_bias_u, k)
        place = torch.einsum("bihd,ijhd->bhij", q + self.pos_bias_v, p)
        weights = torch.softmax((content + place) / math.sqrt(head), dim=-1)
        return self.linear_out(torch.einsum("bhij,bjhd->bihd", weights, v).reshape(batch, steps, width))


class FeedForward(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.linear1, self.linear2 = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x: Tensor) -> Any:
        return self.linear2(silu(self.linear1(x)))


class Convolution(nn.Module):
    """Gulati et al. 2020, figure 2 (gated); Kim et al. 2022, section 3.2: Swish, not a gate, and twice as wide."""

    def __init__(self, width: int, kernel: int, gated: bool) -> None:
        super().__init__()
        inner = width if gated else 2 * width
        self.gated, self.kernel = gated, kernel
        self.pointwise_conv1 = nn.Conv1d(width, 2 * width, 1)
        self.depthwise_conv = nn.Conv1d(inner, inner, kernel, groups=inner)
        self.batch_norm = nn.BatchNorm1d(inner)
        self.pointwise_conv2 = nn.Conv1d(inner, width, 1)

    def forward(self, x: Tensor) -> Any:
        y = self.pointwise_conv1(x.transpose(1, 2))
        y = glu(y, dim=1) if self.gated else silu(y)
        y = nn.functional.pad(y, ((self.kernel - 1) // 2, self.kernel // 2))  # as many steps as before
        y = self.pointwise_conv2(silu(self.batch_norm(self.depthwise_conv(y))))
        return y.transpose(1, 2)


class Subsampling(nn.Module):
    def __init__(self, mels: int, width: int, depthwise: bool) -> None:
        super().__init__()
        self.depthwise = depthwise
        self.conv = nn.ModuleDict({"0": nn.Conv2d(1, width, 3, 2, 1)})
        self.conv["2"] = nn.Conv2d(width, width, 3, 2, 1, groups=width if depthwise else 1)
        if depthwise:
            self.conv["3"] = nn.Conv2d(width, width, 1)
        self.out = nn.Linear(width * math.ceil(math.ceil(mels / 2) / 2), width)

    def forward(self, x: Tensor) -> Any:
        y = self.conv["2"](relu(self.conv["0"](x[:, None])))
        y = relu(self.conv["3"](y) if self.depthwise else y)
        return self.out(y.transpose(1, 2).flatten(2))


class ConformerBlock(nn.Module):
    def __init__(self, width: int, heads: int, kernel: int) -> None:
        super().__init__()
        self.norm_feed_forward1, self.feed_forward1 = nn.LayerNorm(width), FeedForward(width)
        self.norm_self_att, self.self_attn = nn.LayerNorm(width), RelativeAttention(width, heads)
        self.norm_conv, self.conv = nn.LayerNorm(width), Convolution(width, kernel, gated=True)
        self.norm_feed_forward2, self.feed_forward2 = nn.LayerNorm(width), FeedForward(width)
        self.norm_out = nn.LayerNorm(width)

    def forward(self, x: Tensor) -> Any:  # Gulati et al. 2020, equation 1
        x = x + 0.5 * self.feed_forward1(self.norm_feed_forward1(x))
        x = x + self.self_attn(self.norm_self_att(x))
        x = x + self.conv(self.norm_conv(x))
        return self.norm_out(x + 0.5 * self.feed_forward2(self.norm_feed_forward2(x)))


class ScaleBias(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.scale, self.bias = nn.Parameter(torch.ones(width)), nn.Parameter(torch.zeros(width))

    def forward(self, x: Tensor) -> Any:
        return x * self.scale + self.bias


class SqueezeformerBlock(nn.Module):
    """Kim et al. 2022, figure 2: attention, feed-forward, convolution, feed-forward; norms after, scaling before."""

    def __init__(self, width: int, heads: int, kernel: int) -> None:
        super().__init__()
        self.self_attn_scale, self.self_attn = ScaleBias(width), RelativeAttention(width, heads)
        self.feed_forward1_scale, self.feed_forward1 = ScaleBias(width), FeedForward(width)
        self.conv_scale, self.conv = ScaleBias(width), Convolution(width, kernel, gated=False)
        self.feed_forward2_scale, self.feed_forward2 = ScaleBias(width), FeedForward(width)
        self.norm_self_att, self.norm_feed_forward1 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.norm_conv, self.norm_feed_forward2 = nn.LayerNorm(width), nn.LayerNorm(width)

    def forward(self, x: Tensor) -> Any:
        x = self.norm_self_att(x + self.self_attn(self.self_attn_scale(x)))
        x = self.norm_feed_forward1(x + self.feed_forward1(self.feed_forward1_scale(x)))
        x = self.norm_conv(x + self.conv(self.conv_scale(x)))
        return self.norm_feed_forward2(x + self.feed_forward2(self.feed_forward2_scale(x)))


class Scores(nn.Module):
    def __init__(self, width: int, vocabulary: int) -> None:
        super().__init__()
        self.decoder_layers = nn.ModuleList([nn.Conv1d(width, vocabulary, 1)])

    def forward(self, x: Tensor) -> Any:
        return self.decoder_layers[0](x.transpose(1, 2)).transpose(1, 2)


class Conformer(nn.Module):
    def __init__(self, config: dict[str, Any]) -> None:
        super().__init__()
        width = config["hidden_size"]
        block = (width, config["num_attention_heads"], config["conv_kernel_size"])
        self.encoder = nn.Module()
        self.encoder.pre_encode = Subsampling(config["num_mel_bins"], width, depthwise=False)
        self.encoder.layers = nn.ModuleList([ConformerBlock(*block) for _ in range(config["num_hidden_layers"])])
        self.decoder: Any = None
        if config["model_type"] == "conformer":
            self.decoder = Scores(width, config["vocab_size"])

    def forward(self, spectrogram: Tensor) -> Any:
        encoder: Any = self.encoder
        x = encoder.pre_encode(spectrogram)
        for layer in encoder.layers:
            x = layer(x)
        return x if self.decoder is None else self.decoder(x)


class TransducerDecoder(nn.Module):
    """An LSTM over tokens, and the joint network: Graves 2012, with torch's own LSTM."""

    def __init__(self, config: dict[str, Any]) -> None:
        super().__init__()
        state, joint = config["decoder_hidden_size"], config["joint_size"]
        lstm = nn.LSTM(config["decoder_embedding_size"], state, batch_first=True)
        prediction = {
            "embed": nn.Embedding(config["vocab_size"], config["decoder_embedding_size"]),
            "dec_rnn": nn.ModuleDict({"lstm": lstm}),
        }
        self.decoder = nn.ModuleDict({"prediction": nn.ModuleDict(prediction)})
        self.joint = nn.ModuleDict(
            {
                "enc": nn.Linear(config["hidden_size"], joint),
                "pred": nn.Linear(state, joint),
                "joint_net": nn.ModuleDict({"2": nn.Linear(joint, config["vocab_size"])}),
            }
        )

    def forward(self, tokens: Tensor, frame: Tensor) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        parts: Any = self.decoder
        prediction = parts["prediction"]
        output, state = prediction["dec_rnn"]["lstm"](prediction["embed"](tokens))
        joint: Any = self.joint
        met = torch.tanh(joint["enc"](frame) + joint["pred"](output[:, -1]))
        return joint["joint_net"]["2"](met), state


class Squeezeformer(nn.Module):
    def __init__(self, config: dict[str, Any]) -> None:
        super().__init__()
        width, kernel = config["hidden_size"], config["time_reduce_kernel_size"]
        block = (width, config["num_attention_heads"], config["conv_kernel_size"])
        self.config = config
        self.encoder = nn.Module()
        self.encoder.pre_encode = Subsampling(config["num_mel_bins"], width, depthwise=True)
        self.encoder.layers = nn.ModuleList([SqueezeformerBlock(*block) for _ in range(config["num_hidden_layers"])])
        self.encoder.time_reduce_layer = nn.ModuleDict(
            {
                "dw_conv": nn.Conv1d(width, width, kernel, 2, kernel // 2, groups=width),
                "pw_conv": nn.Conv1d(width, width, 1),
            }
        )
        self.encoder.time_recovery_layer = nn.Linear(width, width)
        self.decoder = Scores(width, config["vocab_size"])

    def forward(self, spectrogram: Tensor) -> Any:
        encoder: Any = self.encoder
        x = encoder.pre_encode(spectrogram) * math.sqrt(self.config["hidden_size"])
        saved = x
        for index, layer in enumerate(encoder.layers):
            if index == self.config["time_reduce_layer"]:
                saved = x
                reduce = encoder.time_reduce_layer
                x = reduce["pw_conv"](reduce["dw_conv"](x.transpose(1, 2))).transpose(1, 2)
            if index == self.config["time_recover_layer"]:
                long = x.repeat_interleave(2, dim=1)[:, : saved.shape[1]]
                x = saved + encoder.time_recovery_layer(long)
            x = layer(x)
        return self.decoder(x)
