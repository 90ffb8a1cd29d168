"""`dse compress`: apply techniques to a real model, write it, and say how large it became."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dse.cli import inputs
from dse.cli.output import console, print_table
from dse.cli.zoo_source import option
from dse.files import atomic_write, output_folder
from hwmodels import format_si
from workloads.errors import TechniqueError, WorkloadError

if TYPE_CHECKING:
    import onnx

    from workloads.compress import Sizes, Technique

__all__ = ["compress"]


def compress(
    model: Annotated[str, typer.Argument(help="An .onnx file with its weights, or a name such as vit-mnist.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Where to write the compressed model.")],
    weight_bits: Annotated[
        int | None,
        typer.Option(
            "--weight-bits", help="2 to 8; without it, and without --activation-bits, weights stay as they are."
        ),
    ] = None,
    granularity: Annotated[
        str | None, typer.Option("--granularity", help="One scale per tensor, channel or group; default channel.")
    ] = None,
    group_size: Annotated[
        int | None, typer.Option("--group-size", help="Rows per scale with --granularity group; default 32.")
    ] = None,
    activation_bits: Annotated[
        int | None,
        typer.Option(
            "--activation-bits",
            help="8: products run in int8, and weights take 8 bits where --weight-bits does not say; 32: weight-only.",
        ),
    ] = None,
    clip: Annotated[
        str | None, typer.Option("--clip", help="How the range of weights is found: max or mse; default max.")
    ] = None,
    head_density: Annotated[
        float | None, typer.Option("--head-density", help="Share of the attention heads that stays.")
    ] = None,
    neuron_density: Annotated[
        float | None, typer.Option("--neuron-density", help="Share of the feed-forward neurons that stays.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Write the sizes as JSON to stdout.")] = False,
) -> None:
    """Compress a model's real weights (prune, then quantize) and write it as ONNX."""
    from workloads import compress as techniques

    options = {"granularity": granularity, "group_size": group_size, "activation_bits": activation_bits, "clip": clip}
    chosen: list[Technique] = []
    if head_density is not None:
        chosen.append(techniques.PruneHeads(density=head_density))
    if neuron_density is not None:
        chosen.append(techniques.PruneNeurons(density=neuron_density))
    chosen += _quantize(weight_bits, {name: value for name, value in options.items() if value is not None})
    if not chosen:
        raise TechniqueError(
            "nothing to do: give --weight-bits, --activation-bits 8, --head-density or --neuron-density"
        )
    source = inputs.model_path(model)
    output_folder(out.parent)
    proto = _with_weights(source)
    small = techniques.apply(proto, *chosen)
    _write(small, out, source)
    _report(techniques.sizes(proto), techniques.sizes(small), out, as_json)


def _quantize(weight_bits: int | None, options: Mapping[str, Any]) -> list[Technique]:
    """Make the quantization that is asked for, if one is.

    Raises:
        TechniqueError: An option does nothing beside the others.
    """
    from workloads.compress import Quantize

    if weight_bits is not None and weight_bits > 8:
        raise TechniqueError(f"--weight-bits {weight_bits}: weights are quantized to 2 to 8 bits")
    if "group_size" in options and options.get("granularity") != "group":
        raise TechniqueError(
            "--group-size: weights have no groups without --granularity group; add it, or leave it out"
        )
    if weight_bits is None and options.get("activation_bits") != 8:
        for name in options:
            raise TechniqueError(
                f"{option(name)}: no weight is quantized, so it does nothing; add --weight-bits 2 to 8, or leave it out"
            )
        return []
    return [Quantize(weight_bits=8 if weight_bits is None else weight_bits, **options)]


def _with_weights(path: Path) -> onnx.ModelProto:
    """Read a model with its weights, after the checks that the loader makes."""
    import onnx
    from onnx.external_data_helper import load_external_data_for_model

    from workloads.onnx.files import check_external_data, read_model

    model, name, folder = read_model(path)
    check_external_data(model, name, folder, must_exist=True)
    if folder is not None:
        try:
            load_external_data_for_model(model, str(folder))
        except (onnx.checker.ValidationError, ValueError) as error:
            raise WorkloadError(f"{name}: its external data cannot be read: {error}; export the model again") from None
        _check_lengths(model, name)
    return model


def _check_lengths(model: onnx.ModelProto, name: str) -> None:
    """Refuse weights that are shorter or longer than their shape says."""
    from workloads import FORMATS
    from workloads.onnx.dtypes import code_of_onnx

    for tensor in model.graph.initializer:
        bits = FORMATS[code_of_onnx(tensor.data_type, tensor.name)].bits
        expected = -(-math.prod(tensor.dims) * bits // 8)
        if tensor.raw_data and len(tensor.raw_data) != expected:
            raise WorkloadError(
                f"{name}: initializer {tensor.name!r} has {len(tensor.raw_data):,} bytes of data, its shape "
                f"{tuple(tensor.dims)} needs {expected:,}; copy or export the model again"
            )


def _write(model: onnx.ModelProto, out: Path, source: Path) -> None:
    if out.exists() and out.samefile(source):
        raise TechniqueError(f"--out {out} is the model itself; give another name")
    try:
        data = model.SerializeToString()
    except ValueError as error:  # protobuf ends at 2 GiB
        raise TechniqueError(f"{out}: the compressed model is too large for one ONNX file ({error})") from None
    with atomic_write(out) as part:
        part.write_bytes(data)


def _report(before: Sizes, after: Sizes, out: Path, as_json: bool) -> None:
    fields = ("packed_bytes", "container_bytes", "file_bytes", "parameters")
    if as_json:
        plain = {
            name: {key: getattr(item, key) for key in fields} for name, item in (("before", before), ("after", after))
        }
        print(json.dumps({"out": str(out), **plain}, indent=1))
        return
    labels = ("weights, packed", "stored tensors", "file", "parameters")
    rows = []
    for key, label in zip(fields, labels, strict=True):
        unit = "" if key == "parameters" else "B"
        old, new = float(getattr(before, key)), float(getattr(after, key))
        rows.append([label, format_si(old, unit), format_si(new, unit), f"{old / new:.2f}x" if new else "-"])
    print_table(["size, measured", "before", "after", "gain"], rows)
    console().print(f"written: {out}", soft_wrap=True)
