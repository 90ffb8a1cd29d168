"""All kernels on all signatures: one after the other in a process of their own, which is started anew when it dies.

A kernel that reads where it must not takes the whole CUDA context with it. So a supervisor starts a worker, sees what
the worker is about to do in a small file beside the table, and goes on behind it when the worker ends or hangs.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from .gpu import bus_of, facts_of, here
from .kernel import Kernel, launch_on
from .kernels import available
from .layers import layers_key, measure_layers
from .measuring import Settings, framework, measure
from .nvml import open_nvml
from .rows import SOURCE, Table, columns_of, key_of, key_of_entry, write_whole
from .signatures import KernelError, Signature, merged

__all__ = ["jobs_of", "summary_of", "supervise", "unserved", "work"]

DEAD_CONTEXT = 75  # exit status of a worker whose CUDA context a kernel broke
HANG_S = 150.0
"""A kernel that takes longer, compiler included, is taken to hang [s]."""


def jobs_of(
    signatures: Sequence[Signature], kernels: Sequence[Kernel], done: set[str]
) -> list[tuple[Kernel, Signature]]:
    """Pair signatures with the kernels that serve them, without those that are done."""
    pairs = [(kernel, item) for item in signatures for kernel in kernels if kernel.serves(item)]
    return [(kernel, item) for kernel, item in pairs if key_of(item, kernel.name) not in done]


def unserved(signatures: Sequence[Signature], kernels: Sequence[Kernel]) -> list[dict[str, Any]]:
    """List the signatures that none of some kernels serves, as entries with their `error`."""
    alone = [item for item in signatures if not any(kernel.serves(item) for kernel in kernels)]
    libraries = " or ".join(dict.fromkeys(kernel.library for kernel in kernels)) or "any library"
    return [
        {
            **columns_of(item),
            "error": f"no kernel of {libraries} for {item.op} with {item.a_dtype} {item.second}".strip(),
        }
        for item in alone
    ]


def work(
    signatures: Sequence[Signature],
    out: Path,
    torch_device: str = "cuda",
    minutes: float = 1e9,
    *,
    kernels: Sequence[Kernel] | None = None,
    unknown: Sequence[dict[str, Any]] = (),
    configs: Sequence[Sequence[object]] = (),
    energy_seconds: float = 0.25,
    times: bool = True,
) -> int:
    """Measure what is left of a list of signatures in this process; write each row as it is found.

    Args:
        signatures: What to measure.
        out: The table.
        torch_device: "cuda"; "cpu": Triton's interpreter.
        minutes: After which no further kernel starts.
        kernels: By default all that can run here.
        unknown: Entries without a kernel, which become rows with their `error`.
        configs: Models whose layers are timed as a whole, after everything else.
        energy_seconds: Length of the window in which energy is read [s].
        times: Whether to measure times after the checks.

    Returns:
        0, or `DEAD_CONTEXT` where the process must be started anew.
    """
    end = time.monotonic() + minutes * 60
    nvml = open_nvml(bus_of()) if torch_device == "cuda" else None
    settings = Settings(
        torch_device=torch_device, launch=launch_on(here(torch_device)), nvml=nvml, energy_seconds=energy_seconds,
        times=times,
    )  # fmt: skip
    facts = facts_of(torch_device, nvml)
    write_whole(out.with_suffix(".machine.json"), json.dumps(facts, indent=1) + "\n")
    table, current = Table(out), current_of(out)
    if table.rows and (other := {row["device"] for row in table.rows} - {facts["device"]}):
        raise KernelError(f"{out} holds rows of {', '.join(other)}, and this is {facts['device']}: give another file")
    if torch_device == "cpu":
        signatures = merged(interpretable(item) for item in signatures)
    nameless = [{**facts, **item, "source": SOURCE, "key": key_of_entry(item)} for item in unknown]
    if new := [row for row in nameless if row["key"] not in table.known()]:
        table.add(new)
    jobs = jobs_of(signatures, available() if kernels is None else kernels, table.known())
    for place, (kernel, item) in enumerate(jobs):
        if time.monotonic() > end:
            print(f"time is up: {len(jobs) - place} of {len(jobs)} left; run the same command again", flush=True)
            break
        current.write_text(json.dumps({"key": key_of(item, kernel.name), "since": time.time()}), encoding="utf-8")
        rows, dead = _attempt(kernel, item, settings)
        table.add([{**facts, **row} for row in rows])
        print(f"{place + 1}/{len(jobs)} {_line(rows)}", flush=True)
        if dead:
            current.unlink(missing_ok=True)
            return DEAD_CONTEXT
    else:
        if torch_device == "cuda" and times:
            _layers(configs, table, facts, settings, end)
    current.unlink(missing_ok=True)
    return 0


def _layers(
    configs: Sequence[Sequence[object]], table: Table, facts: dict[str, Any], settings: Settings, end: float
) -> None:
    """Time all layers of models, those that are not in the table."""
    import torch

    for config in configs:
        if layers_key(config) in table.known() or time.monotonic() > end:
            continue
        where = " ".join(map(str, config))
        current_of(table.path).write_text(
            json.dumps({"key": layers_key(config), "since": time.time()}), encoding="utf-8"
        )
        try:
            torch.cuda.empty_cache()
            row = measure_layers(config, available(), settings, torch.cuda.mem_get_info()[0] * 0.6)
        except Exception as error:  # as above
            reason = f"{type(error).__name__}: {error}"[:600]
            row = {"op": "model_layers", "name": where, "source": SOURCE, "error": reason, "key": layers_key(config)}
        table.add([{**facts, **row}])
        print(f"layers of {where}: {row.get('error') or '{:.1f} us'.format(row['latency_us'])}", flush=True)


def interpretable(item: Signature) -> Signature:
    """Put fp16 in the place of bf16: Triton's interpreter keeps bf16 as integers and multiplies those."""
    formats = {name: getattr(item, name).replace("bf16", "fp16") for name in ("a_dtype", "w_dtype", "kv_dtype")}
    return replace(item, **formats)


def _attempt(kernel: Kernel, item: Signature, settings: Settings) -> tuple[list[dict[str, Any]], bool]:
    """Measure; a failure becomes a row. Says whether the CUDA context is dead."""
    try:
        return measure(kernel, item, settings), False
    except KernelError as error:
        return [failed(kernel, item, str(error))], False
    except Exception as error:  # compilers, drivers and libraries raise what they like; the others must go on
        row = failed(kernel, item, f"{type(error).__name__}: {error}"[:600])
    if settings.torch_device != "cuda":
        return [row], False
    import torch

    try:
        torch.cuda.synchronize()
        torch.cuda.empty_cache()
    except RuntimeError:
        return [row], True
    return [row], False


def failed(kernel: Kernel, item: Signature, error: str) -> dict[str, Any]:
    """Give the row of a kernel that has no time."""
    more = {"framework": framework(kernel), "kernel": kernel.name, "source": SOURCE, "error": error}
    return {**columns_of(item), **more, "key": key_of(item, kernel.name)}


def _line(rows: Sequence[dict[str, Any]]) -> str:
    row = rows[0]
    sizes = " ".join(
        f"{name}={row[name]}" for name in ("batch", "m", "n", "k", "rows", "cols", "kv_len") if row.get(name)
    )
    text = f"{row['kernel']} {row['op']} {sizes} {row['a_dtype']} {row['w_dtype'] or row['kv_dtype']}"
    if row.get("error"):
        return f"{text}: {str(row['error'])[:160]}"
    taken = f" {row['latency_us']:.2f} us" if "latency_us" in row else ""
    return f"{text}:{taken} error {row['check_ratio']:.2g} of its bound"


def current_of(out: Path) -> Path:
    """Give the file that says what a worker is doing."""
    return out.with_name(f".{out.name}.current")


def supervise(
    command: Sequence[str], signatures: Sequence[Signature], out: Path, minutes: float, hang_s: float = HANG_S
) -> int:
    """Run workers until one ends well; give rows to kernels that took a worker with them.

    Args:
        command: Starts a worker, which calls `work` with the same signatures and file.
        signatures: For the rows of kernels that die.
        out: The table.
        minutes: After which no further kernel starts; given to the worker as its last argument.
        hang_s: How long a kernel may take [s].

    Returns:
        0, or the status of a worker that ended before it began.
    """
    end = time.monotonic() + minutes * 60
    while True:
        left = max((end - time.monotonic()) / 60, 0.0)
        current_of(out).unlink(missing_ok=True)
        worker = subprocess.Popen([*command, "--minutes", f"{left:.4f}"])
        reason = _wait(worker, current_of(out), hang_s)
        if worker.returncode == 0:
            return 0
        if worker.returncode != DEAD_CONTEXT or reason:
            running = _running(current_of(out))
            if not running:
                return worker.returncode or 1
            _bury(running["key"], reason or f"the process ended with status {worker.returncode}", signatures, out)
        print("the worker is started anew", flush=True)


def _wait(worker: subprocess.Popen[bytes], current: Path, hang_s: float) -> str:
    while worker.poll() is None:
        time.sleep(0.2)
        running = _running(current)
        if running and time.time() - running["since"] > hang_s:
            worker.kill()
            worker.wait()
            return f"no result within {hang_s:g} s"
    return ""


def _running(current: Path) -> dict[str, Any]:
    try:
        found: dict[str, Any] = json.loads(current.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found


def _bury(key: str, reason: str, signatures: Sequence[Signature], out: Path) -> None:
    facts = json.loads(out.with_suffix(".machine.json").read_text(encoding="utf-8"))
    both = [*signatures, *map(interpretable, signatures)]  # a worker on a CPU has the latter
    named = {key_of(item, kernel.name): (kernel, item) for kernel, item in jobs_of(both, available(), set())}
    if key in named:
        row = failed(*named[key], reason)
    else:  # layers of a model
        row = {"op": "model_layers", "source": SOURCE, "error": reason, "key": key}
    Table(out).add([{**facts, **row}])
    print(f"{row.get('kernel', row['op'])}: {reason}", file=sys.stderr, flush=True)


def summary_of(out: Path) -> str:
    """Say in a few lines what a table holds: kernels right, refused and failed."""
    rows = Table(out).rows
    timed = {row["key"] for row in rows if not row["error"]}
    errors = {row["key"]: row for row in rows if row["error"]}
    lines = [f"{out}: {len(rows)} rows, {len(timed)} kernels right, {len(errors)} without a result"]
    kinds: dict[tuple[str, str], int] = {}
    for row in errors.values():
        kind = (row["kernel"], row["error"][:140])
        kinds[kind] = kinds.get(kind, 0) + 1
    lines += [f"  {count} x {kernel}: {error}" for (kernel, error), count in sorted(kinds.items())]
    ratios = [(float(row["check_ratio"]), row["kernel"]) for row in rows if row["check_ratio"]]
    if ratios:
        lines.append("  largest error over its bound: {:.3g} ({})".format(*max(ratios)))
    return "\n".join(lines)
