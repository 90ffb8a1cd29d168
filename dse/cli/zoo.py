"""`dse zoo`: published architectures by name, and their ONNX files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from dse.cli.inputs import nearest_model
from dse.cli.output import console, print_table
from dse.cli.zoo_source import is_zoo_model, option
from dse.numbers import si
from workloads.errors import WorkloadError

__all__ = ["zoo"]

DTYPE = "fp16"


def zoo(
    model: Annotated[
        str | None, typer.Argument(help="A published name, a config.json or a folder with one; left out: list names.")
    ] = None,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="Write the architecture: FILE.onnx.")] = None,
    weights: Annotated[
        str | None, typer.Option("--weights", help="random, or a folder with safetensors; left out: none.")
    ] = None,
    phase: Annotated[str | None, typer.Option("--phase", help="encode, prefill or decode.")] = None,
    dtype: Annotated[str | None, typer.Option("--dtype", help="fp32, fp16 or bf16; left out: fp16.")] = None,
    kv_bits: Annotated[int | None, typer.Option("--kv-bits", help="Of the KV cache: 4 or 8.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Write JSON to stdout instead of tables.")] = False,
) -> None:
    """List published architectures, show one, or write it as an ONNX file."""
    if model is None:
        _refuse_lonely(out=out, weights=weights, phase=phase, dtype=dtype, kv_bits=kv_bits)
        _list(as_json)
        return
    _refuse_others(model)
    dtype = DTYPE if dtype is None else dtype
    if out is None:
        if weights is not None:
            raise WorkloadError("--weights says what a file holds; name the file: --out FILE.onnx")
        _show(model, phase, dtype, kv_bits, as_json)
        return
    _write(model, out, weights, phase, dtype, kv_bits, as_json)


def _write(
    model: str, out: Path, weights: str | None, phase: str | None, dtype: str, kv_bits: int | None, as_json: bool
) -> None:
    """Write the file, and name every file that is new or was replaced."""
    from workloads.zoo import write_onnx
    from workloads.zoo.files import weights_path

    files = [out] if weights is None else [out, weights_path(out)]
    replaced = [path for path in files if path.exists()]
    write_onnx(model, out, weights=weights, phase=phase, dtype=dtype, kv_bits=kv_bits)  # type: ignore[arg-type]  # checked there
    if as_json:
        print(json.dumps({"written": [str(path) for path in files], "replaced": [str(path) for path in replaced]}))
        return
    named = [f"{path} (replaced)" if path in replaced else str(path) for path in files]
    console().print(f"written: {', '.join(named)}", soft_wrap=True)


def _refuse_lonely(**options: object) -> None:
    for name in (name for name, value in options.items() if value is not None):
        raise WorkloadError(f"{option(name)} needs a model: dse zoo NAME {option(name)} ...; `dse zoo` lists the names")


def _refuse_others(model: str) -> None:
    """Refuse what is no architecture: a model with its weights, or no name at all."""
    from workloads.zoo import EMBEDDED
    from workloads.zoo.pretrained import PRETRAINED

    if is_zoo_model(model):
        return
    if model in EMBEDDED or model in PRETRAINED:
        raise WorkloadError(
            f"{model!r} is a model with its weights, an ONNX file; `dse profile {model}` shows it. `dse zoo` lists the "
            "architectures"
        )
    raise WorkloadError(f"no architecture {model!r}: no such file; {nearest_model(model)}")


def _list(as_json: bool) -> None:
    from workloads.zoo import published, published_names

    entries = [published(name) for name in published_names()]
    if as_json:
        rows = [
            {"name": e.name, "model_type": e.config["model_type"], "parameters": e.parameters, "source": e.source}
            for e in entries
        ]
        print(json.dumps(rows, indent=1))
        return
    cells = [[e.name, str(e.config["model_type"]), si(e.parameters), e.source] for e in entries]
    print_table(["name", "model type", "published", "source"], cells, left=(0, 1, 3), cut=(), cut_end=(3,))


def _show(model: str, phase: str | None, dtype: str, kv_bits: int | None, as_json: bool) -> None:
    """Show an architecture: its configuration, its size and the dims of one phase."""
    from workloads.zoo import parameter_count, published, published_names
    from workloads.zoo.build import graph

    writer = graph(model, phase=phase, dtype=dtype, kv_bits=kv_bits)  # type: ignore[arg-type]  # checked there
    record: dict[str, Any] = {"name": writer.name, "parameters": parameter_count(model), "dims": writer.symbols()}
    if model in published_names():
        entry = published(model)
        record["parameters"] = parameter_count({**entry.config, **entry.counted_with})
        record |= {"published": entry.parameters, "counted": entry.counted, "source": entry.source}
        record["config"] = dict(entry.config)
    if as_json:
        print(json.dumps(record, indent=1))
        return
    config = record.pop("config", {})
    rows = [[name, ", ".join(value) if isinstance(value, tuple) else str(value)] for name, value in record.items()]
    rows += [[f"config.{name}", str(value)] for name, value in config.items()]
    print_table(["", ""], rows, left=(0, 1), wrap=(1,))
