"""Architectures to workloads, programs and ONNX files, by published name or by configuration."""

from __future__ import annotations

from collections.abc import Mapping
from numbers import Integral
from pathlib import Path
from typing import Any, Literal

from workloads.errors import WorkloadError, nearest
from workloads.onnx.loader import load_onnx
from workloads.workload import Program, Workload
from workloads.zoo.catalogue import LISTING, published, published_names
from workloads.zoo.config import read_config
from workloads.zoo.contexts import strata
from workloads.zoo.families import family_of
from workloads.zoo.graph import TOTAL, GraphWriter, Parameter
from workloads.zoo.phase import CACHE_FORMATS, Phase, PhaseName
from workloads.zoo.quantized import honoured, refuse_quantized

__all__ = ["Source", "architecture", "generation", "graph", "parameter_count"]

DTYPES = ("fp32", "fp16", "bf16")
"""Formats of weights and activations in which architectures are written."""

Source = str | Path | Mapping[str, Any]
"""A published name, a configuration, or the path of a config.json or of a folder that holds one."""


def graph(
    source: Source,
    /,
    *,
    phase: PhaseName | None = None,
    dtype: str = "fp16",
    kv_bits: int | None = None,
    logits: Literal["last", "all"] = "last",
) -> GraphWriter:
    """Write the graph of an architecture.

    Args:
        source: A published name, a configuration (a mapping, a config.json, a folder with one).
        phase: "encode", "prefill" or "decode"; by default the first that the family has.
        dtype: Format of weights and activations: fp32, fp16 or bf16.
        kv_bits: Width of the KV cache: 4, 8, or None for that of `dtype` [bit].
        logits: Of a prefill: for the last token, or for all.

    Raises:
        WorkloadError: Unknown name, model type, phase or format, a configuration that is not one, or one of quantized
            weights: the graph has plain ones.
    """
    config, _ = _config(source)
    refuse_quantized(config)
    return _graph(source, phase=phase, dtype=dtype, kv_bits=kv_bits, logits=logits)


def _graph(
    source: Source,
    *,
    phase: PhaseName | None = None,
    dtype: str = "fp16",
    kv_bits: int | None = None,
    logits: Literal["last", "all"] = "last",
) -> GraphWriter:
    """Write the graph of an architecture with plain weights, whatever its checkpoint stores."""
    config, name = _config(source)
    if dtype not in DTYPES:
        raise WorkloadError(
            f"{name}: weights and activations are {', '.join(DTYPES)}, not {dtype!r}; for fewer bits compress the model"
        )
    family = family_of(config)
    chosen = phase or family.phases[0]
    if chosen not in family.phases:
        raise WorkloadError(f"{name}: has no phase {chosen!r}; it has {', '.join(family.phases)}")
    writer = GraphWriter(name, dtype)
    try:
        family.write(writer, family.read(config), Phase(name=chosen, kv_bits=kv_bits, logits=logits))
    except WorkloadError as error:
        raise _of_file(error, source) from error.__cause__
    if kv_bits is not None and not writer.yields(CACHE_FORMATS[kv_bits]):
        raise WorkloadError(
            f"{name}: keeps no KV cache in phase {chosen!r}, so its cache cannot have {kv_bits} bits; leave them out"
            + (", or give phase 'decode'" if "prefill" in family.phases else "")
        )
    return writer


def architecture(
    source: Source,
    /,
    *,
    phase: PhaseName | None = None,
    batch: int = 1,
    seq: int = 128,
    context: int | None = None,
    dtype: str = "fp16",
    kv_bits: int | None = None,
    logits: Literal["last", "all"] = "last",
    **bind: int,
) -> Workload:
    """Give the workload of an architecture: what `load_onnx` makes of its graph.

    Where the configuration says how weights are quantized (gptq, awq, bitsandbytes), those of the layers have its bits.

    Args:
        source: A published name, a configuration (a mapping, a config.json, a folder with one).
        phase: "encode", "prefill" or "decode"; by default the first that the family has.
        batch: Sequences (images, clips).
        seq: Tokens of an encoder pass or of a prompt; audio: input frames; images ignore it.
        context: Decode: tokens that are in the cache before the step; by default `seq`.
        dtype: Format of weights and activations: fp32, fp16 or bf16.
        kv_bits: Width of the KV cache: 4, 8, or None for that of `dtype` [bit].
        logits: Of a prefill: for the last token, or for all.
        **bind: Sizes of further symbolic dims of the graph; `source`, the encoder's tokens that a decoder reads, is by
            default `seq`.

    Raises:
        WorkloadError: Unknown name, model type, phase or format, a configuration that is not one, or a quantization of
            its weights that cannot be honoured.

    Example:
        >>> work = architecture("llama-2-7b", phase="decode", context=1000)
        >>> round(work.weight_count() / 1e9, 2)
        6.74
    """
    writer = _graph(source, phase=phase, dtype=dtype, kv_bits=kv_bits, logits=logits)
    if context is not None:
        _check_context(writer, context)
    sizes = _sizes(writer, batch, seq, seq if context is None else context, bind)
    try:
        return honoured(load_onnx(writer.model(), **sizes), _config(source)[0])
    except WorkloadError as error:
        raise _of_file(error, source) from error.__cause__


def generation(
    source: Source,
    /,
    *,
    prompt: int,
    tokens: int,
    batch: int = 1,
    dtype: str = "fp16",
    kv_bits: int | None = None,
    exact: bool = False,
    points: int = 4,
    **bind: int,
) -> Program:
    """Give a whole generation: one prefill, which yields the first token, and a decode step for each further one.

    An encoder-decoder model's encoder runs once, before them.

    Cost grows with the context piece by piece, so a few contexts stand for all: FLOPs and bytes are exact sums, since
    each stratum of contexts is represented with its exact mean and strata end where a sliding window is full.

    Args:
        source: As for `architecture`.
        prompt: Tokens of the prompt; of an encoder-decoder model, what its decoder is given to begin with.
        tokens: Tokens that are generated.
        batch: Sequences.
        dtype: Format of weights and activations.
        kv_bits: Width of the KV cache: 4, 8, or None for that of `dtype` [bit].
        exact: One decode workload per context: slow, for checks.
        points: Strata of contexts on either side of each full window.
        **bind: Sizes of further symbolic dims: `source`, the tokens that an encoder reads, by default `prompt`.

    Raises:
        WorkloadError: As for `architecture`; fewer than one token.

    Example:
        >>> program = generation("llama-2-7b", prompt=8, tokens=4)
        >>> sum(weight for weight, _ in program)
        4.0
    """
    if not all(isinstance(count, Integral) and count is not True and count >= 1 for count in (prompt, tokens)):
        raise WorkloadError(
            f"a generation has at least one token of prompt and one of output, not {prompt!r} and {tokens!r}"
        )
    sizes: dict[str, Any] = dict(bind)
    first = architecture(source, phase="prefill", batch=batch, seq=prompt, dtype=dtype, kv_bits=kv_bits, **sizes)
    step = _graph(source, phase="decode", dtype=dtype, kv_bits=kv_bits)
    model = step.model()
    contexts = range(prompt, prompt + tokens - 1)
    config, _ = _config(source)
    if contexts:
        _sizes(step, batch, prompt, contexts[-1], bind)  # before others: an error names the last context, not a mean
    weights = strata(contexts, tuple(step.limits.values()), len(contexts) if exact else points)
    parts = [
        (weight, honoured(load_onnx(model, **_sizes(step, batch, prompt, context, bind)), config))
        for context, weight in weights.items()
    ]
    before = [(1.0, first)]
    if "encode" in family_of(config).phases:
        encoder = architecture(source, phase="encode", batch=batch, seq=bind.get("source", prompt), dtype=dtype)
        before = [(1.0, encoder), *before]
    return Program(name=first.name, parts=(*before, *parts))


def parameter_count(source: Source, /) -> int:
    """Count the trained values of all phases of an architecture, each stored tensor once, without batch statistics.

    Args:
        source: A published name, a configuration (a mapping, a config.json, a folder with one).

    Raises:
        WorkloadError: Unknown name or model type, or a configuration that is not one.

    Example:
        >>> parameter_count("gpt2")
        124439808
    """
    config, _ = _config(source)
    stored: dict[str, Parameter] = {}
    for phase in family_of(config).phases:
        stored |= _graph(source, phase=phase).parameters
    return sum(item.size for item in stored.values() if not item.statistic)


def _config(source: Source) -> tuple[Mapping[str, Any], str]:
    """Give a configuration and a name: of a published architecture, or of what a file or mapping says."""
    if isinstance(source, Mapping):
        return read_config(source), str(source.get("_name_or_path") or source["model_type"])
    if not isinstance(source, str | Path):
        raise WorkloadError(
            f"{source!r}: not a source; give a published name, a configuration, a config.json or a folder with one"
        )
    if isinstance(source, Path) or source.endswith(".json") or Path(source).is_dir():
        config = read_config(source)
        path = Path(source)
        return config, path.name if path.is_dir() else path.parent.name or str(config["model_type"])
    if "/" in source:
        last = source.rstrip("/").rpartition("/")[2]
        raise WorkloadError(
            f"{source}: no such file or folder; give a config.json, the folder of a downloaded checkpoint, or a "
            f"published name: {nearest(last, published_names(), LISTING)}"
        )
    return published(source).config, source


def _of_file(error: WorkloadError, source: Source) -> WorkloadError:
    """Name the file in an error about a configuration that was read from one."""
    text, file = str(error), "" if isinstance(source, Mapping) else str(source)
    is_file = isinstance(source, Path) or file.endswith(".json") or Path(file).is_dir()
    return WorkloadError(f"{file}: {text}") if file and is_file and file not in text else error


def _check_context(writer: GraphWriter, context: int) -> None:
    """Refuse a context that means nothing: below zero, or of a graph that reads no cache of tokens."""
    if isinstance(context, bool) or not isinstance(context, int) or context < 0:
        raise WorkloadError(
            f"{writer.name}: context = {context!r}; it is a number of tokens before the step: 0 or a whole number above"
        )
    if not writer.grows():
        raise WorkloadError(
            f"{writer.name}: a context of {context} tokens is what a decode step of a decoder finds in its cache; "
            "this phase reads none: leave the context out, or give phase 'decode' where the model has one"
        )


def _sizes(writer: GraphWriter, batch: int, seq: int, context: int, bind: Mapping[str, int]) -> dict[str, Any]:
    """Give a size to every symbolic dim of a graph, as arguments of `load_onnx`."""
    if seq is True or not isinstance(seq, Integral) or seq < 1:
        raise WorkloadError(f"{writer.name}: seq = {seq!r}; it is a number of tokens: a whole number above 0")
    total = context + 1
    known = {"batch": batch, "seq": seq, "source": seq, TOTAL: total, **bind}
    known |= {name: min(total, limit) for name, limit in writer.limits.items()}
    symbols = writer.symbols()
    unused = [name for name in bind if name not in symbols]
    if unused:
        raise WorkloadError(f"{writer.name}: no dim {unused[0]!r} in this phase; its dims are {', '.join(symbols)}")
    for name in bind:
        if name in (TOTAL, *writer.limits):
            raise WorkloadError(f"{writer.name}: {name} follows from the tokens in the cache; give the context instead")
    for name, most in writer.longest.items():
        if name in symbols and known.get(name, 0) > most:
            raise WorkloadError(f"{writer.name}: {name} = {known[name]}, but it has positions for {most} only")
    return {name: known[name] for name in symbols if name in known}
