"""How full the disks are on which folders of ours lie."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import msgspec


class Disk(msgspec.Struct, frozen=True):
    """The file system of a folder. ``name`` says which folder."""

    name: str
    path: str
    free_bytes: int
    size_bytes: int
    free_files: float = 1.0
    """Share of files (inodes) that can still be made, 0 to 1."""

    @property
    def free(self) -> float:
        """Free share of the space, 0 to 1."""
        return self.free_bytes / self.size_bytes if self.size_bytes else 1.0


def look(folders: Mapping[str, Path]) -> list[Disk]:
    """Each folder's file system, one that several share under the first's name.

    A folder that is not there yet is looked for upwards. May block on a file system that hangs:
    call it in a thread.
    """
    found: dict[int, Disk] = {}
    for name, folder in folders.items():
        place = folder
        while not place.exists() and place != place.parent:
            place = place.parent
        try:
            device, stat = place.stat().st_dev, os.statvfs(place)
        except OSError:
            continue
        files = stat.f_favail / stat.f_files if stat.f_files else 1.0
        found.setdefault(
            device,
            Disk(
                name,
                str(folder),
                stat.f_bavail * stat.f_frsize,
                stat.f_blocks * stat.f_frsize,
                round(files, 4),
            ),
        )
    return list(found.values())
