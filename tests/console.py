"""What Asterisk's console says."""

from __future__ import annotations

import asyncio
from pathlib import Path

from vsek.embedded import packages
from vsek.embedded.servant import run_as, unprivileged


async def ask(etc: Path, command: str) -> str:
    """The answer of the private Asterisk with this configuration folder."""
    prefix = await asyncio.to_thread(packages.ensure, ["servers"])
    arguments: list[str | Path] = ["-C", etc / "asterisk.conf", "-rx", command]
    return await run_as(unprivileged(), prefix.tool("asterisk"), arguments)
