"""A mapping as a loop nest in text, which parses back to the same mapping.

    DRAM keeps W I O
    | for M by 256                  # 2 x 256
    | | for N by 64                 # 12 x 64
    Accumulator keeps O
    | | | for K by 16               # 48 x 16
    | | | | parallel N by 16 on X   # 4 x 16

What a line says after `#` and the bars before it are for the reader; `parse_mapping` skips them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping as MappingABC
from itertools import chain

from hwmodels.mapping.records import LevelMapping, Loop, Mapping
from hwmodels.spatial import ROLES
from workloads.errors import MappingError, nearest
from workloads.operator import Num

__all__ = ["mapping_text", "parse_mapping"]

_HEADER = re.compile(r"(?P<level>\S(?:.*\S)?) keeps (?P<keeps>.*)")
_LOOP = re.compile(r"(?P<kind>for|parallel) (?P<dim>\S+) by (?P<step>[0-9]{1,18})(?: on (?P<axis>\S+))?")

NOTHING = "nothing"


def mapping_text(mapping: Mapping, sizes: MappingABC[str, Num] | None = None) -> str:
    """Write a mapping as a loop nest.

    Args:
        mapping: What to write.
        sizes: Sizes of the dims: loops then say how many pieces of what size they hand inwards.

    Example:
        >>> nest = Mapping((LevelMapping("DRAM", ("W", "I", "O"), (Loop("m", 16), Loop("m", 1))),))
        >>> print(mapping_text(nest, {"m": 49}))
        DRAM keeps W I O
        | for m by 16     # 3 x 16 + 1
        | | for m by 1    # 16
    """
    rows: list[tuple[str, str]] = []
    left = {dim: int(size) for dim, size in sizes.items()} if sizes is not None else {}
    depth = 0
    for level in mapping.levels:
        rows.append((f"{level.level} keeps {' '.join(level.keeps) or NOTHING}", ""))
        for loop in chain(level.temporal, level.spatial):
            depth += 1
            words = (
                f"parallel {loop.dim} by {loop.step} on {loop.axis}" if loop.axis else f"for {loop.dim} by {loop.step}"
            )
            rows.append((f"{'| ' * depth}{words}", pieces_text(left[loop.dim], loop.step) if loop.dim in left else ""))
            if loop.dim in left:
                left[loop.dim] = loop.step
    width = max(len(line) for line, _ in rows)
    return "\n".join(f"{line:{width}}    # {note}" if note else line for line, note in rows)


def pieces_text(size: int, step: int) -> str:
    """Say how a loop cuts what it walks: "4" ones, "3 x 16 + 1".

    Example:
        >>> pieces_text(49, 16), pieces_text(8, 1), pieces_text(5, 5)
        ('3 x 16 + 1', '8', '1 x 5')
    """
    whole, edge = divmod(size, step)
    if step == 1:
        return str(whole)
    parts = ([f"{whole} x {step}"] if whole else []) + ([str(edge)] if edge else [])
    return " + ".join(parts)


def parse_mapping(text: str) -> Mapping:
    r"""Read a mapping from what `mapping_text` writes.

    Args:
        text: The loop nest.

    Raises:
        MappingError: The line that cannot be read, and how it should look.

    Example:
        >>> parse_mapping("DRAM keeps W I O\n| for m by 1").levels[0].temporal
        (Loop(dim='m', step=1, axis=''),)
    """
    if not isinstance(text, str):
        raise MappingError(f"a mapping is read from text, not from {type(text).__name__}; give what mapping_text wrote")
    levels: list[LevelMapping] = []
    for number, line in enumerate(text.splitlines(), start=1):
        plain = line.split("    # ")[0].strip() if line.lstrip().startswith("|") else line.strip()
        words = plain.lstrip("| ")
        if not words:
            continue
        loop = _LOOP.fullmatch(words) if plain.startswith("|") or not _HEADER.fullmatch(words) else None
        if loop is not None:
            levels[-1:] = [_with_loop(levels, loop, number, words)]
        else:
            levels.append(_level(words, number))
    if not levels:
        raise MappingError("the text of the mapping is empty; start with a level: DRAM keeps W I O")
    return Mapping(tuple(levels))


def _level(words: str, number: int) -> LevelMapping:
    header = _HEADER.fullmatch(words)
    if header is None:
        raise MappingError(
            f"line {number}: {words!r} is neither a level (DRAM keeps W I O) "
            "nor a loop (for M by 16, parallel N by 1 on X)"
        )
    keeps = tuple(header["keeps"].split())
    keeps = () if keeps == (NOTHING,) else keeps
    wrong = [role for role in keeps if role not in ROLES]
    if wrong or len(set(keeps)) != len(keeps):
        raise MappingError(
            f"line {number}: keeps {header['keeps']!r}; {nearest(wrong[0] if wrong else '', ROLES)}, each once"
        )
    return LevelMapping(header["level"], keeps)


def _with_loop(levels: list[LevelMapping], found: re.Match[str], number: int, words: str) -> LevelMapping:
    """Give the last level with one more loop."""
    if not levels:
        raise MappingError(f"line {number}: a loop before the first level; start with a level: DRAM keeps W I O")
    parallel = found["kind"] == "parallel"
    if parallel != (found["axis"] is not None):
        raise MappingError(f"line {number}: {words!r}; a parallel loop says on which axis, another one does not")
    level, loop = levels[-1], Loop(found["dim"], int(found["step"]), found["axis"] or "")
    if level.spatial and not parallel:
        raise MappingError(f"line {number}: {words!r} inside a parallel loop of {level.level}; write it before")
    temporal, spatial = (
        (level.temporal, (*level.spatial, loop)) if parallel else ((*level.temporal, loop), level.spatial)
    )
    return LevelMapping(level.level, level.keeps, temporal, spatial)
