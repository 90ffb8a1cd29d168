"""Files appear whole or not at all."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from dse.files import atomic_write, output_folder
from workloads.errors import StoreError


def test_a_file_appears_only_when_it_is_whole(tmp_path: Path) -> None:
    target = tmp_path / "new" / "table.csv"
    with atomic_write(target) as part:
        part.write_text("first half")
        assert not target.exists()
        assert part.parent == target.parent
        assert part.suffix == ".csv"
    assert target.read_text() == "first half"


def test_a_failure_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    target = tmp_path / "table.csv"
    target.write_text("old")

    def fail() -> None:
        with atomic_write(target) as part:
            part.write_text("new, half of i")
            raise RuntimeError("killed")

    with pytest.raises(RuntimeError, match="killed"):
        fail()
    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]


def test_permissions_follow_the_umask_and_links_are_kept(tmp_path: Path) -> None:
    before = os.umask(0o022)
    try:
        with atomic_write(tmp_path / "a") as part:
            part.write_text("1")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "a").stat().st_mode) == 0o644
    (tmp_path / "link").symlink_to(tmp_path / "a")
    with atomic_write(tmp_path / "link") as part:
        part.write_text("2")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "a").read_text() == "2"


def test_what_is_no_regular_file_is_written_directly() -> None:
    with atomic_write(os.devnull) as part:
        assert str(part) == os.devnull
        part.write_text("gone")


def test_places_that_cannot_be_written_are_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="is a folder"), atomic_write(tmp_path):
        pass
    with pytest.raises(StoreError, match="a file of that name is in the way"), atomic_write(tmp_path / "file" / "a"):
        pass
    with pytest.raises(StoreError, match="in the way"):
        output_folder(tmp_path / "file")
    assert [item.name for item in tmp_path.iterdir()] == ["file"]
