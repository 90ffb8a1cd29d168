"""Measure GPU kernels: `python -m dse.measure.device`, or this folder copied anywhere, with numpy, torch and triton.

Examples:
    python -m dse.measure.device --suite all --out rows.csv --minutes 8
    python -m dse.measure.device mine.json --out rows.csv --backend triton
    python device/__main__.py --suite smoke --out rows.csv
    python -m dse.measure.device --compile 80 90 --out compiled.json
"""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import sys
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).resolve().parent


def _package() -> str:
    """Give the name of the package that this file belongs to; a copied folder becomes one called `device`."""
    if __package__:
        return __package__
    # The folder itself must not be searched: its modules have common names.
    sys.path[:] = [place for place in sys.path if Path(place or ".").resolve() != FOLDER]
    spec = importlib.util.spec_from_file_location(
        "device", FOLDER / "__init__.py", submodule_search_locations=[str(FOLDER)]
    )
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["device"] = module
    spec.loader.exec_module(module)
    return "device"


def _options(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--suite", default="all", help="all, smoke, models, gemm, narrow, attention, elementwise, integer"
    )
    parser.add_argument("signatures", type=Path, nargs="?", help="JSON list of kernels to measure, instead of a suite")
    parser.add_argument("--backend", choices=("torch", "triton"), help="only kernels written in it")
    parser.add_argument("--kernel", action="append", help="measure only kernels whose name starts so; may be repeated")
    parser.add_argument("--out", type=Path, required=True, help="CSV of the rows; a second run goes on with it")
    parser.add_argument("--minutes", type=float, default=8.0, help="start no kernel after so many minutes")
    parser.add_argument("--energy-seconds", type=float, default=0.25, help="length of the window for power and clocks")
    parser.add_argument("--retry", action="store_true", help="try kernels again that failed in an earlier run")
    parser.add_argument("--check-only", action="store_true", help="check against float64, measure no time")
    parser.add_argument(
        "--device", choices=("cuda", "cpu"), default="cuda", help="cpu: Triton's interpreter, for tests"
    )
    parser.add_argument(
        "--compile", type=int, nargs="+", metavar="SM", help="compile every kernel for sm_SM, no GPU needed"
    )
    parser.add_argument("--brief", action="store_true", help="compile each function once, in one of its formats")
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    return parser.parse_args(arguments)


def _signatures(options: argparse.Namespace, package: str) -> tuple[list[Any], list[Any]]:
    signatures = importlib.import_module(f"{package}.signatures")
    suites = importlib.import_module(f"{package}.suites")
    if options.signatures is None:
        return list(suites.suite(options.suite)), []
    found, unknown = signatures.read_signatures(options.signatures)
    return list(suites.interleaved(found)), unknown


def main(arguments: list[str] | None = None) -> int:
    """Run the command.

    Returns:
        Exit status: 0, 2 for options that cannot be used, or that of a worker that could not begin.
    """
    options, package = _options(arguments), _package()
    error = importlib.import_module(f"{package}.signatures").KernelError
    try:
        return _run(options, package)
    except error as wrong:
        print(f"error: {wrong}", file=sys.stderr)
        return 2


def _run(options: argparse.Namespace, package: str) -> int:
    options.out.parent.mkdir(parents=True, exist_ok=True)
    if options.compile:
        compiled = importlib.import_module(f"{package}.compiled")
        rows = compiled.compile_all(tuple(options.compile), options.out, options.brief)
        wrong = [row for row in rows if "error" in row or not row["fits"]]
        spills = sum(1 for row in rows if row.get("spill_bytes"))
        print(f"{len(rows)} kernels compiled, {len(wrong)} failed or too large, {spills} with spills: {options.out}")
        return 1 if wrong else 0
    runner = importlib.import_module(f"{package}.runner")
    found, unknown = _signatures(options, package)
    if options.worker:
        return int(_work(options, runner, package, found, unknown))
    _refuse(options, package)
    if options.retry:
        table = importlib.import_module(f"{package}.rows").Table(options.out)
        table.forget_errors()
        table.add([])
    status = runner.supervise(_command(options), found, options.out, options.minutes)
    if status == 0:
        print(runner.summary_of(options.out))
    return int(status)


def _work(options: argparse.Namespace, runner: Any, package: str, found: list[Any], unknown: list[Any]) -> int:
    kernels = importlib.import_module(f"{package}.kernels").available()
    if options.kernel:
        kernels = [kernel for kernel in kernels if kernel.name.startswith(tuple(options.kernel))]
    if options.backend:
        kernels = [kernel for kernel in kernels if kernel.library == options.backend]
    if options.signatures is not None and not options.kernel:
        unknown = [*unknown, *runner.unserved(found, kernels)]
    return int(
        runner.work(
            found, options.out, options.device, options.minutes, kernels=kernels,
            unknown=unknown, configs=_configs(options, package),
            energy_seconds=options.energy_seconds, times=not options.check_only,
        )
    )  # fmt: skip


def _configs(options: argparse.Namespace, package: str) -> tuple[Any, ...]:
    """Give the models whose layers are timed as a whole: those of the suites that hold them."""
    whole = options.signatures is None and options.suite in ("all", "models")
    if not whole or options.kernel or options.backend:
        return ()
    return tuple(importlib.import_module(f"{package}.suites").CONFIGS)


def _refuse(options: argparse.Namespace, package: str) -> None:
    error = importlib.import_module(f"{package}.signatures").KernelError
    if importlib.util.find_spec("torch") is None:
        raise error("torch is not installed; kernels need it: pip install torch")
    import torch

    if options.device == "cuda" and not torch.cuda.is_available():
        raise error("no CUDA GPU is visible to torch; --device cpu checks kernels in Triton's interpreter (slow), "
                    "--compile 80 90 compiles them without one")  # fmt: skip


def _command(options: argparse.Namespace) -> list[str]:
    start = ["-m", __package__] if __package__ and __package__ != "device" else [str(FOLDER / "__main__.py")]
    chosen = [str(options.signatures)] if options.signatures else ["--suite", options.suite]
    for name in options.kernel or []:
        chosen += ["--kernel", name]
    chosen += ["--backend", options.backend] if options.backend else []
    chosen += ["--check-only"] if options.check_only else []
    more = ["--energy-seconds", str(options.energy_seconds), "--device", options.device, "--worker"]
    return [sys.executable, *start, *chosen, "--out", str(options.out), *more]


if __name__ == "__main__":
    sys.exit(main())
