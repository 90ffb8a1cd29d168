"""Write reports/zoo.md: published architectures, parameters beside the published number, KV cache, cost.

python reports/zoo.py [--out FILE.md]
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

from dse.files import atomic_write
from workloads import Workload
from workloads.zoo import architecture, parameter_count, published, published_names
from workloads.zoo.families import family_of

HEADER = """# Published architectures

Written by `reports/zoo.py`. Parameters are counted on the graph that the zoo writes, fp16. "Load" is CPU time of one
thread from the name to the workload (graph, loading, structure), on a shared machine. Each published number has its
source in `workloads/zoo/published/`; the tests hold 0.5 % (Squeezeformer 1.5 %).

| name | model type | parameters | published | difference | GMAC of | KV cache per token | load |
|---|---|---:|---:|---:|---:|---:|---:|
"""


def main() -> None:
    """Run the report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path(__file__).with_suffix(".md"))
    text = HEADER + "\n".join(row(name) for name in published_names()) + "\n"
    with atomic_write(parser.parse_args().out) as part:
        part.write_text(text, encoding="utf-8")


def row(name: str) -> str:
    """Write the row of one architecture."""
    entry = published(name)
    counted = parameter_count({**entry.config, **entry.counted_with})
    start = time.process_time()
    work = architecture(name)
    seconds = time.process_time() - start
    cache = cache_bytes_per_token(name) if "decode" in family_of(entry.config).phases else None
    cells = [
        name,
        str(entry.config["model_type"]),
        f"{counted:,}",
        f"{entry.parameters:,.0f}",
        f"{counted / entry.parameters - 1:+.3%}",
        f"{float(work.macs()) / 1e9:,.2f} ({sizes(work)})",
        "" if cache is None else f"{cache:,.0f} B",
        f"{seconds * 1e3:.0f} ms",
    ]
    return f"| {' | '.join(cells)} |"


def sizes(work: Workload) -> str:
    """Say which sizes the workload has."""
    return ", ".join(f"{name} {size}" for name, size in work.bindings.items())


def cache_bytes_per_token(name: str) -> float | None:
    """Give what one more token adds to the caches of a decode step, below any sliding window [B]."""
    first, second = (_cache_bytes(architecture(name, phase="decode", context=context)) for context in (99, 100))
    return second - first if second > first else None


def _cache_bytes(work: Workload) -> float:
    caches: dict[str, Any] = {
        tensor.name: tensor.stored_bytes(op.dims)
        for op in work.operators
        for tensor in op.inputs
        if tensor.role == "kv_cache" and tensor.name in work.inputs
    }
    return float(sum(caches.values()))


if __name__ == "__main__":
    main()
