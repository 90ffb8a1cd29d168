"""Op types that exist and have no handler on purpose, with the reason: the literal tables."""

from __future__ import annotations

__all__ = ["REFUSED", "REFUSED_DOMAINS"]

_DATA = (
    "how much it selects stands in run-time data, so its result has no shape to count with; if an upper bound will do, "
    "give extra_ops={'%s': workloads.onnx.worst_case}, or cut the graph before it"
)
_TEXT = "it processes text; run it before the model, and load the graph behind it"
_SEARCH = (
    "it runs the decoder inside it as often as the data say; load the decoder graph itself, once for the prompt and "
    "once for a step, and weigh the two"
)
_LAYOUT = "its integers lie in a layout that one vendor's library defines; export the model with plain 8-bit operators"
_BLOB = "its weights are blobs whose formats only ONNX Runtime documents; export the model with MatMulNBits"
_CHOSEN = (
    "which keys each query reads stands in run-time data; describe it with a handler that says how many, or export "
    "GroupQueryAttention"
)
_OPAQUE = "it holds a compiled model of one vendor; load the ONNX model that it was compiled from"
_YOUNG = "it is an experimental operator of one runtime; export its parts as standard operators"
_REPLAY = "it copies the state of a running session, which no model does by itself"
_HASH = "it hashes identifiers; run it before the model, and load the graph behind it"

REFUSED: dict[str, str] = {
    "Compress": _DATA % "Compress",
    "ImageDecoder": "the size of the image stands in its file; decode it before the model",
    "NonZero": _DATA % "NonZero",
    "RegexFullMatch": _TEXT,
    "StringConcat": _TEXT,
    "StringNormalizer": _TEXT,
    "StringSplit": _TEXT,
    "TfIdfVectorizer": _TEXT,
    "Unique": _DATA % "Unique",
    "com.microsoft::AttnLSTM": "no exporter writes it; export LSTM and attention as standard operators",
    "com.microsoft::BeamSearch": _SEARCH,
    "com.microsoft::BifurcationDetector": "where tokens diverge stands in run-time data",
    "com.microsoft::ConvStateReplay": _REPLAY,
    "com.microsoft::DecoderAttention": "run-time inputs say whose keys it reads; export MultiHeadAttention",
    "com.microsoft::DequantizeBFP": _LAYOUT,
    "com.microsoft::DequantizeWithOrder": _LAYOUT,
    "com.microsoft::DynamicSparseAttention": _CHOSEN,
    "com.microsoft::DynamicTimeWarping": "the length of the path stands in run-time data",
    "com.microsoft::EPContext": _OPAQUE,
    "com.microsoft::EngramGate": _YOUNG,
    "com.microsoft::GatedDeltaNet": "its packed sequences have run-time lengths; export LinearAttention",
    "com.microsoft::GatedDeltaNetStateReplay": _REPLAY,
    "com.microsoft::GatherPacked": _BLOB,
    "com.microsoft::GreedySearch": _SEARCH,
    "com.microsoft::HyperConnectionLowRankMix": _YOUNG,
    "com.microsoft::HyperConnectionPostMix": _YOUNG,
    "com.microsoft::HyperConnectionPreMix": _YOUNG,
    "com.microsoft::LongformerAttention": "how many tokens attend globally stands in run-time data",
    "com.microsoft::Mamba2Verify": _YOUNG,
    "com.microsoft::MatMulFpQ4": _BLOB,
    "com.microsoft::MatMulNBitsQLoRA": "adapters may be empty at run time; merge them into the weights",
    "com.microsoft::MatMulPacked": _BLOB,
    "com.microsoft::MaxpoolWithMask": "it is internal to ONNX Runtime; export MaxPool",
    "com.microsoft::MoEGroupRouter": _YOUNG,
    "com.microsoft::MoEPacked": _BLOB,
    "com.microsoft::MurmurHash3": _HASH,
    "com.microsoft::NGramHashMapping": _HASH,
    "com.microsoft::PackedSparseAttentionIndexer": _CHOSEN,
    "com.microsoft::PackedSparseAttentionIndexerMerge": _CHOSEN,
    "com.microsoft::PagedAttention": _CHOSEN,
    "com.microsoft::QOrderedAttention": _LAYOUT,
    "com.microsoft::QOrderedGelu": _LAYOUT,
    "com.microsoft::QOrderedLayerNormalization": _LAYOUT,
    "com.microsoft::QOrderedLongformerAttention": _LAYOUT,
    "com.microsoft::QOrderedMatMul": _LAYOUT,
    "com.microsoft::QuantizeBFP": _LAYOUT,
    "com.microsoft::QuantizeWithOrder": _LAYOUT,
    "com.microsoft::RMSNormRotary": _YOUNG,
    "com.microsoft::SampleOp": "it is an example and computes nothing",
    "com.microsoft::Sampling": _SEARCH,
    "com.microsoft::Snpe": _OPAQUE,
    "com.microsoft::SparseAttention": _CHOSEN,
    "com.microsoft::SparseAttentionIndexer": _CHOSEN,
    "com.microsoft::SparsePagedAttention": _CHOSEN,
    "com.microsoft::SparseToDenseMatMul": "where its operand has values stands in run-time data; export MatMul",
    "com.microsoft::SpeculativePrefixCommit": "how many tokens are accepted stands in run-time data",
    "com.microsoft::Tokenizer": _TEXT,
    "com.microsoft::Unique": _DATA % "Unique",
    "com.microsoft::VarlenCausalConvWithState": "sequences have run-time lengths; export CausalConvWithState",
    "com.microsoft::VarlenNGramHashMapping": _HASH,
    "com.microsoft::WhisperBeamSearch": _SEARCH,
    "com.microsoft::WordConvEmbedding": "no exporter writes it; export Gather and Conv",
}
"""ONNX op type ("domain::op type" outside the default domain) to the reason, which ends the sentence "... because"."""

REFUSED_DOMAINS: dict[str, str] = {
    "ai.onnx.ml": "trees and other classical models are no tensor programs; load the network alone",
    "ai.onnx.preview.training": "it is a step of training; load the inference graph",
    "com.microsoft.nchwc": "it is a layout that ONNX Runtime chose for one CPU; load the model from before "
    "optimization, or save it with GraphOptimizationLevel.ORT_ENABLE_EXTENDED",
    "com.ms.internal.nhwc": "it is a layout that ONNX Runtime chose for one device; load the model from before "
    "optimization",
}
"""Domain to the reason why none of its op types has a handler."""
