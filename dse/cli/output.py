"""What commands print: tables that fit the terminal, numbers for people, progress on stderr."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress

__all__ = ["Bar", "console", "print_table", "progress_bar", "short", "shortened"]

SHOW_AFTER_S = 2.0
"""A bar for less than this would only flicker [s]."""


def console(stderr: bool = False) -> Console:
    """Make a console that takes text as it is: a file name may hold brackets."""
    from rich.console import Console

    return Console(stderr=stderr, markup=False, highlight=False, emoji=False, soft_wrap=False)


def short(text: str, width: int) -> str:
    """Cut a name at its front: the tail of a node's path tells more.

    Example:
        >>> short("/encoder/layer.0/query/MatMul", 13)
        '…query/MatMul'
    """
    return text if len(text) <= width else "…" + text[len(text) - max(width, 2) + 1 :]


def shortened(text: str, width: int) -> str:
    """Cut a text at its end: the start of a word tells more.

    Example:
        >>> shortened("DequantizeLinear", 11), shortened("QuantizeLinear", 11)
        ('Dequantize…', 'QuantizeLi…')
    """
    return text if len(text) <= width else text[: max(width, 2) - 1] + "…"


def print_table(
    header: Sequence[str],
    rows: Sequence[Sequence[str]],
    *,
    left: Sequence[int] = (0,),
    cut: Sequence[int] = (0,),
    cut_end: Sequence[int] = (),
    wrap: Sequence[int] = (),
    title: str = "",
) -> None:
    """Print a table on stdout that fits the width of the terminal.

    Args:
        header: Column titles.
        rows: Cells, printed as they are.
        left: Columns that are aligned left; the others are numbers.
        cut: Columns whose cells lose their front where the table would be too wide.
        cut_end: Columns whose cells lose their end instead.
        wrap: Columns that wrap instead.
        title: Above the table.
    """
    from rich.box import SIMPLE_HEAD
    from rich.table import Table
    from rich.text import Text

    target = console()
    cells = [[str(cell) for cell in row] for row in rows]
    if not wrap:
        cells = _fitted(header, cells, cut, cut_end, target.width)
    table = Table(box=SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0), header_style="bold")
    for number, name in enumerate(header):
        justify: Any = "left" if number in left else "right"
        table.add_column(Text(name), justify=justify, no_wrap=number not in wrap, overflow="fold")
    for row in cells:
        table.add_row(*[Text(cell) for cell in row])
    if title:
        target.print(Text(title, style="bold"), soft_wrap=True)
    target.print(table)


def _fitted(
    header: Sequence[str], rows: list[list[str]], cut: Sequence[int], cut_end: Sequence[int], width: int
) -> list[list[str]]:
    """Shorten the cells of some columns, the widest first, until the table fits."""
    lines = [list(header), *rows]
    widths = [max(map(_width, column)) for column in zip(*lines, strict=True)]
    excess = sum(widths) + 2 * (len(widths) - 1) - width
    while excess > 0:
        widest = max([*cut, *cut_end], key=lambda number: widths[number] - _width(header[number]), default=None)
        if widest is None or widths[widest] <= max(_width(header[widest]), 8):
            break
        widths[widest] -= 1
        excess -= 1
    ways = {**dict.fromkeys(cut, short), **dict.fromkeys(cut_end, shortened)}
    return [[ways[n](cell, widths[n]) if n in ways else cell for n, cell in enumerate(row)] for row in rows]


def _width(cell: str) -> int:
    return max(len(line) for line in cell.split("\n"))


class Bar:
    """A progress bar on stderr that appears once the work has taken two seconds; it counts calls, so it has state."""

    def __init__(self, what: str = "") -> None:
        self._what = what
        self._start = time.monotonic()
        self._progress: Progress | None = None
        self._tasks: dict[str, Any] = {}

    def __call__(self, done: int, total: int) -> None:
        """Report progress of the one phase."""
        self.phase(self._what, done, total)

    def phase(self, what: str, done: int, total: int) -> None:
        """Report progress of a named phase."""
        if self._progress is None:
            if time.monotonic() - self._start < SHOW_AFTER_S or not sys.stderr.isatty():
                return
            self._progress = self._started()
        if what not in self._tasks:
            self._tasks[what] = self._progress.add_task(what, total=total)
        self._progress.update(self._tasks[what], completed=done, total=total)

    def _started(self) -> Progress:
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        progress = Progress(*columns, console=console(stderr=True), transient=True)
        progress.start()
        return progress

    def close(self) -> None:
        """Remove the bar."""
        if self._progress is not None:
            self._progress.stop()


@contextmanager
def progress_bar(what: str = "") -> Iterator[Bar]:
    """Give a bar, and remove it whatever happens."""
    bar = Bar(what)
    try:
        yield bar
    finally:
        bar.close()
