"""The user's own CACTI, run with the documented settings; results are kept in the user's cache folder."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
from pathlib import Path
from typing import Literal

from hwmodels.energy.cacti.keeping import Outcome, digest_of, keep, kept
from hwmodels.energy.cacti.reading import merged, refusal
from hwmodels.energy.cacti.records import Report
from hwmodels.energy.cacti.settings import Kind, Settings, input_text
from hwmodels.energy.checking import number, positive
from workloads.errors import MeasureError, SpecError
from workloads.zoo.fetch import cache_folder

__all__ = ["cacti_cache", "run", "run_settings"]

VARIABLE = "DSE_CACTI"
"""Environment variable that names the binary."""

TIMEOUT_S = 300.0
"""Of one run: the slowest of 1,800 reference runs took 0.83 s of CPU, so this is for machines that swap."""

_ABORT = -int(signal.SIGABRT)


def cacti_cache() -> Path:
    """Give the folder for results of CACTI in the user's cache (``DSE_CACHE`` names another one)."""
    return cache_folder() / "cacti"


def run(
    binary: str | Path | None,
    size_bytes: int,
    width_bytes: int,
    *,
    node_nm: float = 45.0,
    device: str = "itrs-hp",
    ports: tuple[int, int, int] = (1, 0, 0),
    banks: int = 1,
    temperature_k: float = 350.0,
    objective: str = "ed2",
    kind: Kind = "ram",
    associativity: int = 1,
    output_bits: int | None = None,
    folder: Path | Literal["user"] | None = "user",
    timeout_s: float = TIMEOUT_S,
) -> Report:
    """Run the user's CACTI for one memory, or give what it said before.

    Args:
        binary: A path or a command; None: what ``DSE_CACTI`` names.
        size_bytes: Of all banks.
        width_bytes: Of a word.
        node_nm: 22 to 90.
        device: Of the cells: "itrs-hp", "itrs-lstp", "itrs-lop", "lp-dram".
        ports: Read-write, read and write ports of a bank.
        banks: A power of two.
        temperature_k: 300 to 400 in steps of 10.
        objective: One of `OBJECTIVES`.
        kind: "ram" or "cache".
        associativity: Of a cache.
        output_bits: Of the output bus; None: the word.
        folder: Where results are kept; "user": `cacti_cache`; None: nowhere.
        timeout_s: After which the run is ended.

    Returns:
        What CACTI says; the same settings and binary are run once.

    Raises:
        SpecError: CACTI refuses such a memory: known before, or said by it; or an argument of a wrong kind.
        MeasureError: No binary, not executable, crashed, ended, too slow, or no whole result.
        StoreError: The folder cannot be written.

    Example:
        >>> run("no-such-cacti", 65536, 8)
        Traceback (most recent call last):
        ...
        workloads.errors.MeasureError: no-such-cacti: no such file or command; give the path of a CACTI 7 binary, or ...
    """
    asked = Settings(
        size_bytes=size_bytes,
        width_bytes=width_bytes,
        node_nm=node_nm,
        device=device,
        ports=ports,
        banks=banks,
        temperature_k=temperature_k,
        objective=objective,
        kind=kind,
        associativity=associativity,
        output_bits=output_bits,
    )
    return run_settings(binary, asked, folder=folder, timeout_s=timeout_s)


def run_settings(
    binary: str | Path | None,
    asked: Settings,
    *,
    folder: Path | Literal["user"] | None = "user",
    timeout_s: float = TIMEOUT_S,
) -> Report:
    """Do what `run` does for settings that are a record: main memory, bus width and wire projection too.

    CACTI reads ``tech_params/`` of its working folder. A run has a temporary folder of its own, with a link there to
    the ``tech_params`` beside the binary; so runs do not meet, and nothing is written beside the binary. A binary
    without such a folder (CACTI 6 has its technologies built in) is run without.

    Args:
        binary: As in `run`.
        asked: What for.
        folder: As in `run`.
        timeout_s: As in `run`.

    Raises:
        SpecError: As in `run`.
        MeasureError: As in `run`.
        StoreError: As in `run`.
    """
    if not isinstance(asked, Settings):
        raise SpecError(f"settings of CACTI are a record, not {asked!r}; give hwmodels.energy.cacti.Settings(...)")
    if not (folder is None or folder == "user" or isinstance(folder, Path)):
        raise SpecError(f"folder {folder!r}: give a pathlib.Path, 'user' for the user's cache, or None to keep nothing")
    positive(number(timeout_s, "float", "timeout_s", "CACTI"), "timeout_s", "CACTI")
    program = _located(binary)
    technologies = program.parent / "tech_params"
    text = input_text(asked)
    place = cacti_cache() if folder == "user" else folder
    key = digest_of(program, technologies, text)
    outcome = kept(place, key, text) if place is not None else None
    if outcome is not None:
        try:
            return _judged(outcome, asked)
        except MeasureError:
            outcome = None  # not what was asked for: an older edition wrote it
    outcome = _run(program, technologies, text, timeout_s)
    try:
        report = _judged(outcome, asked)
    except SpecError:
        if place is not None:
            keep(place, key, text, outcome)
        raise
    if place is not None:
        keep(place, key, text, outcome)
    return report


def _located(binary: str | Path | None) -> Path:
    """Find the binary; a link is followed, since its technologies lie beside the real one."""
    if not (binary is None or isinstance(binary, str | Path)):
        raise SpecError(f"binary {binary!r}: give a path or a command of CACTI 7, or None for what {VARIABLE} names")
    name = os.environ.get(VARIABLE, "") if binary is None else str(binary)
    how = f"give the path of a CACTI 7 binary, or set {VARIABLE} to it; the built-in model needs none"
    if not name:
        raise MeasureError(f"no CACTI binary is named; {how}")
    path = Path(name).expanduser()
    found = path if path.exists() else shutil.which(name)
    if found is None:
        raise MeasureError(f"{name}: no such file or command; {how}")
    program = Path(found).resolve()
    if not program.is_file():
        raise MeasureError(f"{name}: a folder, not the binary in it; {how}")
    if not os.access(program, os.X_OK):
        raise MeasureError(f"{name}: may not be executed; make it so (chmod +x {name})")
    return program


def _run(program: Path, technologies: Path, text: str, timeout_s: float) -> Outcome:
    with tempfile.TemporaryDirectory(prefix="dse-cacti-") as scratch:
        place = Path(scratch)
        (place / "in.cfg").write_text(text, encoding="utf-8")
        if technologies.is_dir():
            (place / "tech_params").symlink_to(technologies, target_is_directory=True)
        status = _ended(program, place, timeout_s)
        table = place / "in.cfg.out"
        return Outcome(
            status=status,
            table=table.read_text(encoding="utf-8", errors="replace") if table.is_file() else "",
            printed=(place / "printed").read_text(encoding="utf-8", errors="replace"),
            said=(place / "said").read_text(encoding="utf-8", errors="replace"),
        )


def _ended(program: Path, place: Path, timeout_s: float) -> int:
    """Run to the end and give the exit status; streams go to files, so that a child that lingers blocks nothing."""
    with (place / "printed").open("wb") as printed, (place / "said").open("wb") as said:
        try:
            process = subprocess.Popen(
                [str(program), "-infile", "in.cfg"],
                cwd=place,
                stdin=subprocess.DEVNULL,
                stdout=printed,
                stderr=said,
                env={**os.environ, "LC_ALL": "C"},
                start_new_session=True,
            )
        except OSError as error:
            raise MeasureError(
                f"{program}: cannot be executed here ({error.strerror}); is it a binary for this machine?"
            ) from error
        try:
            return process.wait(timeout_s)
        except subprocess.TimeoutExpired as error:
            raise MeasureError(
                f"{program}: no result after {timeout_s:g} s, ended; give more with timeout_s, or a smaller memory"
            ) from error
        finally:
            _kill(process)


def _kill(process: subprocess.Popen[bytes]) -> None:
    """End it and what it started, if it still runs: after a time limit or an interrupt."""
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _judged(outcome: Outcome, asked: Settings) -> Report:
    """Turn an ended run into its result or into the reason why there is none; its exit status says little.

    CACTI ends with status 0 after most refusals, with 1 after others, and writes its result before a part (the board
    of a memory system) that may stop on an assertion.
    """
    lines = [line.strip() for line in (outcome.printed + "\n" + outcome.said).splitlines() if line.strip()]
    last = lines[-1][:200] if lines else "nothing"
    if outcome.status < 0 and not (outcome.status == _ABORT and outcome.table):
        name = signal.Signals(-outcome.status).name if -outcome.status in set(signal.Signals) else f"{-outcome.status}"
        raise MeasureError(f"CACTI was ended by signal {name} without a result; the last that it printed: {last}")
    if outcome.table:
        return _checked(outcome, asked)
    reason = refusal(outcome.printed + "\n" + outcome.said)
    if "is missing!" in reason:
        raise MeasureError(f"CACTI does not find its technologies ({reason}); tech_params/ must lie beside the binary")
    if reason:
        raise SpecError(f"CACTI has no such memory: {reason}; asked for {_said(asked)}{_hint(asked)}")
    raise MeasureError(
        f"CACTI ended with exit status {outcome.status} and wrote no result; the last that it printed: {last}"
    )


def _checked(outcome: Outcome, asked: Settings) -> Report:
    try:
        report = merged(outcome.table, outcome.printed, cell=asked.device)
    except SpecError as error:
        raise MeasureError(f"CACTI ended with exit status {outcome.status} and half a result: {error}") from error
    echoed = (report.node_nm, report.size_bytes, report.banks)
    if echoed != (float(f"{asked.node_nm:.6g}"), asked.size_bytes, asked.banks):
        raise MeasureError(
            f"CACTI answered for {echoed[1]:g} bytes in {echoed[2]:g} banks at {echoed[0]:g} nm, asked was "
            f"{_said(asked)}; is the binary an unmodified CACTI 7?"
        )
    return report


def _said(asked: Settings) -> str:
    return f"{asked.size_bytes} bytes in {asked.banks} banks, {asked.width_bytes}-byte words, {asked.node_nm:g} nm"


def _hint(asked: Settings) -> str:
    if asked.depth < 32:
        return (
            f". A bank has {asked.depth:g} words, and CACTI needs about 32: take the register model "
            "(`hwmodels.energy.sram`), or fewer banks, or narrower words"
        )
    return ". Another objective, or another width, may have an organisation"
