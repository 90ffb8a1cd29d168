"""Load mutated files in a process of its own, under limits of time, memory and files, and say how each ended.

    python -m tests.fuzz.running FIRST COUNT REPORT

writes one JSON object to REPORT. The limits are those of the process, so nothing that a file does can get around them:
CPU time by an interval timer, address space by the kernel, opened files by an audit hook.
"""

from __future__ import annotations

import faulthandler
import gc
import json
import os
import resource
import signal
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any

__all__ = ["CPU_LIMIT_S", "MEMORY_LIMIT_BYTES", "run"]

CPU_LIMIT_S = 2.0
"""CPU time that one file may take to load, and then to be costed [s]."""

MEMORY_LIMIT_BYTES = 512 << 20
"""Address space that a file may take beside what the libraries had taken before [B]."""

_FORBIDDEN_EVENTS = ("os.listdir", "os.scandir", "os.system", "os.exec", "subprocess.Popen", "socket.connect")


class OverTimeError(BaseException):
    """A file took longer than it may; no handler of ordinary errors catches it."""


@dataclass
class Guard:
    """What the process may open while a file is loaded (it changes: an audit hook cannot be taken off).

    Attributes:
        folder: The model's folder; None: nothing is loaded now.
        outside: What was opened or done that must not be.
    """

    folder: str | None = None
    outside: list[str] = field(default_factory=list)

    def hook(self, event: str, arguments: tuple[Any, ...]) -> None:
        """Note every file that is opened outside of the model's folder."""
        if self.folder is None:
            return
        if event == "open" and isinstance(arguments[0], (str, bytes)):
            path = os.path.realpath(os.fsdecode(arguments[0]))
            if not path.startswith(self.folder + os.sep):
                self.outside.append(path)
        elif event in _FORBIDDEN_EVENTS:
            self.outside.append(f"{event} {arguments!r}")


def _over_time(number: int, frame: FrameType | None) -> None:
    raise OverTimeError


def surroundings(root: Path) -> Path:
    """Make the folder of the model, with all that external data may point to."""
    folder = root / "model"
    (folder / "folder").mkdir(parents=True)
    (root / "secret.bin").write_bytes(bytes(4096))
    (folder / "data.bin").write_bytes(bytes(128) + (4).to_bytes(8, "little") * 4)
    (folder / "link.bin").symlink_to(root / "secret.bin")
    (folder / "circle").symlink_to(folder / "circle")
    (folder / "device").symlink_to("/dev/zero")
    (folder / "up").symlink_to(root)
    os.mkfifo(folder / "fifo")
    return folder


def cost_everything(work: Any) -> None:
    """Ask a workload or program for all that follows from it; every number must be one, and none negative."""
    import hwmodels
    from workloads import peak_bytes

    cost = hwmodels.evaluate(work, hwmodels.load("t4"))
    numbers = {
        "flops": work.flops(), "macs": work.macs(), "dram_bytes": work.dram_bytes(),
        "weight_bytes": work.weight_bytes(), "peak_bytes": peak_bytes(work),
        "latency_s": cost.latency_s, "energy_j": cost.energy_j, "peak on a device": cost.peak_bytes,
    }  # fmt: skip
    wrong = {name: float(value) for name, value in numbers.items() if not 0 <= float(value) < float("inf")}
    if wrong:
        raise AssertionError(f"impossible costs {wrong}")
    work.digest()


def load_case(case: Any, path: Path) -> str:
    """Load one file as a user would; give "loads", or the message."""
    from workloads import WorkloadError, load_onnx, load_program

    options: dict[str, Any] = {"missing_weights": "allow" if case.seed % 4 else "error", **case.base.bind}
    chances = {name: chance for name, chance in case.base.probabilities.items() if case.seed % 5}
    try:
        if case.seed % 3:
            trips = case.base.trips if case.seed % 7 else None
            work: Any = load_program(path, probabilities=chances, trips=trips, **options)
        else:
            work = load_onnx(path, **options)
    except WorkloadError as error:
        message = str(error)
        if not message.strip() or "\n" in message.strip() or len(message) > 10_000:
            raise AssertionError(f"no message for a person: {message[:200]!r}") from error
        return message
    signal.setitimer(signal.ITIMER_VIRTUAL, CPU_LIMIT_S)  # as long again
    cost_everything(work)
    return "loads"


def run(first: int, count: int) -> dict[str, Any]:
    """Load the files of `count` seeds from `first` on.

    Returns:
        Counts by mutation, failures with their seeds, the slowest files and the peak memory.
    """
    from tests.fuzz.bases import BASES
    from tests.fuzz.cases import Case, case_of

    guard = Guard()
    sys.addaudithook(guard.hook)
    signal.signal(signal.SIGVTALRM, _over_time)
    report: dict[str, Any] = {"files": 0, "loads": 0, "errors": 0, "kinds": {}, "failures": [], "slowest": []}
    kinds: dict[str, Counter[str]] = {}
    with tempfile.TemporaryDirectory() as name:
        folder = surroundings(Path(os.path.realpath(name)))
        path = folder / "model.onnx"
        for base in BASES:  # whatever is imported late is imported now
            path.write_bytes(base.make())
            load_case(Case(1, base, (), b""), path)
        gc.collect()
        base_peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        taken = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (taken + MEMORY_LIMIT_BYTES, resource.RLIM_INFINITY))
        for seed in range(first, first + count):
            case = case_of(seed)
            path.write_bytes(case.content)
            ended, seconds = _guarded(case, path, guard)
            word = "loads" if ended == "loads" else "error" if not ended.startswith("FAILURE") else "failure"
            report["files"] += 1
            report["loads"] += word == "loads"
            report["errors"] += word == "error"
            for kind in case.kinds:
                kinds.setdefault(kind, Counter())[word] += 1
            if word == "failure":
                report["failures"].append({"seed": seed, "base": case.base.name, "kinds": case.kinds, "how": ended})
            report["slowest"].append((round(seconds, 3), seed, case.base.name, case.kinds))
            report["slowest"] = sorted(report["slowest"], reverse=True)[:8]
    report["kinds"] = {kind: dict(found) for kind, found in sorted(kinds.items())}
    report["peak_growth_bytes"] = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - base_peak) * 1024
    return report


def _guarded(case: Any, path: Path, guard: Guard) -> tuple[str, float]:
    """Load a case under all limits; give how it ended, and the CPU time [s]."""
    guard.folder, guard.outside = str(path.parent), []
    signal.setitimer(signal.ITIMER_VIRTUAL, CPU_LIMIT_S)
    start = time.process_time()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            ended = load_case(case, path)
    except BaseException as error:
        guard.folder = None  # a traceback opens the sources
        ended = f"FAILURE {type(error).__name__}: {''.join(traceback.format_exception(error)[-4:])}"
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        seconds = time.process_time() - start
        guard.folder = None
    if guard.outside:
        ended = f"FAILURE opened {guard.outside[:3]}"
    return ended, seconds


def main() -> None:
    """Run the seeds that the command line says, and write the report."""
    faulthandler.enable()
    first, count, target = int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3])
    target.write_text(json.dumps(run(first, count), indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
