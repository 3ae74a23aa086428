"""Where the peers' programs are: on the PATH, or in vsek's private packages."""

from __future__ import annotations

from pathlib import Path

from vsek.embedded.packages import find_tool
from vsek.errors import ServiceError


def baresip() -> tuple[list[Path], Path]:
    """The command that starts baresip, and the folder of its modules."""
    program = find_tool("baresip")
    for root in (program.parent.parent, Path("/usr")):
        for folder in ("lib/baresip/modules", "lib/x86_64-linux-gnu/baresip/modules"):
            modules = root / folder
            if (modules / "ctrl_tcp.so").is_file():
                return [program], modules
    raise ServiceError(
        f"{program} has no modules beside it",
        remedy="Install the package baresip-core, or delete vsek's package cache",
    )


def sipp() -> list[Path]:
    """The command that starts SIPp."""
    return [find_tool("sipp")]
