"""The layout that ARCHITECTURE.md draws: who imports whom, what an import costs, what a package shows and ships."""

from __future__ import annotations

import ast
import importlib
import json
import os
import pkgutil
import re
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("workloads", "hwmodels", "dse")
FORBIDDEN = {
    "workloads": {"hwmodels", "dse", "tests", "reports"},
    "hwmodels": {"dse", "tests", "reports"},
    "dse": {"tests", "reports"},
    "tests": {"reports"},
}
IMPORT_CPU_LIMIT_S = 0.5


def imported_roots(source: str) -> Iterator[tuple[int, str]]:
    """Yield line and top-level package of every import, wherever it stands: functions and type checks count too."""
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Import(names=names):
                yield from ((node.lineno, alias.name.partition(".")[0]) for alias in names)
            case ast.ImportFrom(level=0, module=str(module)):
                yield node.lineno, module.partition(".")[0]
            case ast.Call(
                func=ast.Name(id="import_module" | "__import__") | ast.Attribute(attr="import_module"),
                args=[ast.Constant(value=str(module)), *_],
            ):
                yield node.lineno, module.partition(".")[0]


def package_dirs() -> list[str]:
    """Return the dotted names of our packages and of every package inside them."""
    inits = sorted(init for package in PACKAGES for init in (ROOT / package).rglob("__init__.py"))
    return [".".join(init.parent.relative_to(ROOT).parts) for init in inits]


def natural(text: str) -> list[tuple[int, str]]:
    """Return a sort key that puts "int4" before "int16"."""
    return [(int(digits or -1), word) for word, digits in re.findall(r"(\D*)(\d*)", text)]


def export_order(name: str) -> tuple[int, list[tuple[int, str]], str]:
    """Return the key of the order that ruff's RUF022 keeps: constants, then classes, then functions and modules."""
    return (0 if name.isupper() else 1 if name[0].isupper() else 2, natural(name), name)


def run_python(code: str) -> str:
    """Run code in a fresh interpreter at the repository root, warnings as errors, and return what it prints."""
    # Bytecode may be kept: an import is measured as users see it from the second time on.
    env = {key: value for key, value in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"}
    command = [sys.executable, "-W", "error", "-c", code]
    done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("folder", FORBIDDEN)
def test_imports_point_from_dse_to_hwmodels_to_workloads_and_never_back(folder: str) -> None:
    files = sorted((ROOT / folder).rglob("*.py"))
    assert files, f"{folder}/ holds no module"
    faults = [
        f"{path.relative_to(ROOT)}:{line} imports {root}"
        for path in files
        for line, root in imported_roots(path.read_text(encoding="utf-8"))
        if root in FORBIDDEN[folder]
    ]
    assert not faults, "\n".join(faults)


def test_the_import_walk_sees_every_way_to_import() -> None:
    source = """
import dse.cli as a, numpy
from dse import b
from . import c
def later():
    from hwmodels.cost import Cost
    importlib.import_module("tests.data")
    import_module("reports")
"""
    assert sorted(root for _, root in imported_roots(source)) == ["dse", "dse", "hwmodels", "numpy", "reports", "tests"]


@pytest.mark.parametrize("package", PACKAGES)
def test_importing_a_package_loads_no_third_party_library_but_numpy(package: str) -> None:
    code = f"""
import json, sys, sysconfig
before = set(sys.modules)
import {package}
sites = tuple(sysconfig.get_path(name) for name in ("purelib", "platlib"))
new = {{name: getattr(sys.modules[name], "__file__", None) or "" for name in set(sys.modules) - before}}
print(json.dumps(sorted({{name.partition(".")[0] for name, file in new.items() if file.startswith(sites)}})))
"""
    loaded = set(json.loads(run_python(code))) - set(PACKAGES)
    assert loaded <= {"numpy"}, f"import {package} also loads {sorted(loaded - {'numpy'})}"


def test_importing_dse_takes_less_than_half_a_second_of_cpu() -> None:
    # The clock counts from the start of the process, so the interpreter's own start is in. The least of three: the
    # first writes bytecode, and noise only ever adds.
    code = "import dse, time; print(time.process_time())"
    cpu_s = min(float(run_python(code)) for _ in range(3))
    assert cpu_s < IMPORT_CPU_LIMIT_S, f"import dse took {cpu_s:.2f} s of CPU time"


@pytest.mark.parametrize("package", PACKAGES)
def test_all_is_sorted_and_every_name_in_it_resolves(package: str) -> None:
    module = importlib.import_module(package)
    names = list(module.__all__)
    assert names == sorted(set(names), key=export_order)
    missing = [name for name in names if not hasattr(module, name)]
    assert not missing, f"{package}.__all__ names what {package} does not have: {missing}"


@pytest.mark.parametrize("package", PACKAGES)
def test_all_lists_every_public_name_that_the_package_takes_from_its_modules(package: str) -> None:
    tree = ast.parse((ROOT / package / "__init__.py").read_text(encoding="utf-8"))
    public = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.level or (node.module or "").partition(".")[0] in PACKAGES):
            public |= {alias.asname or alias.name for alias in node.names}
    public |= {node.name for node in tree.body if isinstance(node, ast.FunctionDef | ast.ClassDef)}
    public = {name for name in public if not name.startswith("_")}
    assert public <= set(importlib.import_module(package).__all__)


@pytest.mark.parametrize("package", package_dirs())
def test_no_module_shares_the_name_of_a_function_that_its_package_exports(package: str) -> None:
    module = importlib.import_module(package)
    modules = {info.name for info in pkgutil.iter_modules([str(ROOT.joinpath(*package.split(".")))])}
    shared = {name for name in getattr(module, "__all__", ()) if name in modules}
    clashes = sorted(name for name in shared if not isinstance(getattr(module, name), ModuleType))
    assert not clashes, f"{package} exports {clashes}, and modules of the same names hide or are hidden by them"


def test_the_wheel_ships_every_file_of_the_packages(tmp_path: Path) -> None:
    source, target = tmp_path / "source", tmp_path / "wheel"
    source.mkdir()
    target.mkdir()
    for name in ("pyproject.toml", "LICENSE"):
        shutil.copy(ROOT / name, source)
    for package in PACKAGES:
        shutil.copytree(ROOT / package, source / package, ignore=shutil.ignore_patterns("__pycache__"))
    files = {
        path.relative_to(source).as_posix() for p in PACKAGES for path in (source / p).rglob("*") if path.is_file()
    }
    # The build backend alone, not pip: pip would fetch the backend anew.
    code = f"from setuptools import build_meta; build_meta.build_wheel({str(target)!r})"
    build = subprocess.run([sys.executable, "-c", code], cwd=source, capture_output=True, text=True, check=False)
    assert build.returncode == 0, build.stderr
    (wheel,) = target.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        shipped = set(archive.namelist())
    assert {f"{package}/py.typed" for package in PACKAGES} <= shipped
    assert not files - shipped, f"add these suffixes to package-data in pyproject.toml: {sorted(files - shipped)}"
    strays = {name for name in shipped if name.partition("/")[0] not in PACKAGES and ".dist-info/" not in name}
    assert not strays
