"""`dse map`: the best mapping of every matrix operator on a spatial accelerator, or what given mappings move."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from dse.cli import inputs
from dse.cli.mapping_cases import map_cases
from dse.cli.mapping_models import map_network_of, map_operator
from dse.cli.mapping_operators import EXAMPLES, is_operator
from dse.cli.mapping_settings import map_settings, rules_of
from dse.cli.sources import model_source
from dse.cli.zoo_source import ZooOptions
from hwmodels.spatial import REFERENCE
from workloads.errors import MappingError

__all__ = ["map_command"]


def map_command(
    model: Annotated[
        str | None,
        typer.Argument(help="An .onnx file, a name as in `dse profile`, or an operator: gemm:M=512,N=768,K=768."),
    ] = None,
    device: Annotated[
        str | None,
        typer.Option("--device", "-d", help="An accelerator, one of those of `dse devices`, or a TOML file."),
    ] = None,
    objective: Annotated[
        str, typer.Option("--objective", help="Of each operator: edp, energy, latency; pareto for one operator.")
    ] = "edp",
    factors: Annotated[
        str, typer.Option("--factors", help="perfect: tiles divide their dims; imperfect: edge tiles too, slower.")
    ] = "perfect",
    relaxed: Annotated[
        bool, typer.Option("--relaxed", help="Any dim on any mesh axis, any bypass, whatever the wires can do.")
    ] = False,
    conventions: Annotated[
        str | None,
        typer.Option("--conventions", help="What counts include: silicon (of devices), reference (of --cases)."),
    ] = None,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="Folder for tables, mappings and pictures.")] = None,
    no_cache: Annotated[bool, typer.Option("--no-cache", help="Search again what was found in earlier runs.")] = False,
    draw: Annotated[
        str | None, typer.Option("--draw", help="Mappings to draw into --out: all (default), none, or an operator.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Write JSON to stdout instead of tables.")] = False,
    cases: Annotated[
        Path | None, typer.Option("--cases", help="Folder with architectures.yaml and cases.yaml; no search.")
    ] = None,
    bind: Annotated[
        list[str] | None, typer.Option("--bind", "-b", help="Sizes of symbolic dims: batch=1,seq=128.")
    ] = None,
    no_weights: Annotated[bool, typer.Option("--no-weights", help="Go without missing external data.")] = False,
    extra_ops: Annotated[Path | None, typer.Option("--extra-ops", help="Python file with a dict HANDLERS.")] = None,
    free_ops: Annotated[str, typer.Option("--free-ops", help="Op types to count as free: A,B.")] = "",
    probability: Annotated[
        list[str] | None, typer.Option("--probability", help="Of the then-branch of an If: NODE=0.25; may be repeated.")
    ] = None,
    trips: Annotated[
        list[str] | None, typer.Option("--trips", help="Expected trips of a Loop: NODE=8; may be repeated.")
    ] = None,
    phase: Annotated[str | None, typer.Option("--phase", help="Zoo: encode, prefill or decode.")] = None,
    context: Annotated[int | None, typer.Option("--context", help="Zoo: tokens in the cache of a decode step.")] = None,
    tokens: Annotated[int | None, typer.Option("--tokens", help="Zoo: a whole generation of so many tokens.")] = None,
    dtype: Annotated[str | None, typer.Option("--dtype", help="Zoo: fp32, fp16 or bf16.")] = None,
    kv_bits: Annotated[int | None, typer.Option("--kv-bits", help="Zoo: bits of the KV cache, 4 or 8.")] = None,
) -> None:
    """Find the best mapping of every matrix operator of a model: tiles, loop order, spatial unrolling, with its gap.

    Cycles and energy are predicted, exactly for the device's file. With --cases, evaluate given mappings instead.
    """
    if cases is not None:
        given = {"MODEL": model, "--device": device, "--relaxed": relaxed, "--draw": draw, "--json": as_json}
        _map_cases(cases, out, conventions, given | {"--bind": bind})
        return
    if model is None:
        raise MappingError(
            f"nothing to map: give a model, or an operator such as {EXAMPLES['gemm']}, and --device; or --cases FOLDER"
        )
    settings = map_settings(
        device,
        objective,
        factors=factors,
        relaxed=relaxed,
        remember=not no_cache,
        conventions=conventions,
        out=out,
        draw=draw,
        as_json=as_json,
    )
    zoo = ZooOptions(phase=phase, context=context, tokens=tokens, dtype=dtype, kv_bits=kv_bits)
    sizes = inputs.parse_bind(bind or ())
    reading: dict[str, Any] = {
        "extra_ops": inputs.extra_handlers(extra_ops),
        "free_ops": [name.strip() for name in free_ops.split(",") if name.strip()],
        "probabilities": inputs.parse_expected(probability or (), "--probability"),
        "trips": inputs.parse_expected(trips or (), "--trips"),
    }
    if is_operator(model):
        _refuse_for_operator(model, {**zoo.given(), **reading, "bind": sizes})
        map_operator(model, settings)
    elif objective == "pareto":
        raise MappingError(
            f"--objective pareto: is the front of one operator, and {model!r} a model; give an operator such as "
            f"{EXAMPLES['gemm']}, or one of edp, energy, latency"
        )
    else:
        map_network_of(model_source(model, sizes, zoo, weights=not no_weights, **reading).load_work(), settings)


def _map_cases(cases: Path, out: Path | None, conventions: str | None, given: Mapping[str, Any]) -> None:
    for name, value in given.items():
        if value:
            raise MappingError(f"{name} does not go with --cases, whose files say what is mapped where; leave one out")
    if out is None:
        raise MappingError("--cases writes counts.csv and summary.csv: give --out FOLDER")
    map_cases(cases, out, rules_of(conventions) or REFERENCE)


def _refuse_for_operator(operator: str, given: Mapping[str, Any]) -> None:
    for name, value in given.items():
        if value:
            option = "--probability" if name == "probabilities" else f"--{name.replace('_', '-')}"
            raise MappingError(f"{option} is for models, and {operator!r} is one operator; leave it out")
