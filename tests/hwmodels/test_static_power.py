"""Static power of the shipped devices, recomputed from readings, dies and memories."""

from __future__ import annotations

import csv
from importlib import resources
from pathlib import Path

import pytest

import hwmodels
from hwmodels.energy import board_static_power, dram_background_w, static_power
from workloads.errors import SpecError

GOLDEN = Path(__file__).resolve().parent.parent / "golden" / "reference" / "hardware"


def rows(name: str) -> list[dict[str, str]]:
    with (GOLDEN / name).open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def table(name: str) -> list[dict[str, str]]:
    text = (resources.files("hwmodels") / "tables" / name).read_text(encoding="utf-8")
    return list(csv.DictReader(text.splitlines()))


ROOFLINES = [name for name in hwmodels.names() if hwmodels.load(name).kind in ("gpu", "cpu")]


def recomputed_static(name: str) -> tuple[float, float]:
    """Static power [W] and its memory share from the rows of the tables: the mean reading, else logic and DRAM."""
    power = table("static_power.csv")
    boards = {row["device"]: row for row in table("boards.csv")}
    chips = {row["chip"]: row for row in power}
    a100, haswell = chips["A100 SXM4 40GB"], chips["Xeon E5-2699 v3 (Haswell)"]
    a100_logic = float(a100["static_w"]) * (1 - float(a100["memory_share"])) / float(boards[a100["chip"]]["logic_mm2"])
    haswell_logic = float(haswell["static_w"]) / float(boards["xeon-e5-2699-v3"]["logic_mm2"])
    board = boards[name]
    logic = {"gpu": a100_logic, "cpu": haswell_logic}[board["kind"]] * float(board["logic_mm2"])
    rows = [row for row in power if row["device"] == name and row["state"] in ("ready", "constant")]
    if rows:
        mean = sum(float(row["static_w"]) for row in rows) / len(rows)
        return mean, float(rows[0]["memory_share"] or (mean - logic) / mean)
    memory = float(dram_background_w(board["dram"], float(board["memory_gb"]) * 1e9).value)
    return logic + memory, memory / (logic + memory)


@pytest.mark.parametrize("name", ROOFLINES)
def test_static_power_is_read_or_follows_from_the_dies_and_the_memory(name: str) -> None:
    device = hwmodels.load(name)
    static_w, share = recomputed_static(name)
    assert device.static_w == pytest.approx(static_w, rel=5e-3)  # files state three digits
    assert device.static_memory_share == pytest.approx(share, abs=6e-3)
    ours = board_static_power(name)
    assert float(ours.value) == pytest.approx(static_w)
    assert float(ours.parts["memory"].value) == pytest.approx(share * static_w)
    assert ours.low < ours.value < ours.high
    read = any(row["device"] == name and row["state"] in ("ready", "constant") for row in table("static_power.csv"))
    assert device.sources["power"].origin == ("read" if read else "derived")


def test_static_power_knows_no_tdp() -> None:
    assert not any("tdp" in column for column in (*table("static_power.csv")[0], *table("boards.csv")[0]))
    assert not any("of TDP" in hwmodels.load(name).sources["power"].source for name in ROOFLINES)


@pytest.mark.parametrize("name", ROOFLINES)
def test_boards_are_those_of_the_device_files_and_of_the_cited_table(name: str) -> None:
    device = hwmodels.load(name)
    (row,) = (each for each in table("boards.csv") if each["device"] == name)
    assert (row["kind"], float(row["memory_gb"]) * 1e9) == (device.kind, device.capacity_bytes)
    (cited,) = (each for each in rows("accelerators.csv") if each["device_file"] == name)
    assert cited["mem_type"].upper().startswith(row["dram"].upper())
    if cited["die_area_mm2"].replace(".", "").isdigit():
        assert float(row["logic_mm2"]) == pytest.approx(float(cited["die_area_mm2"]), abs=0.5)


def test_the_rule_for_boards_without_a_reading_is_held_against_those_with_one() -> None:
    # 1 W per GB of HBM2 and 17 mW per mm2 of a 40 GB A100 on other boards: what a reading is over the rule. Its own
    # chip on a PCIe board, 250 W instead of 400, is read lowest.
    names = ("h100-sxm", "h200-sxm", "b200-sxm", "v100-sxm-32gb", "v100-pcie-32gb", "p100-pcie", "a100-pcie-40gb",
             "mi300x")  # fmt: skip
    ratios = {name: recomputed_static(name)[0] for name in names}
    boards = {row["device"]: row for row in table("boards.csv")}
    for name, read_w in ratios.items():
        rule = static_power("gpu", logic_mm2=float(boards[name]["logic_mm2"]), dram=boards[name]["dram"],
                            capacity_bytes=hwmodels.load(name).capacity_bytes)  # fmt: skip
        least = 0.7 if name == "a100-pcie-40gb" else 0.8
        assert least < read_w / float(rule.value) < 1.28, name
        assert rule.low < read_w < rule.high


def test_static_power_refuses_what_it_does_not_know() -> None:
    with pytest.raises(SpecError, match="GDDR6"):
        static_power("gpu", logic_mm2=294, dram="GDDR6", capacity_bytes=24e9)
    with pytest.raises(SpecError, match="kind is 'gpus'"):
        static_power("gpus", logic_mm2=294, dram="HBM3", capacity_bytes=24e9)
    with pytest.raises(SpecError, match="logic_mm2"):
        static_power("cpu", logic_mm2=0, dram="DDR5", capacity_bytes=24e9)
    for name in ("h300", "xeon-e5-2699-v3"):
        with pytest.raises(SpecError, match=f"no die area of '{name}'"):
            board_static_power(name)
