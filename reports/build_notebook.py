"""Run a percent script as a notebook and write it, with its outputs, as .ipynb beside the script.

`python reports/build_notebook.py reports/NAME.py` writes NAME.ipynb. `--check` runs it and compares what it prints with
the committed notebook instead; figures are drawn, but not compared. Cells start at `# %%`, text cells at
`# %% [markdown]`. Needs the extra `test` (nbclient, ipykernel).
"""

from __future__ import annotations

import argparse
import difflib
import re
import sys
import tempfile
from pathlib import Path
from typing import Any

import nbformat
from jupyter_client.manager import KernelManager
from nbclient import NotebookClient

from dse.files import atomic_write

ROOT = Path(__file__).resolve().parent.parent
_CELL = re.compile(r"^# %%(.*)$", re.MULTILINE)


def cells_of(script: str) -> list[Any]:
    """Split a percent script into notebook cells; what stands before the first cell is left out."""
    parts = _CELL.split(script)[1:]
    cells = []
    for number, (kind, body) in enumerate(zip(parts[::2], parts[1::2], strict=True)):
        if "[markdown]" in kind:
            text = "\n".join(line.removeprefix("#").removeprefix(" ") for line in body.strip().splitlines())
            cell = nbformat.v4.new_markdown_cell(text)  # type: ignore[no-untyped-call]
        else:
            cell = nbformat.v4.new_code_cell(body.strip())  # type: ignore[no-untyped-call]
        cell["id"] = f"cell-{number}"  # the default is random
        cells.append(cell)
    return cells


def executed(path: Path) -> Any:
    """Run a script as a notebook in the repository root and give it without what differs between machines."""
    notebook = nbformat.v4.new_notebook(cells=cells_of(path.read_text(encoding="utf-8")))  # type: ignore[no-untyped-call]
    kernel = KernelManager(kernel_name="python3", transport="ipc")  # no network
    resources = {"metadata": {"path": str(ROOT)}}
    client = NotebookClient(
        notebook, km=kernel, timeout=300, resources=resources, record_timing=False, coalesce_streams=True
    )
    try:
        client.execute()
    finally:
        kernel.shutdown_kernel(now=True)
    notebook["metadata"] = {
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
    }
    text = nbformat.writes(notebook)  # type: ignore[no-untyped-call]
    for place in (str(ROOT), str(Path.home()), tempfile.gettempdir(), sys.prefix):
        if len(place) > 1 and place in text:
            raise SystemExit(f"{path.name}: an output names a place on this machine: {place}")
    return notebook


def printed(notebook: Any) -> list[str]:
    """List the text outputs, cell by cell."""
    lines = []
    for cell in notebook["cells"]:
        for output in cell.get("outputs", ()):
            data = output.get("data", {})
            text = output.get("text") or ("" if "image/png" in data else data.get("text/plain", ""))
            lines += [f"{cell['id']}: {line}" for line in "".join(text).splitlines()]
    return lines


def main() -> None:
    """Write or check a notebook."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("script", type=Path)
    parser.add_argument("--check", action="store_true")
    options = parser.parse_args()
    target = options.script.with_suffix(".ipynb")
    notebook = executed(options.script)
    if not options.check:
        with atomic_write(target) as part:
            nbformat.write(notebook, part)  # type: ignore[no-untyped-call]
        return
    committed = nbformat.read(target, as_version=4)  # type: ignore[no-untyped-call]
    changes = list(difflib.unified_diff(printed(committed), printed(notebook), "committed", "now", lineterm="", n=0))
    sources = [[cell["source"] for cell in item["cells"]] for item in (committed, notebook)]
    if changes or sources[0] != sources[1]:
        raise SystemExit("\n".join([f"{target.name} is out of date: run this script without --check", *changes]))


if __name__ == "__main__":
    main()
