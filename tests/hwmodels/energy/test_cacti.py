"""CACTI as a back end: its outputs are read in base units, and a user's binary may do anything without harm."""

from __future__ import annotations

import csv
import json
import math
import os
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hwmodels.cited import cited_rows
from hwmodels.energy.cacti import OBJECTIVES, Report, Settings, cacti_cache, input_text, read_output, run, run_settings
from tests.close import close
from workloads.errors import DseError, MeasureError, SpecError, StoreError

FIXTURES = Path(__file__).parents[2] / "fixtures" / "cacti"
GOLDEN = Path(__file__).parents[2] / "golden" / "reference" / "energy"
ROWS = list(csv.DictReader((GOLDEN / "cacti_sram_rows.csv").read_text(encoding="utf-8").splitlines()))


# -- reading


def test_the_file_and_the_report_of_one_run_agree() -> None:
    table, printed = read_output(FIXTURES / "ram_45nm.out"), read_output(FIXTURES / "ram_45nm.txt")
    for name in ("node_nm", "size_bytes", "banks", "associativity", "read_j", "write_j", "access_s", "cycle_s"):
        assert getattr(table, name) == close(getattr(printed, name), rel=1e-5), name
    assert table.bank_leakage_w == close(printed.bank_leakage_w, rel=1e-5)
    assert table.area_mm2 == close(printed.area_mm2, rel=1e-5)
    assert table.array_efficiency == close(printed.array_efficiency, rel=1e-5)
    assert table.organisation == printed.organisation
    assert (printed.cell, printed.version[:7]) == ("itrs-hp", "7.0.3DD")


def test_units_are_base_units_and_leakage_is_of_all_banks() -> None:
    macro = read_output(FIXTURES / "ram_45nm.out")  # the digits below are those of the file
    assert macro.read_j == close(0.0141364e-9)
    assert macro.write_j == close(0.0166808e-9)
    assert macro.access_s == close(0.509318e-9)
    assert macro.cycle_s == close(0.318311e-9)
    assert (macro.area_mm2, macro.banks, macro.output_bits) == (0.222775, 4, 64)
    assert macro.leakage_w == close(4 * 18.2583e-3)
    assert macro.estimates()["leakage"].value == macro.leakage_w
    assert macro.estimates()["read"].unit == "J"


def test_a_report_gives_the_outline_whose_product_is_the_area_of_all_banks() -> None:
    macro = read_output(FIXTURES / "ram_45nm.txt")
    assert (macro.height_mm, macro.width_mm) == (0.745022, 0.299018)
    assert macro.height_mm * macro.width_mm == close(0.222775, rel=1e-5)


def test_a_cache_has_its_ways_and_the_organisation_of_its_tags() -> None:
    for name in ("cache_22nm.out", "cache_22nm.txt"):
        macro = read_output(FIXTURES / name)
        assert macro.associativity == 4
        assert {"ndwl", "ntwl", "ntspd"} <= macro.organisation.keys()


def test_write_energy_of_dram_cells_is_never_given() -> None:
    assert math.isnan(read_output(FIXTURES / "edram_32nm.txt").write_j)
    assert math.isnan(read_output(FIXTURES / "edram_32nm.out", cell="lp-dram").write_j)
    assert "write" not in read_output(FIXTURES / "edram_32nm.txt").estimates()
    with pytest.raises(SpecError, match=r"a write of 43 reads .* say cell="):
        read_output(FIXTURES / "edram_32nm.out")


def test_a_dram_die_has_the_energies_of_its_commands() -> None:
    macro = read_output(FIXTURES / "dram_22nm.txt")  # digits of the report
    assert macro.cell == "comm-dram"
    assert macro.dram["activate_j"] == close(0.0495018e-9)
    assert macro.dram["precharge_j"] == close(0.0895008e-9)
    assert macro.dram["refresh_w"] == close(0.0139998e-3)


def test_the_wires_of_a_report_are_the_rows_of_the_cited_table() -> None:
    rows = {
        row["wire_type"]: row
        for row in cited_rows("wires_cacti")
        if (row["node_nm"], row["device"], row["projection"]) == ("45", "itrs-hp", "conservative")
    }
    wires = read_output(FIXTURES / "ram_45nm.txt").wires
    assert [wire.kind for wire in wires] == list(rows)
    for wire in wires:
        row = rows[wire.kind]
        assert wire.energy_j_per_bit_mm == close(float(row["energy_fj_per_bit_mm"]) * 1e-15, rel=1e-5)
        assert wire.delay_s_per_mm == close(float(row["delay_ns_per_mm"]) * 1e-9, rel=1e-5)
        assert wire.leakage_w_per_mm == close(float(row["leakage_uw_per_mm"]) * 1e-6, rel=1e-5)
        assert wire.gate_leakage_w_per_mm == close(float(row["gate_leakage_uw_per_mm"]) * 1e-6, rel=1e-5)


def test_of_a_file_with_several_results_the_last_counts() -> None:
    header, first = (FIXTURES / "ram_45nm.out").read_text().splitlines()
    second = first.replace("65536", "131072")
    assert read_output(f"{header}\n{first}\n{header}\n{second}\n").size_bytes == 131072


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("depth", "no valid data array organizations found"),
        ("node", "Invalid technology nodes"),
        ("objective", "no cache organizations met optimization criteria"),
        ("temperature", "between 300 and 400 Kelvin"),
    ],
)
def test_a_refusal_is_quoted(name: str, reason: str) -> None:
    with pytest.raises(SpecError, match=reason):
        read_output((FIXTURES / f"refused_{name}.txt").read_text() + "\n")


@pytest.mark.parametrize("name", ["ram_45nm.out", "ram_45nm.txt", "dram_22nm.txt"])
def test_a_cut_off_output_is_refused_or_read_right(name: str) -> None:
    text = (FIXTURES / name).read_text()
    whole = read_output(text)
    refused = 0
    for end in range(0, len(text) - 1, 7):
        try:
            part = read_output(text[:end] + ("" if "\n" in text[:end] else "\n"))
        except SpecError:
            refused += 1
            continue
        plain, wanted = (str(replace(each, wires=(), array_efficiency=0.0)) for each in (part, whole))
        assert plain == wanted  # as text, since NaN differs from itself
        assert part.wires == whole.wires[: len(part.wires)]
        assert name.endswith(".txt")  # nothing of the one row of a file may be missing
    assert refused > 30


@given(st.text(max_size=300))
def test_any_text_is_an_output_or_a_clear_error(text: str) -> None:
    with pytest.raises(SpecError, match=r"\w"):
        read_output(text + "\nTech node (nm)\n" if len(text) % 2 else text + "\n\n")


def test_an_overflow_is_no_result() -> None:
    text = (FIXTURES / "ram_45nm.out").read_text().replace("0.222775", "1e54")
    with pytest.raises(SpecError, match="impossible"):
        read_output(text)


def test_a_missing_file_says_what_writes_it(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=r"CACTI writes NAME\.out beside its input"):
        read_output(tmp_path / "no.out")


# -- settings


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"size_bytes": -4096}, "size_bytes -4096: a whole number"),
        ({"size_bytes": 32}, "64 to 2147483647"),
        ({"size_bytes": 2**31}, "64 to 2147483647"),
        ({"width_bytes": 0}, "width_bytes 0"),
        ({"width_bytes": 65536, "banks": 2}, "less than one word"),
        ({"node_nm": 16}, "CACTI knows 22 to 90 nm"),
        ({"node_nm": 180}, "CACTI knows 22 to 90 nm"),
        ({"node_nm": math.nan}, "CACTI knows 22 to 90 nm"),
        ({"device": "itrs_hp2"}, "nearest: itrs-hp"),
        ({"device": "comm-dram"}, "main memory"),
        ({"device": "lp-dram", "node_nm": 22}, "no data of eDRAM below 32"),
        ({"temperature_k": 355}, "steps of 10"),
        ({"temperature_k": 500}, "300 to 400"),
        ({"banks": 3}, "power of two"),
        ({"ports": (0, 0, 0)}, "at least one"),
        ({"objective": "eneergy"}, "nearest: energy"),
        ({"kind": "cam"}, "nearest|known"),
    ],
)
def test_what_cacti_would_refuse_silently_is_refused_before(wrong: dict[str, object], message: str) -> None:
    asked: dict[str, object] = {"size_bytes": 65536, "width_bytes": 8, **wrong}
    with pytest.raises(SpecError, match=message):
        Settings(**asked)  # type: ignore[arg-type]


def test_every_objective_and_setting_is_in_the_input_file() -> None:
    plain = Settings(size_bytes=65536, width_bytes=8)
    texts = {name: input_text(Settings(size_bytes=65536, width_bytes=8, objective=name)) for name in OBJECTIVES}
    assert len(set(texts.values())) == len(OBJECTIVES) == 9
    assert texts["ed2"] == input_text(plain)
    for line in (
        "-size (bytes) 65536",
        "-block size (bytes) 8",
        "-technology (u) 0.045",
        "-operating temperature (K) 350",
        "-output/input bus width 64",
        '-cache type "ram"',
        "-design objective (weight delay, dynamic power, leakage power, cycle time, area) 0:0:0:100:0",
        "-deviate (delay, dynamic power, leakage power, cycle time, area) 20:100000:100000:100000:100000",
        '-Optimize ED or ED^2 (ED, ED^2, NONE): "ED^2"',
        '-Wire signaling (fullswing, lowswing, default) - "Global_30"',
        '-Interconnect projection - "conservative"',
    ):
        assert line in texts["ed2"].splitlines(), line


# -- running


def fake(folder: Path, script: str) -> Path:
    """Write a program that stands for CACTI."""
    folder.mkdir(exist_ok=True)
    program = folder / "cacti"
    program.write_text(f"#!/bin/sh\necho run >> {folder}/count\n{script}\n")
    program.chmod(0o755)
    (folder / "tech_params").mkdir(exist_ok=True)
    (folder / "tech_params" / "45nm.dat").write_text("x")
    return program


def playing(name: str) -> str:
    return f"cat {FIXTURES}/{name}.txt; cp {FIXTURES}/{name}.out $2.out"


def runs(program: Path) -> int:
    return len((program.parent / "count").read_text().splitlines())


def ask(program: Path, folder: Path | None, **more: float) -> Report:
    return run(program, 65536, 8, banks=4, folder=folder, timeout_s=more.get("timeout_s", 60.0))


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"size_bytes": math.nan}, "size_bytes nan: a whole number"),
        ({"size_bytes": math.inf}, "size_bytes inf: a whole number"),
        ({"size_bytes": "65536"}, "size_bytes is '65536'"),
        ({"width_bytes": None}, "width_bytes is None"),
        ({"banks": True}, "banks is True"),
        ({"node_nm": "45"}, "node_nm is '45'"),
        ({"node_nm": math.nan}, "node_nm nan"),
        ({"temperature_k": "350"}, "temperature_k is '350'"),
        ({"ports": 1}, "ports 1: give three"),
        ({"ports": (1, math.nan, 0)}, "ports nan: a whole number"),
        ({"device": ["itrs-hp"]}, "nearest: itrs-hp"),
        ({"folder": "x"}, "folder 'x': give a pathlib.Path, 'user'"),
        ({"timeout_s": "3"}, "timeout_s is '3'"),
        ({"timeout_s": 0}, "timeout_s = 0; it must be finite and above zero"),
        ({"timeout_s": math.nan}, "timeout_s = nan"),
        ({"binary": 3}, "binary 3: give a path or a command"),
    ],
)
def test_arguments_of_a_wrong_kind_are_refused_before_anything_runs(
    tmp_path: Path, wrong: dict[str, object], message: str
) -> None:
    program = fake(tmp_path / "bin", playing("ram_45nm"))
    given: dict[str, object] = {"binary": program, "size_bytes": 65536, "width_bytes": 8, "folder": None}
    with pytest.raises(SpecError, match=message):
        run(**(given | wrong))  # type: ignore[arg-type]
    assert not (program.parent / "count").exists()


def test_a_run_gives_what_the_file_says_and_what_only_the_report_says(tmp_path: Path) -> None:
    macro = ask(fake(tmp_path / "bin", playing("ram_45nm")), tmp_path / "kept")
    assert macro.read_j == read_output(FIXTURES / "ram_45nm.out").read_j
    assert macro.height_mm == 0.745022
    assert macro.cell == "itrs-hp"


def test_the_binary_gets_its_input_and_its_technologies_in_a_folder_of_its_own(tmp_path: Path) -> None:
    program = fake(
        tmp_path / "bin",
        f"test $1 = -infile && cat tech_params/45nm.dat && cp $2 {tmp_path}/seen; {playing('ram_45nm')}",
    )
    ask(program, None)
    assert (tmp_path / "seen").read_text() == input_text(Settings(size_bytes=65536, width_bytes=8, banks=4))
    assert {path.name for path in program.parent.iterdir()} == {"cacti", "count", "tech_params"}


def test_equal_settings_are_run_once_and_another_binary_anew(tmp_path: Path) -> None:
    program, kept = fake(tmp_path / "bin", playing("ram_45nm")), tmp_path / "kept"
    assert ask(program, kept) == ask(program, kept)
    assert runs(program) == 1
    program.write_text(program.read_text() + "# another build\n")
    ask(program, kept)
    assert runs(program) == 2
    (program.parent / "tech_params" / "45nm.dat").write_text("other devices")
    ask(program, kept)
    assert runs(program) == 3
    ask(program, None)
    assert runs(program) == 4


def test_results_are_kept_in_the_users_cache_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DSE_CACHE", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    monkeypatch.setenv("DSE_CACTI", str(fake(tmp_path / "bin", playing("ram_45nm"))))
    run(None, 65536, 8, banks=4)
    assert len(list(cacti_cache().glob("*.json"))) == 1
    assert cacti_cache().is_relative_to(tmp_path / "xdg")


def test_a_damaged_file_in_the_cache_is_made_anew(tmp_path: Path) -> None:
    program, kept = fake(tmp_path / "bin", playing("ram_45nm")), tmp_path / "kept"
    good = ask(program, kept)
    (file,) = kept.iterdir()
    whole = file.read_text()
    changed = json.loads(whole)
    changed["table"] = changed["table"].replace("0.0141364", "0.0041364")
    for number, text in enumerate(("", "{", "[]", "null", whole[: len(whole) // 2], json.dumps(changed), "\0" * 40)):
        file.write_text(text)
        assert ask(program, kept) == good
        assert runs(program) == number + 2
        assert file.read_text() == whole


def test_processes_that_share_a_cache_do_not_meet(tmp_path: Path) -> None:
    program, kept = fake(tmp_path / "bin", f"sleep 0.2; {playing('ram_45nm')}"), tmp_path / "kept"
    code = "import sys; from pathlib import Path; from hwmodels.energy.cacti import run; "
    code += "print(run(sys.argv[1], 65536, 8, banks=4, folder=Path(sys.argv[2])).read_j)"
    started = [
        subprocess.Popen([sys.executable, "-c", code, str(program), str(kept)], stdout=subprocess.PIPE, text=True)
        for _ in range(3)
    ]
    printed = [process.communicate(timeout=60)[0].strip() for process in started]
    assert [process.returncode for process in started] == [0, 0, 0]
    assert len(set(printed)) == 1
    assert len(list(kept.iterdir())) == 1  # no half-written file stays


@pytest.mark.parametrize(
    ("script", "error", "message"),
    [
        (f"cat {FIXTURES}/refused_depth.txt; exit 1", SpecError, "no valid data array organizations"),
        (f"cat {FIXTURES}/refused_node.txt; exit 0", SpecError, "Invalid technology nodes"),
        (f"cat {FIXTURES}/refused_objective.txt", SpecError, "no cache organizations met"),
        (f"cat {FIXTURES}/refused_temperature.txt >&2", SpecError, "between 300 and 400 Kelvin"),
        ("exit 0", MeasureError, "exit status 0 and wrote no result"),
        ("echo hello; exit 3", MeasureError, "exit status 3 .* hello"),
        ("echo tech_params/45nm.dat is missing!; exit 255", MeasureError, "must lie beside the binary"),
        ("kill -ABRT $$", MeasureError, "SIGABRT"),
        ("kill -SEGV $$", MeasureError, "SIGSEGV"),
        ("kill -KILL $$", MeasureError, "SIGKILL"),
        (f"head -c 700 {FIXTURES}/ram_45nm.out > $2.out; truncate -s -40 $2.out", MeasureError, "half a result"),
        ("echo nonsense > $2.out", MeasureError, "half a result"),
        (f"{playing('ram_45nm')}; sed -i 's/65536/4096/' $2.out", MeasureError, "answered for 4096 bytes"),
        (f"{playing('ram_45nm')}; kill -KILL $$", MeasureError, "SIGKILL"),
    ],
)
def test_what_a_binary_may_do_instead_of_a_result(
    tmp_path: Path, script: str, error: type[DseError], message: str
) -> None:
    with pytest.raises(error, match=message):
        ask(fake(tmp_path / "bin", script), tmp_path / "kept")


def test_a_result_before_an_assertion_of_another_part_counts(tmp_path: Path) -> None:
    macro = ask(fake(tmp_path / "bin", f"{playing('ram_45nm')}; kill -ABRT $$"), tmp_path / "kept")
    assert macro == ask(fake(tmp_path / "other", playing("ram_45nm")), tmp_path / "kept")


def test_a_shallow_memory_is_told_about_registers_and_asked_once(tmp_path: Path) -> None:
    program = fake(tmp_path / "bin", f"cat {FIXTURES}/refused_depth.txt; exit 1")
    for _ in range(2):
        with pytest.raises(SpecError, match="A bank has 16 words, and CACTI needs about 32: take the register model"):
            run(program, 128, 8, folder=tmp_path / "kept")
    assert runs(program) == 1


def test_a_crash_is_not_remembered(tmp_path: Path) -> None:
    program = fake(tmp_path / "bin", "kill -SEGV $$")
    for _ in range(2):
        with pytest.raises(MeasureError):
            ask(program, tmp_path / "kept")
    assert runs(program) == 2


def test_a_run_that_takes_too_long_is_ended_with_its_children(tmp_path: Path) -> None:
    program = fake(tmp_path / "bin", f"sh -c 'echo $$ > {tmp_path}/child; exec sleep 60'")
    with pytest.raises(MeasureError, match=r"no result after 0\.5 s"):
        ask(program, None, timeout_s=0.5)
    child = int((tmp_path / "child").read_text())
    waited = threading.Event()
    for _ in range(100):
        if not Path(f"/proc/{child}").exists() or "Z" in Path(f"/proc/{child}/stat").read_text().split()[2]:
            return
        waited.wait(0.02)
    pytest.fail("the child still runs")


def test_a_binary_that_is_none_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DSE_CACTI", raising=False)
    with pytest.raises(MeasureError, match="set DSE_CACTI"):
        run(None, 65536, 8)
    with pytest.raises(MeasureError, match="no such file or command"):
        run(tmp_path / "nothing", 65536, 8)
    with pytest.raises(MeasureError, match="a folder"):
        run(tmp_path, 65536, 8)
    program = fake(tmp_path / "bin", "")
    program.write_bytes(b"\x7fELF of another machine")
    with pytest.raises(MeasureError, match="cannot be executed here"):
        ask(program, None)
    program.chmod(0o644)
    with pytest.raises(MeasureError, match="may not be executed"):
        ask(program, None)


def test_a_cache_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="cannot keep results of CACTI"):
        ask(fake(tmp_path / "bin", playing("ram_45nm")), tmp_path / "file" / "kept")


@pytest.mark.parametrize("row", ROWS, ids=lambda row: "-".join(list(row.values())[:6]))
def test_a_real_cacti_gives_the_reference_rows_digit_for_digit(row: dict[str, str], tmp_path: Path) -> None:
    if not os.environ.get("DSE_CACTI"):
        pytest.skip("DSE_CACTI names no CACTI 7 binary: the reference rows are not run again")
    asked = Settings(
        size_bytes=int(row["size_bytes"]),
        width_bytes=int(row["width_bytes"]),
        node_nm=float(row["tech_nm"]),
        device=row["cell_type"],
        ports=(int(row["rw_ports"]), int(row["rd_ports"]), int(row["wr_ports"])),
        banks=int(row["banks"]),
        temperature_k=float(row["temp_k"]),
        objective=row["objective"],
    )
    if row["feasible"] == "0":
        with pytest.raises(SpecError, match=row["reason"]):
            run_settings(None, asked, folder=tmp_path)
        return
    macro = run_settings(None, asked, folder=tmp_path)
    found = {
        "read_pj": macro.read_j * 1e12,
        "write_pj": macro.write_j * 1e12,
        "leak_mw_per_bank": macro.bank_leakage_w * 1e3,
        "area_mm2": macro.area_mm2,
        "access_ns": macro.access_s * 1e9,
        "cycle_ns": macro.cycle_s * 1e9,
        "height_mm": macro.height_mm,
        "width_mm": macro.width_mm,
        "array_eff_pct": macro.array_efficiency * 100,
        **macro.organisation,
    }
    assert {name: f"{value:.6g}" for name, value in found.items()} == {
        name: f"{float(row[name]):.6g}" for name in found
    }
