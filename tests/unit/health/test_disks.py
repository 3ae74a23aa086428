"""How full disks are."""

from __future__ import annotations

from pathlib import Path

from vsek.health import disks


def test_folders_of_one_disk_are_one(tmp_path: Path) -> None:
    found = disks.look({"one": tmp_path, "two": tmp_path / "not" / "there" / "yet"})
    assert [disk.name for disk in found] == ["one"]
    [disk] = found
    assert 0 < disk.free_bytes <= disk.size_bytes
    assert 0 < disk.free <= 1
    assert 0 <= disk.free_files <= 1


def test_a_disk_without_a_size_is_not_full() -> None:
    assert disks.Disk("x", "/x", 0, 0).free == 1.0
