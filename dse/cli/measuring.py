"""`dse measure`: every unique operator of a model, and the model, timed on this machine."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dse.cli import inputs
from dse.cli.output import console, print_table
from dse.cli.sources import model_source
from dse.cli.zoo_source import ZooOptions, ZooSource
from dse.numbers import si
from workloads.errors import MeasureError

if TYPE_CHECKING:
    from pandas import DataFrame

    from dse.measure.model import Job

__all__ = ["measure"]

SHOWN = 20
"""Rows that are printed; the file has all of them."""


def measure(
    model: Annotated[str, typer.Argument(help="An .onnx file, a name such as vit-mnist, or one that `dse zoo` lists.")],
    backend: Annotated[
        str, typer.Option("--backend", help="onnxruntime, torch-cpu, torch-cuda or triton.")
    ] = "onnxruntime",
    threads: Annotated[int, typer.Option("--threads", min=1, help="CPU threads; one is timed by CPU time.")] = 1,
    bind: Annotated[
        list[str] | None, typer.Option("--bind", "-b", help="Sizes of symbolic dims: batch=1,seq=128.")
    ] = None,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="CSV to write, a row per unique operator.")] = None,
    seconds: Annotated[float, typer.Option("--seconds", min=0.1, help="Wall time to spend.")] = 20.0,
    name: Annotated[str, typer.Option("--name", help="What the rows call this machine.")] = "local",
    phase: Annotated[str | None, typer.Option("--phase", help="Zoo: encode, prefill or decode.")] = None,
    context: Annotated[int | None, typer.Option("--context", help="Zoo: tokens in the cache of a decode step.")] = None,
    dtype: Annotated[str | None, typer.Option("--dtype", help="Zoo: fp32, fp16 or bf16.")] = None,
) -> None:
    """Time every unique operator of a model and the whole model; write one row each with the machine's facts.

    One thread is timed by its CPU time, kernels in turn, the best of many runs. ONNX Runtime runs the graph as it
    optimizes it; torch runs the operators of the graph as it is in the file.
    """
    from dse.measure.model import measure_model
    from dse.measure.rows import write_rows

    zoo = ZooOptions(phase=phase, context=context, dtype=dtype)
    source = model_source(model, inputs.parse_bind(bind or ()), zoo)
    job = _job(model, source, threads, seconds, name, backend)
    found = measure_model(job, backend)
    if out is not None:
        write_rows(found, out)
    _print(found, _energy_of_model(job) if found["energy_j"].notna().any() else None)
    if out is not None:
        console().print(f"written to {out}", soft_wrap=True)


def _job(model: str, source: Any, threads: int, seconds: float, name: str, backend: str) -> Job:
    from dse.measure.model import Job
    from workloads.workload import Workload

    def work() -> Workload:
        found = source.load_work()
        if not isinstance(found, Workload):
            raise MeasureError(f"{model}: operators of a program with control flow are not timed one by one")
        return found

    path = None if isinstance(source, ZooSource) else source.path
    if path is None and source.options.dtype is None and backend == "torch-cpu":
        from dataclasses import replace

        source = replace(source, options=replace(source.options, dtype="fp32"))
    sizes = dict(source.bind) if path is None else dict(source.with_batch(None).bind)
    title = Path(model).stem if model.endswith(".onnx") else model
    return Job(name=title, path=path, work=work, bind=sizes, threads=threads, seconds=seconds, device=name)


def _energy_of_model(job: Job) -> float | None:
    """Give what the energy model says of the whole model on the local device [J]; None: it was never measured."""
    import hwmodels
    from dse.measure.local import load_local
    from workloads.errors import DseError

    try:
        return float(hwmodels.evaluate(job.work(), load_local()).energy_j)
    except DseError:
        return None


def _print(found: DataFrame, predicted_j: float | None) -> None:
    """Print the longest rows and the sum beside the whole."""
    timed = found[(found["op"] != "model_forward") & found["latency_us"].notna()]
    timed = timed[~timed["note"].astype(object).fillna("").str.startswith("fused")]
    share = timed["latency_us"] * timed["count"]
    first = found.iloc[0]
    console().print(
        f"{first['model']}: {first['framework']} on {first['cpu']}, {first['threads']} thread(s), {first['timing']}",
        style="bold", soft_wrap=True,
    )  # fmt: skip
    rows = []
    for place in share.sort_values(ascending=False).index[:SHOWN]:
        item = timed.loc[place]
        spread = (item["upper_us"] - item["lower_us"]) / item["median_us"]
        rows.append([
            str(item["op"]), _sizes(item), f"{item['count']:g}", si(item["latency_us"] * 1e-6, "s"), f"{spread:.0%}",
            f"{share[place] / share.sum():.1%}",
        ])  # fmt: skip
    print_table(["operator", "sizes", "count", "best of\none", "quartiles\napart", "of the\nsum"], rows, left=(0, 1))
    print(f"{len(timed)} unique operators, {int(timed['count'].sum())} in all: {si(share.sum() * 1e-6, 's')} together")
    whole = found[found["op"] == "model_forward"]
    if len(whole):
        item = whole.iloc[0]
        print(f"the whole model: {si(item['latency_us'] * 1e-6, 's')}, median {si(item['median_us'] * 1e-6, 's')}")
        if item["energy_j"] == item["energy_j"]:
            beside = "" if predicted_j is None else f"; the energy model says {si(predicted_j, 'J')}"
            print(f"energy of the package: {si(item['energy_j'], 'J')}, {si(item['power_w'], 'W')}{beside}")
    untimed = found[found["latency_us"].isna()]
    for note, group in untimed.groupby("note", sort=False):
        print(f"  {int(group['count'].sum())} not timed: {note}")
    if first.get("energy_note"):
        print(f"energy not measured: {first['energy_note']}")


def _sizes(item: Any) -> str:
    """Write the sizes of a row: 128x384x1536."""
    for names in (("batch", "m", "k", "n"), ("batch", "heads", "q_len", "kv_len", "head_dim"), ("rows", "cols")):
        values = [item[name] for name in names]
        if all(value == value for value in values):
            first = 1 if names[1] == "m" and values[0] == 1 else 0
            return "x".join(f"{value:g}" for value in values[first:])
    return ""
