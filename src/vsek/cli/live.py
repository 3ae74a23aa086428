"""What commands that write to the database tell the running switchboard."""

from __future__ import annotations

import json
from typing import Any

from vsek.cli.control import Control, SwitchboardAwayError
from vsek.cli.output import hint
from vsek.settings import Settings


async def announce(settings: Settings) -> None:
    """Lets a running switchboard take over what changed in the database.

    Without one this is no failure: it reads everything when it starts.
    """
    try:
        async with Control(settings) as control:
            await control.sync()
    except SwitchboardAwayError:
        hint("No switchboard is running here; the change takes effect when it starts.")


def sip_address(settings: Settings) -> str:
    """Where softphones register (``host:port``) with the embedded stack; empty if unknown."""
    try:
        stack: dict[str, Any] = json.loads(settings.stack_file.read_text())
    except (OSError, ValueError):
        return ""
    return str(stack.get("sip") or "")
