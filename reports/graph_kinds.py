"""Which graphs load, and do the counts agree: writes graph_kinds.md beside this file.

    python -m reports.graph_kinds [--peers PYTHON --full FOLDER]

measures our loader on the fixtures of tests/fixtures/graph_kinds, one process a graph, one thread. With `--peers` it
also runs other tools: PYTHON is an interpreter with onnx-tool and onnx-opcounter, FOLDER holds the files with their
weights (`python -m tests.fixtures.graph_kinds.make --full FOLDER`). What they gave is kept in graph_kinds_peers.csv, so
that the table can be written again without them.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from dse.files import atomic_write
from dse.report.tables import markdown_table
from reports.graph_kinds_peers import PEER_CODE, PEERS
from tests.bench.big_graphs import deep_graph
from tests.fixtures.graph_kinds.compare import TABLE
from tests.fixtures.graph_kinds.formulas import KINDS, Kind

HERE = Path(__file__).parent
FIXTURES = HERE.parent / "tests" / "fixtures" / "graph_kinds"
NINE = 9
"""The first rows: one BERT in the nine forms that people meet most."""

LIMIT_S = 120
PEER_TOLERANCE = 1e-2
"""A peer is right within this fraction: it may count biases and elementwise operators. Ours must be exact."""

# Not ru_maxrss: across exec it keeps the peak of the process that forked.
PEAK = """
import pathlib
def peak_mb():
    status = pathlib.Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in status if line.startswith("VmHWM")) / 1024
"""

OURS = (
    PEAK
    + """
import json, sys, time
from workloads import load_onnx, load_program
path, given = sys.argv[1], json.loads(sys.argv[2])
def load():
    if given["program"]:
        import onnx
        nodes = [n.name for n in onnx.load(path, load_external_data=False).graph.node if n.op_type == "If"]
        program = load_program(path, missing_weights="allow", probabilities=dict.fromkeys(nodes, given["chance"]))
        return sum(float(w) * float(work.macs()) for w, work in program), sum(len(work) for _, work in program)
    work = load_onnx(path, missing_weights="allow", **given["bind"])
    return float(work.macs()), len(work)
import onnx, workloads.structure
times = []
for _ in range(3):
    start = time.process_time()
    macs, operators = load()
    times.append(time.process_time() - start)
print(json.dumps({"macs": macs, "cpu_s": min(times), "peak_mb": peak_mb()}))
"""
)


def measured(code: str, python: str, *arguments: str) -> dict[str, Any]:
    """Run code in a process of its own, on one thread; give what it prints, or why it failed."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore"}
    try:
        done = subprocess.run(
            [python, "-c", code, *arguments], capture_output=True, text=True, timeout=LIMIT_S, check=False,
            env=environment, cwd=HERE.parent,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return {"error": f"no answer in {LIMIT_S} s"}
    lines = [line for line in done.stdout.splitlines() if line.startswith("{")]
    if done.returncode == 0 and lines:
        return dict(json.loads(lines[-1]))
    last = [line for line in done.stderr.splitlines() if line.strip()] or [f"exit status {done.returncode}"]
    return {"error": last[-1][:100]}


def ours(kind: Kind) -> dict[str, Any]:
    """Measure our loader on one fixture."""
    given = {"bind": dict(kind.bind), "program": kind.name in ("if_cond", "loop")}
    given["chance"] = next(iter(kind.probabilities.values()), 0.5)
    return measured(OURS, sys.executable, str(FIXTURES / f"{kind.name}.onnx"), json.dumps(given))


def run_peers(python: str, full: Path) -> None:
    """Run the other tools on the full files, and keep what they gave."""
    with (HERE / "graph_kinds_peers.csv").open("w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file, lineterminator="\n")
        rows.writerow(("model", "tool", "product_macs", "cpu_s", "peak_mb", "error"))
        for kind in KINDS:
            for tool in PEERS:
                found = measured(PEER_CODE, python, tool, str(full / f"{kind.name}.onnx"), json.dumps(dict(kind.bind)))
                rows.writerow([kind.name, tool, *(found.get(key, "") for key in ("macs", "cpu_s", "peak_mb", "error"))])
                print(kind.name, tool, found, flush=True)


def verdict(kind: Kind, macs: float | None, allowed: float = 0.0) -> str:
    """Say in a word whether a count is right, within a fraction of it."""
    if macs is None:
        return "fails"
    return "right" if abs(macs - kind.macs) <= allowed * kind.macs else f"{macs / kind.macs:.3g} x"


def peer_rows() -> dict[tuple[str, str], dict[str, str]]:
    """Read what the other tools gave."""
    with (HERE / "graph_kinds_peers.csv").open(newline="", encoding="utf-8") as file:
        return {(row["model"], row["tool"]): row for row in csv.DictReader(file)}


def compared() -> str:
    """Give the differences from torch that `tests.fixtures.graph_kinds.compare` measured."""
    with TABLE.open(newline="", encoding="utf-8") as file:
        header, *rows = csv.reader(file)
    return markdown_table(header, rows)


def targets() -> list[list[str]]:
    """Measure the four times that are asked for."""
    import onnx

    light = Path(onnx.__file__).parent / "backend" / "test" / "data" / "light"
    times = sorted(
        (measured(OURS, sys.executable, str(path), _NONE)["cpu_s"], path.stem) for path in light.glob("*.onnx")
    )
    worst, name = times[-1]
    rows = [
        ["zoo CNN, the middle of nine", "0.05 s", f"{times[len(times) // 2][0]:.3f} s", times[len(times) // 2][1]],
        ["zoo CNN, the slowest of nine", "0.05 s", f"{worst:.3f} s", name],
    ]
    with tempfile.TemporaryDirectory() as scratch:
        path = deep_graph(Path(scratch))
        found = measured(
            OURS, sys.executable, str(path), json.dumps({"bind": {"batch": 1, "seq": 128}, "program": False})
        )
        nodes = len(onnx.load(path, load_external_data=False).graph.node)
        rows.append(
            [f"{nodes:,}-node graph", "0.2 s", f"{found['cpu_s']:.3f} s", "a dynamo BERT eleven times in a row"]
        )
    wide = ours(next(kind for kind in KINDS if kind.name == "bert4_external_2_4gb"))
    rows.append(["2.4 GB of external data", "0.1 s", f"{wide['cpu_s']:.3f} s", "bert4_external_2_4gb"])
    big = measured(SEVENTY, sys.executable)
    reached = f"{big['cpu_s']:.2f} s, {big['peak_mb']:.0f} MB" if "cpu_s" in big else big["error"]
    rows.append(["70B decoder", "2 s, 500 MB", reached, "Llama 2 70B of the zoo, decode at 4,096 keys, first load"])
    return rows


_NONE = json.dumps({"bind": {}, "program": False})

SEVENTY = (
    PEAK
    + """
import json, tempfile, time
from workloads import load_onnx, zoo
folder = pathlib.Path(tempfile.mkdtemp())
path = folder / "model.onnx"
zoo.write_onnx("llama-2-70b", path, phase="decode")
start = time.process_time()
work = load_onnx(path, missing_weights="allow", batch=1, total=4096)
cpu = time.process_time() - start
print(json.dumps({"cpu_s": cpu, "peak_mb": peak_mb()}))
"""
)


def main() -> None:
    """Measure and write the table."""
    options = argparse.ArgumentParser()
    options.add_argument("--peers")
    options.add_argument("--full", type=Path)
    given = options.parse_args()
    if given.peers:
        run_peers(given.peers, given.full)
    peers, rows, right = peer_rows(), [], 0
    import onnx

    counts, of_nine = dict.fromkeys(PEERS, 0), dict.fromkeys(PEERS, 0)
    for number, kind in enumerate(KINDS):
        found = ours(kind)
        right += found.get("macs") == kind.macs
        nodes = len(onnx.load(str(FIXTURES / f"{kind.name}.onnx"), load_external_data=False).graph.node)
        row = [kind.what, kind.tool, f"{nodes:,}", f"{kind.macs / 1e6:,.3f}", verdict(kind, found.get("macs"))]
        row += [f"{found['cpu_s']:.3f}", f"{found['peak_mb']:.0f}"] if "cpu_s" in found else [found["error"], "-"]
        for tool in PEERS:
            peer = peers.get((kind.name, tool))
            macs = float(peer["product_macs"]) if peer and peer["product_macs"] else None
            word = "not run" if peer is None else verdict(kind, macs, PEER_TOLERANCE)
            counts[tool] += word == "right"
            of_nine[tool] += word == "right" and number < NINE
            row.append(word)
        rows.append(row)
        print(kind.name, found, flush=True)
    header = ["graph", "written by", "nodes", "MMAC by formula", "ours", "CPU, s", "peak, MB", *PEERS.values()]
    text = TEXT.format(
        table=markdown_table(header, rows), right=right, count=len(KINDS),
        peers=", ".join(f"{PEERS[tool]} {counts[tool]} (of the first nine: {of_nine[tool]})" for tool in PEERS),
        targets=markdown_table(["load", "asked", "measured", "what"], targets()), compared=compared(),
    )  # fmt: skip
    with atomic_write(HERE / "graph_kinds.md") as part:
        Path(part).write_text(text, encoding="utf-8")


TEXT = """# Graph kinds

Right counts: ours {right} of {count}; {peers}.

*right*: the multiply-adds of products and convolutions are those of the formula by hand
([formulas](../tests/fixtures/graph_kinds/formulas.py)), ours exactly, a peer's within 1 %, for it may count
biases and the like; *1.5 x*: one and a half times as many; *fails*: an exception, or no answer in 120 s
([what they said](graph_kinds_peers.csv)). Ours ran on the graphs without weights, the peers on the full files; what
they count for elementwise operators is left out, where they say it apart (onnx-tool does). CPU: one thread, least of
three loads in a process; peak: resident memory of that process, with the interpreter, NumPy and onnx.
Written by `python -m reports.graph_kinds`; peers measured on 25 November 2026.

{table}

## Do the graphs compute what torch computes

Every export of torch was compared with torch in ONNX Runtime when it was made (a dynamic one on a second shape with
padding); what quantizers, optimizers and model builders then made of one was not compared again. Three were compared
later, on files whose graphs are the fixtures byte for byte (`python -m tests.fixtures.graph_kinds.compare --full
FOLDER`): largest difference of an output, relative to its largest value. One cannot run as it is, because ONNX Runtime
has no bfloat16 kernels on a CPU; the same nodes and weights can.

{compared}

## Times that are asked for

CPU seconds of one thread, least of three, on a shared two-core machine that was busy; a quiet one is faster.

{targets}
"""


if __name__ == "__main__":
    main()
