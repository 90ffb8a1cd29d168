"""The part of `reports/fusion.md` that stands beside another tool."""

from __future__ import annotations

import csv
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from hwmodels.cascades import Cascade, cascade_of, search_cascade
from hwmodels.spatial import REFERENCE, ROLES, Accelerator, BufferLevel
from workloads.operator import Operator, Tensor, axis

PEER = Path(__file__).resolve().parent.parent / "tests" / "golden" / "reference" / "fusion" / "accelforge.csv"


def peer_section() -> str:
    """Put what AccelForge found for two products in a row beside what is found here."""
    dram, buffer = (
        BufferLevel(name=name, keeps=ROLES, capacity_words=None, word_bits=8, read_j=price, write_j=price, bypass=())
        for name, price in (("DRAM", 100.0), ("Buffer", 1.0))
    )
    rows = []
    with PEER.open(newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            m, n, k, d, words = (int(row[name]) for name in ("m", "n", "k", "d", "buffer_words"))
            device = Accelerator(
                name="two levels", levels=(dram, replace(buffer, capacity_words=words)), mac_j=1.0, clock_hz=1.0,
                conventions=REFERENCE,
            )  # fmt: skip
            start = time.process_time()
            found = search_cascade(two_products(m, n, k, d), device, "energy")
            taken = time.process_time() - start
            ours = min(found.energy_j, found.unfused.energy_j)
            theirs = sum(float(row[name]) for name in ("main_memory", "buffer", "mac"))
            drained = m * d + (m * n if row["fused"] == "no" else 0)
            rows.append([
                row["case"], f"{m} x {n} x {k} x {d}", f"{words:,}", row["fused"], f"{theirs:,.0f}", f"{drained:,}",
                f"{ours:,.0f}", f"{theirs - drained - ours:,.0f}", row["cpu_s"], f"{taken:.1f}",
            ])  # fmt: skip
    header = ("case", "m x n x k x d", "buffer", "fused", "AccelForge", "of it drains", "here", "difference",
              "CPU s there", "here")  # fmt: skip
    rule = ["---", *["---:"] * (len(header) - 1)]
    text = "\n".join("| " + " | ".join(row) + " |" for row in (header, rule, *rows))
    return f"\n## Beside AccelForge\n\n{PEER_NOTE}\n{text}\n"


def two_products(m: int, n: int, k: int, d: int) -> Cascade:
    """Give `S[m,n] = Q[m,k] KT[k,n]` and `O[m,d] = S[m,n] V[n,d]`."""

    def product(name: str, sizes: Sequence[int], names: Sequence[str]) -> Operator:
        tensors = [
            Tensor(name=one, axes=tuple(map(axis, dims)), bits=8)
            for one, dims in zip(names, ("mk", "kn", "mn"), strict=True)
        ]
        return Operator(
            name=name, op_type="MatMul", kind="matmul", dims=dict(zip("mnk", sizes, strict=True)),
            inputs=tuple(tensors[:2]), outputs=(tensors[2],),
        )  # fmt: skip

    return cascade_of([product("scores", (m, n, k), ("q", "kt", "s")), product("context", (m, d, n), ("s", "v", "o"))])


PEER_NOTE = """\
AccelForge (PyPI 1.0.467) is the public tool that searches fused mappings. Least energy of two products in a
row, `S[m,n] = Q[m,k] KT[k,n]` and `O[m,d] = S[m,n] V[n,d]`, on a main memory (100 a word), a buffer (1 a word, all
tensors pass it) and one MAC (1 an operation); it may let S go through the main memory where that is better, so it
stands beside the lesser of fused and unfused. It counts the read of a finished output at the buffer that it leaves,
which is not counted here: taken off, nothing is left. Its times, with the compilation of its parts, were taken on the
same machine, in an environment of its own.
"""
