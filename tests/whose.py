"""Whose call it is, by the way a call takes: from the stored directory to the call script's."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date

from vsek.call.decide import find_client
from vsek.domain.directory import Directory
from vsek.settings import Settings
from vsek.switchboard.directory import for_calls


def whose(known: Directory, did: str, forwarded_by: Sequence[str] = ()) -> str | None:
    """The client of a call to ``did``, forwarded by ``forwarded_by`` (most recent first)."""
    directory = for_calls(known, Settings(), lambda sound: sound, {}, date(2026, 6, 1))
    client, _ = find_client(directory, (did,), tuple(forwarded_by))
    return None if client is None else client.client_id
