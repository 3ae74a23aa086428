"""The note service as the forwarder in the same process sees it: the API without HTTP.

A note that was taken is as safe as one that came over HTTP, and what is refused is refused for the
same reasons (:class:`vsek.notify.client.NotesRefusedError` and ``NotesUnavailableError``).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import asyncpg
import structlog

from vsek.domain.note import NoteRequest
from vsek.errors import InputError, ServiceError
from vsek.notify.database import DATABASE_ERRORS, KeyReusedError

_log = structlog.get_logger(__name__)

Take = Callable[[str, NoteRequest], Awaitable[tuple[str, bool]]]


@dataclass(frozen=True, slots=True)
class TakenNote:
    """A note that is committed."""

    id: str


class Intake:
    """``take`` is :meth:`vsek.notify.api.NotesApi.take`."""

    def __init__(self, take: Take) -> None:
        self._take = take

    async def post(self, key: str, request: NoteRequest) -> TakenNote:
        """Hand a note over under its key. Raises ``InputError`` when this request will never be
        taken, ``ServiceError`` when it may be later."""
        try:
            note_id, _ = await self._take(key, request)
        except KeyReusedError as error:
            raise InputError(
                error.message, field="key", value=key, remedy=error.remedy, error_id=error.error_id
            ) from None
        except asyncpg.DataError as error:
            raise InputError(f"The database cannot store this: {error}", field="note") from error
        except DATABASE_ERRORS as error:
            raise ServiceError(
                f"The note service's database does not answer: {type(error).__name__}: {error}",
                error_id="database",
            ) from error
        except Exception as error:
            # Whatever it is, the note stays due; another one may go through.
            _log.exception("note_failed", key=key)
            raise ServiceError(
                f"The note service failed: {error!r}", error_id="internal"
            ) from error
        return TakenNote(note_id)

    async def close(self) -> None:
        """Nothing is open."""
