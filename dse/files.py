"""Files that appear by rename: a reader sees the old file or the new one, never half of one."""

from __future__ import annotations

import errno
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from workloads.errors import StoreError

__all__ = ["atomic_write", "output_folder", "reserved_folder"]

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@contextmanager
def atomic_write(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Give a temporary path to write to, beside `path`; on success it is renamed to `path`, else it is removed.

    The temporary path keeps the suffix of `path`, for writers that choose the format by it. Missing folders are made.
    What exists and is no regular file (a pipe, `/dev/stdout`) is written directly.

    Args:
        path: Where the file shall appear.

    Yields:
        The path to write to.

    Raises:
        StoreError: The file cannot be written; nothing is left behind.

    Example:
        >>> import tempfile
        >>> folder = Path(tempfile.mkdtemp())
        >>> with atomic_write(folder / "new" / "a.txt") as part:
        ...     _ = part.write_text("whole")
        >>> [item.name for item in (folder / "new").iterdir()]
        ['a.txt']
    """
    target = Path(path)
    if target.is_dir():
        raise StoreError(f"cannot write {str(target)!r}: it is a folder; give the name of a file")
    if target.exists() and not target.is_file():
        yield target
        return
    target = target.resolve()  # a link keeps pointing to what is written
    output_folder(target.parent)
    part = target.with_name(f".{target.stem}.{secrets.token_hex(4)}{target.suffix}")
    try:
        yield part
        part.replace(target)
    except OSError as error:
        if error.errno in _FULL or str(part) in (error.filename, str(error.filename)):
            raise StoreError(f"cannot write {str(path)!r}: {_reason(error)}; give another place") from None
        raise
    finally:
        part.unlink(missing_ok=True)


def output_folder(path: str | os.PathLike[str]) -> Path:
    """Make a folder for output, and check that it can be written to before any work is done.

    Args:
        path: The folder; missing parents are made.

    Raises:
        StoreError: It cannot be made or written to.

    Example:
        >>> import tempfile
        >>> output_folder(Path(tempfile.mkdtemp()) / "runs" / "first").is_dir()
        True
    """
    folder = Path(path)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StoreError(f"cannot make the folder {str(folder)!r}: {_reason(error)}; give another place") from None
    if not os.access(folder, os.W_OK | os.X_OK):
        raise StoreError(f"cannot write into the folder {str(folder)!r}: permission denied; give another place")
    return folder


@contextmanager
def reserved_folder(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Make a folder for output as `output_folder` does, and take it back if the work fails and left it empty.

    Args:
        path: The folder; missing parents are made.

    Raises:
        StoreError: It cannot be made or written to.
    """
    made = not Path(path).exists()
    folder = output_folder(path)
    try:
        yield folder
    except BaseException:
        if made and not any(folder.iterdir()):
            folder.rmdir()
        raise


def _reason(error: OSError) -> str:
    if isinstance(error, FileExistsError | NotADirectoryError):
        return "a file of that name is in the way"
    return (error.strerror or str(error)).lower()
