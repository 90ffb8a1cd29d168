"""Why no tile of a cascade fits: which operator needs how much at which level."""

from __future__ import annotations

import math

from hwmodels.cascades.choices import tiles_of
from hwmodels.cascades.setting import Setting

__all__ = ["nothing_fused"]


def nothing_fused(setting: Setting) -> str:
    """Name the smallest tile of the first link and the level that has no room for it, or for the products beside it."""
    smallest = min(tiles_of(setting), key=lambda tile: math.prod(tile.values()))
    link, device = setting.cascade.links[0], setting.accelerator
    text = f"{setting.cascade.name} cannot be fused on {device.name}"
    if setting.engines[0] is not None and not setting.may_pass(0):
        place = setting.place(0)
        level = device.levels[place]
        bits = setting.problems[0].acc_bits if "O" in level.keeps else float(link.sums.bits_per_value())
        each = bits / level.word_bits if setting.rules.bit_true else 1.0
        need = math.prod(smallest.values()) * each
        rows = sorted(link.whole_rows & frozenset(smallest))
        row = math.prod(smallest[dim] for dim in rows)
        if level.capacity_words is not None and need > level.capacity_words:
            function = next((op for op in link.functions), link.product)
            return (
                f"{text}: {function.name} ({function.op_type}) needs rows of {row:,} sums whole, a tile of one takes "
                f"{need:,.6g} words of {level.name}, which has {level.capacity_words:,}; no online form of it helps "
                "here: leave it unfused"
            )
    have = ", ".join(
        f"{level.name} {level.capacity_words:,} words" for level in device.levels if level.capacity_words is not None
    )
    tile = " x ".join(f"{dim} {size}" for dim, size in smallest.items())
    names = " and ".join(problem.name for problem in setting.problems)
    return (
        f"{text}: even for tiles of {tile}, what {names} hand on leaves their own tiles no room ({have}); "
        "leave it unfused"
    )
