"""Signatures that come with this folder: layers of BERT-Base, GPT-2 and Llama-like decoders, and spreads of shapes.

Source of the models' sizes: their published configurations (Devlin et al. 2019; Radford et al. 2019; Touvron et al.
2023, Llama 2 7B; Grattafiori et al. 2024, Llama 3 8B).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from .signatures import KernelError, Signature, merged

__all__ = ["CONFIGS", "MODELS", "SUITES", "interleaved", "model_signatures", "suite"]


@dataclass(frozen=True, slots=True)
class Model:
    """A stack of equal transformer layers: sizes, and whether its FFN is gated and its attention causal."""

    layers: int
    width: int
    heads: int
    kv_heads: int
    head_dim: int
    inner: int
    gated: bool
    causal: bool


MODELS = {
    "bert-base": Model(12, 768, 12, 12, 64, 3072, False, False),
    "gpt2": Model(12, 768, 12, 12, 64, 3072, False, True),
    "llama-2-7b": Model(32, 4096, 32, 32, 128, 11008, True, True),
    "llama-3-8b": Model(32, 4096, 32, 8, 128, 14336, True, True),
}


def model_signatures(
    name: str, batch: int, q_len: int, kv_len: int, a: str = "bf16", w: str = "", kv: str = "", page: int = 0
) -> list[Signature]:
    """List the kernels of a forward pass through a model's layers, with their counts over all layers.

    Embeddings and the last product to the vocabulary are left out, as in tables of layers.

    Args:
        name: Key of `MODELS`.
        batch: Sequences.
        q_len: New tokens of each; 1: decoding.
        kv_len: Keys of each, the new ones included.
        a: Format of activations.
        w: Of weights; "": as the activations.
        kv: Of the cache; "": as the activations.
        page: Tokens of a page of the cache; 0: one piece.
    """
    x, rows = MODELS[name], batch * q_len
    where = f"{name} b={batch} q={q_len} kv={kv_len} {w or a}"
    half = a if a in ("fp16", "bf16", "fp32") else "bf16"  # between products of 8 bits there are 16
    qkv = (x.heads + 2 * x.kv_heads) * x.head_dim

    def gemm(part: str, n: int, k: int) -> Signature:
        return Signature(
            op="gemm", m=rows, n=n, k=k, a_dtype=a, w_dtype=w or a, name=f"{where}: {part}", count=x.layers
        )

    def rowwise(op: str, cols: int, count: float, dim: int = 0) -> Signature:
        named = {"name": f"{where}: {op}", "count": count * x.layers}
        return Signature(op=op, rows=rows, cols=cols, head_dim=dim, a_dtype=half, **named)  # type: ignore[arg-type]

    attention = Signature(
        op="attention_decode" if q_len == 1 else "attention_prefill",
        batch=batch, q_len=q_len, kv_len=kv_len, heads=x.heads, kv_heads=x.kv_heads, head_dim=x.head_dim,
        causal=int(x.causal and q_len > 1), page_size=page, a_dtype=half, kv_dtype=kv or half,
        name=f"{where}: attention", count=x.layers,
    )  # fmt: skip
    both = [
        gemm("qkv", qkv, x.width),
        attention,
        gemm("out", x.width, x.heads * x.head_dim),
        gemm("ffn up", x.inner * (1 + x.gated), x.width),
        gemm("ffn down", x.width, x.inner),
        rowwise("add", x.width, 2),
    ]
    if not x.gated:
        return [*both, rowwise("gelu", x.inner, 1), rowwise("layernorm", x.width, 2)]
    turned = (x.heads + x.kv_heads) * x.head_dim
    more = [rowwise("silu_mul", x.inner, 1), rowwise("rmsnorm", x.width, 2), rowwise("rope", turned, 1, x.head_dim)]
    return [*both, *more]


CONFIGS: tuple[tuple[object, ...], ...] = (
    *(("bert-base", batch, length, length, "fp16") for batch, length in ((1, 128), (8, 128), (8, 512))),
    *(
        ("gpt2", batch, new, keys, "fp16")
        for batch, new, keys in ((1, 1024, 1024), (8, 1024, 1024), (1, 1, 1024), (32, 1, 1024))
    ),
    *(
        (name, batch, new, keys)
        for name in ("llama-2-7b", "llama-3-8b")
        for batch, new, keys in ((1, 2048, 2048), (1, 1, 2048), (16, 1, 2048), (64, 1, 1024))
    ),
    *(
        ("llama-3-8b", batch, 1, 2048, *formats)
        for formats in (("fp8", "fp8"), ("int8", "int8"), ("bf16", "int4"), ("bf16", "lut4"), ("bf16", "bf16_2:4"))
        for batch in (1, 32)
    ),
)
"""Arguments of `model_signatures`: models, batches, lengths and formats that are measured, layers as a whole too."""


def _models() -> Iterator[Signature]:
    for config in CONFIGS:
        yield from model_signatures(*config)  # type: ignore[arg-type]


SIDES = ((4096, 4096), (14336, 4096), (4096, 14336), (1024, 1024), (8192, 8192))
"""(n, k) of the spread of products."""


def _gemms() -> Iterator[Signature]:
    for n, k in SIDES:
        for m in (1, 16, 64, 256, 1024, 4096):
            yield Signature(op="gemm", m=m, n=n, k=k, a_dtype="bf16", w_dtype="bf16", name="spread")
    for a in ("fp16", "fp32", "tf32", "fp8", "int8"):
        for m, n, k in ((1, 4096, 4096), (64, 4096, 14336), (512, 14336, 4096), (2048, 4096, 4096)):
            yield Signature(op="gemm", m=m, n=n, k=k, a_dtype=a, w_dtype=a, name="spread")
    for batch, m, n, k in ((96, 128, 128, 64), (96, 128, 64, 128), (32, 1024, 1024, 128)):
        yield Signature(op="bgemm", batch=batch, m=m, n=n, k=k, a_dtype="bf16", w_dtype="bf16", name="spread")


def _narrow() -> Iterator[Signature]:
    for w in ("int8", "int4", "int3", "lut4", "lut3", "lut4+csr", "lut3+csr", "bf16_2:4"):
        for m in (1, 16, 256):
            for n, k in ((4096, 4096), (14336, 4096), (4096, 14336)):
                yield Signature(op="gemm", m=m, n=n, k=k, a_dtype="bf16", w_dtype=w, name="spread")


def _attention() -> Iterator[Signature]:
    base = {"heads": 32, "kv_heads": 8, "head_dim": 128, "name": "spread"}
    for batch, length in ((1, 512), (1, 4096), (4, 2048)):
        for causal in (0, 1):
            yield Signature(op="attention_prefill", batch=batch, q_len=length, kv_len=length, causal=causal,
                            kv_dtype="bf16", **base)  # type: ignore[arg-type]  # fmt: skip
    for batch, keys in ((1, 512), (1, 8192), (16, 2048), (64, 4096)):
        for page, kv in ((0, "bf16"), (16, "bf16"), (64, "bf16"), (16, "int8"), (16, "fp8")):
            yield Signature(op="attention_decode", batch=batch, q_len=1, kv_len=keys, page_size=page,
                            kv_dtype=kv, **base)  # type: ignore[arg-type]  # fmt: skip


def _elementwise() -> Iterator[Signature]:
    for rows, cols in ((128, 768), (4096, 768), (64, 4096), (4096, 4096), (2048, 14336)):
        for op in ("add", "gelu", "silu_mul", "softmax", "layernorm", "rmsnorm"):
            yield Signature(op=op, rows=rows, cols=cols, name="spread")
        if cols == 4096:
            for op in ("mul", "relu", "tanh"):
                yield Signature(op=op, rows=rows, cols=cols, name="spread")
            yield Signature(op="rope", rows=rows, cols=cols + 1024, head_dim=128, name="spread")
    yield Signature(op="softmax", rows=12 * 8 * 512, cols=512, a_dtype="fp16", name="spread")


def _integer() -> Iterator[Signature]:
    for rows, cols, op in ((12 * 128, 128, "i_softmax"), (12 * 8 * 512, 512, "i_softmax"), (1024, 3072, "i_gelu"),
                           (4096, 3072, "i_gelu"), (1024, 768, "i_layernorm"), (4096, 768, "i_layernorm")):  # fmt: skip
        yield Signature(op=op, rows=rows, cols=cols, a_dtype="int32", name="spread")


SUITES = {
    "models": _models,
    "gemm": _gemms,
    "narrow": _narrow,
    "attention": _attention,
    "elementwise": _elementwise,
    "integer": _integer,
}
"""Suites by name; "all" is all of them, "smoke" small ones that meet every kernel."""


def suite(name: str) -> list[Signature]:
    """List a suite's signatures, families in turn, so that an early end has seen something of each.

    Raises:
        KernelError: There is no such suite.

    Example:
        >>> len({signature.op for signature in suite("all")})
        17
    """
    if name == "smoke":
        return interleaved(merged(_small(signature) for maker in SUITES.values() for signature in maker()))
    if name not in (*SUITES, "all"):
        raise KernelError(f"no suite {name!r}; there are {', '.join(SUITES)}, all and smoke")
    chosen = SUITES.values() if name == "all" else [SUITES[name]]
    return interleaved(merged(signature for maker in chosen for signature in maker()))


def _small(s: Signature) -> Signature:
    """Keep what a signature is, and make it small."""
    least = {"m": 48, "n": 128, "k": 256, "batch": 2, "rows": 8, "cols": 256, "q_len": 48, "kv_len": 192}
    few = {"heads": 4, "kv_heads": 2, "head_dim": 64}
    cut = {field: min(getattr(s, field), bound) for field, bound in least.items() if getattr(s, field)}
    if s.q_len == s.kv_len and s.q_len:
        cut["kv_len"] = cut["q_len"]
    small = {**cut, **({} if s.op == "rope" or not s.heads else few), "name": "smoke", "count": 1.0}
    return replace(s, **{**small, "head_dim": 64 if s.op == "rope" or s.heads else 0})


def interleaved(signatures: list[Signature]) -> list[Signature]:
    """Order signatures so that operations and pairs of formats come in turn."""
    kinds: dict[tuple[str, str, str], list[Signature]] = {}
    for item in signatures:
        kinds.setdefault((item.op, item.a_dtype, item.second), []).append(item)
    longest = max(map(len, kinds.values()), default=0)
    return [items[place] for place in range(longest) for items in kinds.values() if place < len(items)]
