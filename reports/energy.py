"""Writes `reports/energy.md`: how far the energy models are from CACTI and from published figures, and how fast.

    OMP_NUM_THREADS=1 python -m reports.energy [FOLDER]

With a folder, the pictures of `dse.plots.energy` are drawn there. It takes two to three minutes of CPU time.
"""

from __future__ import annotations

import sys
from pathlib import Path

from dse.files import atomic_write
from reports import energy_pictures, energy_sram
from reports.energy_others import (
    arithmetic_section,
    checks_section,
    dram_section,
    tables_section,
    technology_section,
    wires_section,
)
from reports.energy_speed import section as speed_section

HEAD = """# Energy and area

Written by `python -m reports.energy`. CACTI is CACTI 7 with the settings of the reference set; its output, which the
models are held against, stands in `tests/golden/reference/energy`. Every published figure has its source in the cited
tables of `hwmodels/tables`.
"""


def report() -> str:
    """Write the whole report."""
    speed = speed_section()  # first, while little else is in memory
    sections = [*energy_sram.sections(), tables_section(), arithmetic_section(), technology_section(), dram_section(),
                wires_section(), checks_section(), speed]  # fmt: skip
    return "\n".join([HEAD, *sections])


def main(folder: Path | None = None) -> None:
    """Write the report, and the pictures into a folder."""
    path = Path(__file__).resolve().parent / "energy.md"
    with atomic_write(path) as part:
        part.write_text(report(), encoding="utf-8")
    print(f"written to {path}")
    for picture in energy_pictures.draw(folder) if folder else ():
        print(picture)


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else None)
