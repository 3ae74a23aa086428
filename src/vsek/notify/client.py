"""For those who call the note service over HTTP: alarms and the command line.

``NotesUnavailableError`` means *try again*; ``NotesRefusedError`` means that the same request will
never be taken.
"""

from __future__ import annotations

import io
import json
import os
from collections.abc import Mapping
from types import TracebackType
from typing import Any, Self, TypeVar
from urllib.parse import quote

import aiohttp
from pydantic import BaseModel, ValidationError

from vsek.domain.draft import DraftState
from vsek.domain.note import NoteRequest
from vsek.errors import InputError, ServiceError
from vsek.notify.model import (
    ErasedAnswer,
    Health,
    NoteDetail,
    NoteInfo,
    NoteList,
    Problem,
    RetryAnswer,
)

_Model = TypeVar("_Model", bound=BaseModel)


class NotesUnavailableError(ServiceError):
    """The note service is not there, or cannot do it now. Nothing is known to be taken."""

    error_id = "notes_unavailable"


class NotesAwayError(NotesUnavailableError):
    """Nobody answers at the note service's address."""


class NotesRefusedError(InputError):
    """The note service will not take this: wrong field, reused key, unknown note.

    ``status`` is the HTTP status.
    """

    error_id = "notes_refused"
    status = 0


class NotesClient:
    """The note service at ``url`` (its root). An async context manager, or call ``close``.

    ``timeout_s`` bounds each request as a whole.
    """

    def __init__(self, url: str, token: str, *, timeout_s: float = 10.0) -> None:
        self.url = url.rstrip("/")
        self._headers = {"Authorization": f"Bearer {token}"}
        self._timeout = aiohttp.ClientTimeout(total=timeout_s)
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connections."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def post(self, key: str, request: NoteRequest) -> NoteInfo:
        """Hand over a note under its idempotency ``key``. When this returns, it is safe."""
        return await self._call(
            NoteInfo,
            "POST",
            "/v1/notes",
            headers={"Idempotency-Key": key, "Content-Type": "application/json"},
            data=request.model_dump_json().encode(),
        )

    async def list(
        self,
        *,
        client: str | None = None,
        call: str | None = None,
        key: str | None = None,
        status: str | None = None,
        before: str | None = None,
        limit: int = 50,
    ) -> NoteList:
        """Notes, the newest first. ``before`` continues with an answer's ``next``."""
        asked = {"client": client, "call": call, "key": key, "status": status, "before": before}
        query = {name: value for name, value in asked.items() if value is not None}
        return await self._call(NoteList, "GET", "/v1/notes", params={**query, "limit": str(limit)})

    async def show(self, note_id: str) -> NoteDetail:
        """A note with its content."""
        return await self._call(NoteDetail, "GET", f"/v1/notes/{quote(note_id, safe='')}")

    async def retry(self, note_id: str) -> RetryAnswer:
        """Send now whatever of the note is not accepted."""
        return await self._call(RetryAnswer, "POST", f"/v1/notes/{quote(note_id, safe='')}/retry")

    async def erase(self, note_id: str) -> ErasedAnswer:
        """Erase what goes along with a note."""
        path = f"/v1/notes/{quote(note_id, safe='')}/attachments"
        return await self._call(ErasedAnswer, "DELETE", path)

    async def draft(self, call_id: str) -> DraftState:
        """A call's note as it stands."""
        return await self._call(DraftState, "GET", _draft_path(call_id))

    async def write_draft(
        self, call_id: str, draft: Mapping[str, Any], *, finish: bool = False, author: str = ""
    ) -> DraftState:
        """Replace a call's draft by these fields (of ``NoteDraft``), which the service checks. When
        this returns, it is safe."""
        return await self._call(
            DraftState,
            "PUT",
            _draft_path(call_id),
            headers={"Content-Type": "application/json"},
            data=json.dumps({**draft, "finish": finish, "author": author}).encode(),
        )

    async def health(self) -> Health:
        """How the service is."""
        return await self._call(Health, "GET", "/v1/health")

    async def _call(
        self,
        model: type[_Model],
        method: str,
        path: str,
        *,
        headers: dict[str, str] | None = None,
        params: dict[str, str] | None = None,
        data: bytes | None = None,
    ) -> _Model:
        if self._session is None:
            self._session = aiohttp.ClientSession(headers=self._headers, timeout=self._timeout)
        try:
            async with self._session.request(
                # From a file, in pieces: recordings are large, and calls are waiting.
                method,
                self.url + path,
                headers=headers,
                params=params,
                data=None if data is None else io.BytesIO(data),
            ) as response:
                body = await response.read()
                status = response.status
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise NotesAwayError(
                f"The note service at {self.url} does not answer: {_said(error)}",
                remedy="Is it running (vsek notes, vsek up)? Is notes.url right?",
            ) from None
        if status in (200, 201):
            try:
                return model.model_validate_json(body)
            except ValidationError:
                raise NotesUnavailableError(
                    f"What answers at {self.url} is not the note service",
                    remedy="Correct notes.url",
                ) from None
        raise _problem(self.url, status, body)


def _draft_path(call_id: str) -> str:
    return f"/v1/calls/{quote(call_id, safe='')}/note"


def _said(error: Exception) -> str:
    code = error.os_error.errno if isinstance(error, aiohttp.ClientConnectorError) else None
    if code is not None and code > 0:
        return os.strerror(code)  # the address stands in the message already
    return str(error) or type(error).__name__


def _problem(url: str, status: int, body: bytes) -> ServiceError | InputError:
    try:
        problem = Problem.model_validate_json(body)
    except ValidationError:
        problem = Problem(
            error_id="notes_unavailable",
            message=f"The note service at {url} answered with HTTP status {status}",
        )
    # A wrong token is for operations to mend; the note itself is not at fault.
    if status in (401, 403, 408, 429) or not 400 <= status < 500:
        return NotesUnavailableError(
            problem.message, remedy=problem.remedy, error_id=problem.error_id
        )
    refused = NotesRefusedError(
        problem.message,
        field=problem.field,
        value=problem.value,
        remedy=problem.remedy,
        error_id=problem.error_id,
    )
    refused.status = status
    return refused
