"""The SRAM sections of `reports.energy`: against CACTI, and against published energies."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from dse.report.tables import markdown_table
from hwmodels.energy import published_srams, sram_calibration
from hwmodels.energy.sram import Quality
from hwmodels.energy.sram.leave_out import COMPARED
from hwmodels.energy.sram.traces import BANDED, bands
from reports.energy_splits import (
    DEVICES,
    Floats,
    Split,
    exact_counts,
    leave_out_splits,
    random_points,
    random_splits,
)

ASKED = {"read_j": (4.2, 20.0), "write_j": (3.0, 12.0), "area_mm2": (2.6, 13.0), "access_s": (2.0, 9.5)}
"""Median and 95th percentile of the relative error [%]."""
SHOWN = ("read_j", "write_j", "area_mm2", "access_s", "leakage_w", "cycle_s")
TITLES = {"read_j": "read", "write_j": "write", "area_mm2": "area", "access_s": "access time",
          "leakage_w": "leakage", "cycle_s": "cycle time"}  # fmt: skip


def _cells(errors: Floats) -> list[str]:
    percent = 100 * errors
    columns = [percent[:, COMPARED.index(name)] for name in SHOWN]
    return [f"{np.nanmedian(column):.2f} / {np.nanpercentile(column, 95):.1f}" for column in columns]


def errors_table(splits: Sequence[Split]) -> str:
    """Write median / 95th percentile by split, model and quantity, below what is asked."""
    asked = ["asked, at most", "", *("{:g} / {:g}".format(*ASKED[name]) if name in ASKED else "-" for name in SHOWN)]
    body = [
        [split.name, f"{len(errors):,}", *_cells(errors)]
        if model == "ours"
        else [f"- {model}", f"{len(errors):,}", *_cells(errors)]
        for split in splits
        for model, errors in split.errors.items()
    ]
    return markdown_table(["left out", "points", *(TITLES[name] for name in SHOWN)], [asked, *body])


def coverage_table() -> str:
    """Write how many of the random points that the bands were not made from lie inside of them."""
    inside: dict[Quality, list[Floats]] = {}
    places = [list(BANDED).index(name) for name in SHOWN]
    order = [COMPARED.index(name) for name in SHOWN]
    for _, got, quality, true in [point for point in random_points() if point[0]["objective"] == "ed2"][1::2]:
        band = np.array([bands()[quality, place] for place in places])
        ratio = (got / true)[order]
        found = np.where(np.isnan(ratio), np.nan, (ratio <= 1 + band) & (ratio >= 1 / (1 + band)))
        inside.setdefault(quality, []).append(found)
    body = [
        [quality.name.lower(), f"{len(found):,}", *(f"{share:.0%}" for share in np.nanmean(found, axis=0))]
        for quality, found in sorted(inside.items())
    ]
    return markdown_table(["quality", "points", *(TITLES[name] for name in SHOWN)], body)


def published_table(device: str) -> str:
    """Write ours over published, all laws side by side."""
    laws = ("CACTI", "bitcell-wire", "horowitz-jouppi", "keckler")
    body = []
    for each in published_srams(device):
        size = f"{each.size_bytes / 1024:g} KiB" if each.size_bytes < 2**20 else f"{each.size_bytes / 2**20:g} MiB"
        word = f"{8 * each.word_bytes:g} bit" + ("" if each.word_stated else " (ours)")
        per_bit = float(each.published.value) * 1e12 / (8 * each.word_bytes)
        body.append([
            f"{each.node_nm:g} nm, {each.operation}, {size}", word, str(each.banks), each.kind, f"{per_bit:.4g}",
            *(f"{each.ratios[law]:.2f}" if law in each.ratios else "-" for law in laws),
            each.published.source.split(",")[0],
        ])  # fmt: skip
    header = ["SRAM", "word", "banks", "kind", "published [pJ/bit]", *laws, "source"]
    return markdown_table(header, body)


def calibration_table() -> str:
    """Write the factor per node that published reads would give, and what it does to those that it did not see."""
    body = []
    for device in DEVICES:
        for node, law in ((45, "CACTI"), (7, "bitcell-wire"), (7, "horowitz-jouppi")):
            found = sram_calibration(node, law=law, device=device)
            span = f"{found.factor.value:.2f} ({found.factor.low:.2f} to {found.factor.high:.2f})"
            before, after = (", ".join(f"{ratio:.2f}" for ratio in ratios) for ratios in (found.before, found.after))
            body.append([f"{device}, {node} nm, {law}", span, before, after, "yes" if found.sound else "no"])
    header = [
        "device, node, law",
        "factor",
        "ours / published (8 KiB, 32 KiB, 1 MiB)",
        "with the others' factor",
        "sound",
    ]
    return markdown_table(header, body)


def _other_source() -> str:
    factor = float(sram_calibration(45).factor.value)
    keckler = next(each for each in published_srams() if each.node_nm == 40)
    ratio = keckler.ratios["CACTI"]
    return (
        f"The factor of 45 nm, itrs-hp, on the figure of another source at 40 nm: {ratio:.2f} -> {factor * ratio:.2f}."
    )


def sections() -> list[str]:
    """Write the SRAM sections of the report."""
    same, feasible, registers, refused = exact_counts()
    exact = (
        f"{same:,} of {feasible:,} rows of CACTI's grid come back digit for digit (six digits, all quantities); of "
        f"{refused} points that CACTI refuses (fewer than 32 words), {registers} are given as registers."
    )
    against_cacti = ("## SRAM against CACTI 7", LEFT_OUT, exact, errors_table(leave_out_splits()), RANDOM,
                     errors_table(random_splits()), BANDS, coverage_table())  # fmt: skip
    against_silicon = ("## SRAM against published energies", PUBLISHED, published_table("itrs-hp"), CALIBRATION,
                       calibration_table(), _other_source())  # fmt: skip
    return ["\n\n".join(parts) + "\n" for parts in (against_cacti, against_silicon)]


LEFT_OUT = """Median / 95th percentile of the relative error in percent. Left out of the table and predicted from the
rest: all five nodes, itrs-hp and itrs-lstp, one port, one bank. *Square-root law*: constant x sqrt(capacity), a
constant per node and width, on the same points. *Power law*: constant x capacity^a x width^b per node, least squares
in logs, on the same points."""

RANDOM = """Random points that CACTI was run for and that no table was made from
(`tests/golden/reference/energy/cacti_random.csv`), predicted with the whole table; all three device types; leakage
without itrs-lop above 65 nm, which CACTI takes from a bad entry. With another objective CACTI decides ties in what the
objective does not ask for."""

BANDS = """Share of points inside the stated band; nine of ten are aimed at. Every second random point: the bands were
made from the others."""

PUBLISHED = """Ours over published, itrs-hp, 350 K, `published_srams()`. Nothing is fitted to these figures, but two of
the laws are made from ratios of some of them: horowitz-jouppi from the rows of Horowitz and Jouppi, keckler from those
of Keckler. *word (ours)*: the source gives a figure per bit. *tool*: as an example of another tool encodes it."""

CALIBRATION = """A factor per node that could be multiplied on (`sram_calibration`; no model applies it). *Sound*: every
figure comes nearer with the factor of the others, and within 1.5 times."""
