"""Make hwmodels/tables/sram.npz: what CACTI computes for every organisation that is near the best.

python reports/training/sram_table.py sweep --cacti FOLDER --out SWEEP [--part 0/2]     an hour; goes on where it was
python reports/training/sram_table.py table SWEEP... --rows CSV --out hwmodels/tables/sram.npz

FOLDER holds CACTI 7 (commit 1ffd8dfb10303d306ecd8d215320aea07651e878), built for one thread, with one addition to
`solve` in Ucache.cc, after `filter_data_arr(data_arr)`: where the environment names a file in CACTI_DUMP, every
`mem_array` m of `data_arr` becomes a line of it:

    Ndwl Ndbl Nspd deg_bl_muxing Ndsam_lev_1 Ndsam_lev_2 read write leakage area access cycle height width

that is m->power.readOp.dynamic, m->power.writeOp.dynamic, m->power.readOp.leakage + gate_leakage, m->area,
m->access_time, m->cycle_time, m->height, m->width, with nine digits (J, W, um2, s, um). What CACTI chooses and prints
stays as it is; tests/hwmodels/energy/test_sram.py holds the result against rows of an unchanged CACTI.

Arrays of the table: `blocks` (device type, node, ports); `points` (block, width, depth); `orgs` (ndwl, ndbl, nspd,
ndcm, ndsam1, ndsam2); `entry_point`, `entry_org`, `entry_near` (bits of `stored.OBJECTIVES`, `stored.BANKED`),
`entry_values` (J, J, W, s, s, um, um; 15 bits of mantissa); `rows` (device, node, ports, banks, size, width,
organisation) and `row_values` (pJ, pJ, mW of a bank, mm2, ns, ns, mm, mm, %) as CACTI prints them.
"""

from __future__ import annotations

import argparse
import csv
import os
import pickle
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from dse.files import atomic_write
from hwmodels.energy.cacti.settings import Settings, input_text
from hwmodels.energy.sram.cells import grid_depths
from hwmodels.energy.sram.routing import route
from hwmodels.energy.sram.stored import BANKED, DEVICES, NODES, OBJECTIVES, PORTS

Organisation = tuple[int, ...]
Floats = NDArray[np.float64]

WIDTHS = tuple(1 << power for power in range(8))
LARGEST = {PORTS[0]: 1 << 27, PORTS[1]: 1 << 26, PORTS[2]: 1 << 26}
READ, ACCESS, AREA, HEIGHT, WIDTH = 0, 4, 3, 6, 7
"""Columns of a dump behind the organisation."""

NEAR = {"ed2": (1.06, 8), "ed": (1.04, 5), "energy": (1.03, 4), "area": (1.03, 4), "delay": (1.02, 3)}
"""Organisations within this factor of the best, at most so many, are candidates."""
NEAR_BANKED = (1.04, 4)
FAR = (8.0, 4.0, 2.0, 1.5)
"""Energy x delay^2, energy x delay, energy and area over the best, from which on an organisation is not kept at all."""
REACH = 2
"""Candidates are kept at so many neighbours along the depth, and at the widths beside."""


class Run(NamedTuple):
    """What CACTI was asked for, what it printed, and its organisations with their values (organisations, 14)."""

    key: tuple[str, float, tuple[int, int, int], int, int]
    printed: Mapping[str, str]
    dump: Floats


def main() -> None:
    """Run one of the two steps."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    steps = parser.add_subparsers(required=True)
    sweeping = steps.add_parser("sweep")
    sweeping.add_argument("--cacti", type=Path, required=True)
    sweeping.add_argument("--out", type=Path, required=True)
    sweeping.add_argument("--part", default="0/1")
    sweeping.set_defaults(step=lambda given: sweep(given.cacti, given.out, given.part))
    making = steps.add_parser("table")
    making.add_argument("sweeps", type=Path, nargs="+")
    making.add_argument("--rows", type=Path, required=True)
    making.add_argument("--out", type=Path, required=True)
    making.set_defaults(step=lambda given: write_table(given.sweeps, given.rows, given.out))
    given = parser.parse_args()
    given.step(given)


def grid() -> Iterator[Settings]:
    """List all memories of the table, the ordinary ones first."""
    for ports in PORTS:
        for device in DEVICES if ports == PORTS[0] else DEVICES[:1]:
            for node in NODES:
                for width in WIDTHS:
                    for depth in grid_depths(32, LARGEST[ports] // width):
                        power = depth & (depth - 1) == 0
                        if depth * width >= 64 and (power or ports == PORTS[0]):
                            yield Settings(
                                size_bytes=depth * width, width_bytes=width, node_nm=node, device=device, ports=ports
                            )


def sweep(folder: Path, out: Path, part: str) -> None:
    """Ask CACTI for a part of the grid; what the file holds already is not asked again."""
    index, parts = (int(number) for number in part.split("/"))
    done = {run.key for run in read_runs(out)} if out.exists() else set()
    with out.open("ab") as file:
        for number, asked in enumerate(grid()):
            if number % parts == index and key_of(asked) not in done:
                pickle.dump(ask(folder, asked), file)
                file.flush()


def key_of(asked: Settings) -> tuple[str, float, tuple[int, int, int], int, int]:
    """Name a memory of the grid."""
    return asked.device, asked.node_nm, asked.ports, asked.size_bytes, asked.width_bytes


def ask(folder: Path, asked: Settings) -> Run:
    """Run CACTI once."""
    with tempfile.TemporaryDirectory() as place:
        question, dump = Path(place) / "in.cfg", Path(place) / "dump"
        question.write_text(input_text(asked), encoding="utf-8")
        command = [str(folder / "cacti"), "-infile", str(question)]
        environment = {**os.environ, "CACTI_DUMP": str(dump)}
        subprocess.run(command, cwd=folder, env=environment, capture_output=True, check=True)
        names, values = list(csv.reader(Path(f"{question}.out").read_text(encoding="utf-8").splitlines()))[-2:]
        printed = {name.strip(): value.strip() for name, value in zip(names, values, strict=True)}
        return Run(key_of(asked), printed, worth_keeping(np.loadtxt(dump, ndmin=2)))


def worth_keeping(dump: Floats) -> Floats:
    """Drop organisations that are far from the best; of those that differ in multiplexers alone, keep the best few."""
    read, access, area = (dump[:, 6 + column] for column in (READ, ACCESS, AREA))
    goals = (read * access**2, read * access, read, area)
    inside = np.any([goal < far * goal.min() for goal, far in zip(goals, FAR, strict=True)], axis=0)
    kept: set[int] = set()
    _, classes = np.unique(dump[:, :3], axis=0, return_inverse=True)
    for number in np.unique(classes[inside]):
        mine = np.flatnonzero(inside & (classes == number))
        kept.update(mine[np.argsort(goals[0][mine], kind="stable")[:2]].tolist())
        kept.update(int(mine[np.argmin(goal[mine])]) for goal in goals[1:])
    return np.asarray(dump[sorted(kept)])


def read_runs(path: Path) -> Iterator[Run]:
    """Read a sweep; a half-written last run is left out."""
    with path.open("rb") as file:
        while True:
            try:
                yield pickle.load(file)
            except (EOFError, pickle.UnpicklingError):
                return


def near_bits(run: Run) -> NDArray[np.uint8]:
    """Mark the organisations that are near-optimal, by objective and once wires between banks count."""
    device, node, ports, size, width = run.key
    read, access, area = (run.dump[:, 6 + column] for column in (READ, ACCESS, AREA))
    bits = np.zeros(len(run.dump), dtype=np.uint8)

    def mark(cost: Floats, bit: int, factor: float, most: int) -> None:
        order = np.argsort(cost, kind="stable")[:most]
        bits[order[cost[order] <= factor * cost[order[0]]]] |= bit

    for name, (factor, most) in NEAR.items():
        goal = OBJECTIVES[name]
        mark(read**goal.energy * access**goal.delay * area**goal.area, goal.bit, factor, most)
    height, across = (run.dump[:, 6 + column] * 1e-3 for column in (HEIGHT, WIDTH))
    address = np.full(len(bits), np.ceil(np.log2(size / width)) * sum(ports))
    word = np.full(len(bits), 8.0 * width * (2 * ports[0] + ports[1] + ports[2]) / 2)
    for banks in (2, 4, 8, 16):
        wires = route(device, node, banks, height, across, address, word)
        mark((read + wires.energy_j) * (access + wires.delay_s) ** 2, BANKED, *NEAR_BANKED)
    return bits


def write_table(sweeps: Sequence[Path], rows: Path, out: Path) -> None:
    """Write the table from sweeps and further printed rows (columns as cacti_sram.csv of the goldens)."""
    runs = [run for path in sweeps for run in read_runs(path)]
    blocks: dict[tuple[str, float, tuple[int, int, int]], dict[tuple[int, int], Run]] = {}
    for run in runs:
        device, node, ports, size, width = run.key
        blocks.setdefault((device, node, ports), {})[width, size // width] = run
    numbers: dict[Organisation, int] = {}
    points: list[tuple[int, int, int]] = []
    entries: list[tuple[int, int, int, Floats]] = []
    for block, name in enumerate(sorted(blocks)):
        entries += block_entries(block, blocks[name], numbers, points)
    values = np.array([row for *_, row in entries], dtype=np.float32)
    values = ((values.view(np.uint32) + np.uint32(0x80)) & np.uint32(0xFFFFFF00)).view(np.float32)
    keys, texts = printed_rows(runs, rows)
    with atomic_write(out) as part:
        np.savez_compressed(
            part,
            blocks=np.array(
                [f"{device} {node:.0f} {' '.join(map(str, ports))}" for device, node, ports in sorted(blocks)]
            ),
            points=np.array(points, dtype=np.int32),
            orgs=np.array(list(numbers), dtype=np.int16),
            entry_point=np.array([point for point, *_ in entries], dtype=np.int32),
            entry_org=np.array([which for _, which, *_ in entries], dtype=np.int16),
            entry_near=np.array([bits for *_, bits, _ in entries], dtype=np.uint8),
            entry_values=values,
            rows=keys,
            row_values=texts,
        )


def block_entries(
    block: int,
    runs: Mapping[tuple[int, int], Run],
    numbers: dict[Organisation, int],
    points: list[tuple[int, int, int]],
) -> list[tuple[int, int, int, Floats]]:
    """List the organisations of every point that are near-optimal at it or at a neighbour."""
    bits = {place: near_bits(run) for place, run in runs.items()}
    folds = {place: [tuple(row) for row in run.dump[:, :6].astype(int).tolist()] for place, run in runs.items()}
    wanted: dict[tuple[int, int], dict[Organisation, None]] = {place: {} for place in runs}
    depths = {width: sorted(depth for other, depth in runs if other == width) for width, _ in runs}
    widths = sorted(depths)
    for (width, depth), found in bits.items():
        at = widths.index(width)
        for other in widths[max(at - 1, 0) : at + 2]:
            mask = 255 if other == width else OBJECTIVES["ed2"].bit | BANKED
            mine = [fold for fold, bit in zip(folds[width, depth], found, strict=True) if bit & mask]
            middle = int(np.searchsorted(depths[other], depth))
            for near in depths[other][max(middle - REACH, 0) : middle + REACH + 1]:
                wanted[other, near].update(dict.fromkeys(mine))
    entries = []
    for width, depth in sorted(runs):
        point = len(points)
        points.append((block, width, depth))
        place = {fold: number for number, fold in enumerate(folds[width, depth])}
        columns = [6 + column for column in (0, 1, 2, 4, 5, 6, 7)]
        for fold in wanted[width, depth]:
            if fold in place:
                row = runs[width, depth].dump[place[fold]]
                which = numbers.setdefault(fold, len(numbers))
                entries.append((point, which, int(bits[width, depth][place[fold]]), row[columns]))
    return entries


def printed_rows(runs: Sequence[Run], path: Path) -> tuple[NDArray[np.int32], Floats]:
    """Collect what CACTI printed, by the sweep and in a table of further rows, sorted by what was asked."""
    found: dict[tuple[int, ...], tuple[Organisation, list[float]]] = {}
    for run in runs:
        device, node, ports, size, width = run.key
        text = run.printed
        fold = tuple(
            int(float(text[name])) for name in ("Ndwl", "Ndbl", "Nspd", "Ndcm", "Ndsam_level_1", "Ndsam_level_2")
        )
        (row,) = run.dump[(run.dump[:, :6] == fold).all(axis=1)]
        numbers = [
            float(text["Dynamic read energy (nJ)"]) * 1e3,
            float(text["Dynamic write energy (nJ)"]) * 1e3,
            *(float(text[name]) for name in ("Standby leakage per bank(mW)", "Area (mm2)", "Access time (ns)")),
            float(text["Random cycle time (ns)"]),
            *(row[[6 + HEIGHT, 6 + WIDTH]] * 1e-3).tolist(),
            float(text["Data arrary area efficiency %"]),
        ]
        found[DEVICES.index(device), int(node), *ports, 1, size, width] = fold, numbers
    with path.open(encoding="utf-8") as file:
        for line in csv.DictReader(file):
            if line["feasible"] == "1":
                asked = ("tech_nm", "rw_ports", "rd_ports", "wr_ports", "banks", "size_bytes", "width_bytes")
                organised = ("ndwl", "ndbl", "nspd", "ndcm", "ndsam1", "ndsam2")
                measured = (
                    "read_pj", "write_pj", "leak_mw_per_bank", "area_mm2", "access_ns", "cycle_ns", "height_mm",
                    "width_mm", "array_eff_pct",
                )  # fmt: skip
                key = DEVICES.index(line["cell_type"]), *(int(line[name]) for name in asked)
                fold = tuple(int(float(line[name])) for name in organised)
                found[key] = fold, [float(line[name]) for name in measured]
    keys = sorted(found)
    texts = [[float(f"{value:.6g}") for value in found[key][1]] for key in keys]
    return np.array([(*key, *found[key][0]) for key in keys], dtype=np.int32), np.array(texts)


if __name__ == "__main__":
    main()
