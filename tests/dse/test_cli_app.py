"""The command as such: help, version, usage errors, signals, pipes."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import typer

import hwmodels
from dse.cli.app import app
from tests.dse.cli_runs import Run

ROOT = Path(__file__).parents[2]
START = "from dse.cli import main; main()"


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-c", START, *arguments]


def test_help_loads_no_heavy_library_and_starts_quickly() -> None:
    code = """
import sys, time
from dse.cli import main
try:
    main(["--help"])
except SystemExit as left:
    heavy = sorted({"onnx", "onnxruntime", "matplotlib", "pandas", "torch", "scipy", "pydantic"} & set(sys.modules))
    print(left.code, heavy, time.process_time(), file=sys.stderr)
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    status, rest = done.stderr.split(maxsplit=1)
    assert status == "0"
    assert rest.startswith("[] "), f"`dse --help` loads {rest}"
    assert float(rest.removeprefix("[] ")) < 1.0
    for name in ("devices", "profile", "sweep", "optimize", "compress"):
        assert name in done.stdout


def test_version_names_the_command(dse_run: Run) -> None:
    outcome = dse_run("--version")
    assert outcome.code == 0
    assert outcome.out.startswith("dse")


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["nonsense"], "nonsense"),
        (["profile"], "model"),
        (["profile", "vit-mnist"], "--device"),
        (["profile", "vit-mnist", "-d", "t4", "--wat"], "--wat"),
        (["profile", "vit-mnist", "-d", "t4", "--top", "many"], "--top"),
        (["profile", "vit-mnist", "-d", "t4", "--top", "-1"], "--top"),
        (["optimize", "vit-mnist", "--task", "mnist", "-d", "t4"], "--out"),
    ],
)
def test_a_bad_option_is_one_line_that_names_it(dse_run: Run, arguments: list[str], named: str) -> None:
    message = dse_run(*arguments).message
    assert named in message
    assert "--help" in message
    assert len(message.splitlines()) == 1


def test_no_command_shows_the_help_and_leaves_with_status_2(dse_run: Run) -> None:
    outcome = dse_run()
    assert outcome.code == 2
    assert "profile" in outcome.out + outcome.err


def test_an_interrupt_leaves_with_130_and_one_line(dse_run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(name: str) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(hwmodels, "load", interrupt)
    outcome = dse_run("devices", "t4")
    assert (outcome.code, outcome.out, outcome.err) == (130, "", "interrupted\n")


def _heed_interrupts() -> None:
    """A runner in the background ignores interrupts, and its children inherit that."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


COMMANDS = ("devices", "profile", "sweep", "optimize", "compress", "map", "predict", "trends", "zoo")


@pytest.mark.parametrize("name", COMMANDS)
def test_no_word_of_a_help_text_is_lost_on_the_screen(dse_run: Run, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv("COLUMNS", "400")
    shown = " ".join(dse_run(name, "--help").out.split())
    written = [text for parameter in command_of(name).params if (text := getattr(parameter, "help", None))]
    assert len(written) > 2
    for text in written:
        assert " ".join(text.split()) in shown


def command_of(name: str) -> Any:
    """Give a command as Typer hands it to Click."""
    return typer.main.get_command(app).commands[name]  # type: ignore[attr-defined]


@pytest.mark.parametrize("library", ["numpy", "typer", "hwmodels", "dse.cli.sweeping"])
def test_an_interrupt_while_the_command_still_loads_leaves_no_traceback(library: str) -> None:
    code = f"""
import os, signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)
class Finder:
    def find_spec(self, name, path=None, target=None):
        if name == {library!r}:
            os.kill(os.getpid(), signal.SIGINT)
sys.meta_path.insert(0, Finder())
{START}
"""
    done = subprocess.run(
        [sys.executable, "-c", code, "devices"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "interrupted\n")


def test_an_interrupt_of_the_real_process_leaves_no_traceback(tmp_path: Path) -> None:
    config = tmp_path / "long.toml"
    config.write_text(
        '[model]\npath = "vit-mnist"\nbind = { batch = 1 }\n[space]\ndevice = ["t4"]\n'
        "clock_scale = { low = 0.5, high = 1.0 }\n[search]\nmethod = 'random'\nbudget = 900000000\n"
    )
    with subprocess.Popen(
        command("sweep", str(config), "--out", str(tmp_path / "run")),
        cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, preexec_fn=_heed_interrupts,
    ) as process:  # fmt: skip
        try:
            deadline = time.monotonic() + 60
            while not list((tmp_path / "run").glob("part-*")) and time.monotonic() < deadline:
                time.sleep(0.05)
            process.send_signal(signal.SIGINT)
            _, err = process.communicate(timeout=60)
        finally:
            process.kill()
    assert process.returncode == 130
    assert err == "interrupted\n"
    assert not [item for item in (tmp_path / "run").iterdir() if item.name.startswith(".")]


@pytest.mark.parametrize("arguments", [("devices",), ("profile", "vit-mnist", "-d", "t4", "-b", "batch=1", "--json")])
def test_a_broken_pipe_is_quiet(arguments: tuple[str, ...]) -> None:
    with subprocess.Popen(
        command(*arguments), cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == ""
        assert process.wait(timeout=30) == 1


def test_json_on_stdout_is_json_alone_even_with_a_plot(tmp_path: Path) -> None:
    plot = tmp_path / "roofline.png"
    done = subprocess.run(
        command("profile", "vit-mnist", "-d", "t4", "-b", "batch=1", "--json", "--plot", str(plot)),
        cwd=ROOT, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert json.loads(done.stdout)["device"] == "t4"
    assert done.stderr == ""
    assert plot.is_file()
