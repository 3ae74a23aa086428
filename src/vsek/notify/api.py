"""The note service's HTTP API.

All but ``GET /v1/health``, ``/v1/ready``, ``/v1/live``, ``/metrics`` and ``/openapi.json`` want
``Authorization: Bearer TOKEN``. Every error is a :class:`~vsek.notify.model.Problem`. A note is
acknowledged after it is committed.
"""

from __future__ import annotations

import hmac
import secrets
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Annotated, Any

import asyncpg
import structlog
from fastapi import Depends, FastAPI, Header, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from fastapi.security import HTTPBearer
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from vsek.domain.draft import DraftState, UnknownCallError, WriteNote
from vsek.domain.note import MAX_ATTACHED_BYTES, NoteKey, NoteRequest
from vsek.domain.text import clean_line
from vsek.errors import InputError, VsekError
from vsek.health.exposition import metrics_route
from vsek.notify.backlog import Backlog
from vsek.notify.database import DATABASE_ERRORS, Database, KeyReusedError, NewNote
from vsek.notify.drafts import Drafts
from vsek.notify.mail import message_id
from vsek.notify.metrics import NoteMetrics
from vsek.notify.model import (
    DeliveryStatus,
    ErasedAnswer,
    Health,
    NoteDetail,
    NoteInfo,
    NoteList,
    Problem,
    RetryAnswer,
)
from vsek.notify.outbox import Outbox
from vsek.notify.render import Renderer

_log = structlog.get_logger(__name__)

API_VERSION = "1"
BODY_LIMIT = 512 * 1024 + MAX_ATTACHED_BYTES * 4 // 3
"""Bytes of a request body: the note and, in Base64, what goes along with it."""
_ID_LETTERS = "23456789abcdefghjkmnpqrstuvwxyz"
_OPEN = frozenset({"/v1/health", "/v1/ready", "/v1/live", "/metrics", "/openapi.json"})
_TOLD = [Depends(HTTPBearer(auto_error=False))]
"""For whoever reads openapi.json; what asks for the token is the gate."""
_PROBLEM_FOR = {
    400: "what is sent is no JSON",
    401: "the bearer token is missing or wrong",
    404: "there is no such note",
    409: "the key belongs to another note",
    413: "the body is too big",
    422: "a field is wrong",
    503: "the database is away",
}


class _NotFoundError(InputError):
    error_id = "not_found"


def new_note_id(now: datetime) -> str:
    """A note id: ``n``, UTC date and time, six letters that can be read out on the phone."""
    letters = "".join(secrets.choice(_ID_LETTERS) for _ in range(6))
    return f"n{now.astimezone(UTC):%y%m%d-%H%M%S}-{letters}"


class _Gate:
    """Before anything of a body is read: lets in who knows ``token``, and everybody to what is
    open. Refuses bodies over ``BODY_LIMIT``, announced or not, before they fill the memory."""

    def __init__(self, app: ASGIApp, token: str) -> None:
        self._app = app
        self._token = token.encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        if scope["path"] not in _OPEN and not self._knows(dict(scope["headers"])):
            refusal = _problem(
                401,
                "unauthorised",
                "The bearer token is missing or wrong",
                remedy="Send the note service's token (setting notes.token)",
            )
            await refusal(scope, receive, send)
            return
        got = 0

        async def limited() -> Message:
            nonlocal got
            message = await receive()
            got += len(message.get("body", b""))
            if got > BODY_LIMIT:
                raise HTTPException(413, f"A note has at most {BODY_LIMIT} bytes")
            return message

        await self._app(scope, limited, send)

    def _knows(self, headers: dict[bytes, bytes]) -> bool:
        scheme, _, given = headers.get(b"authorization", b"").partition(b" ")
        known = hmac.compare_digest(given.strip(), self._token)
        return known and scheme.lower() == b"bearer" and bool(self._token)


def _problem(
    status: int,
    error_id: str,
    message: str,
    *,
    field: str = "",
    value: object = None,
    remedy: str = "",
) -> JSONResponse:
    shown = "" if value is None else value if isinstance(value, str) else repr(value)
    problem = Problem(
        error_id=error_id,
        message=clean_line(message, 500),
        field=clean_line(field, 200),
        value=clean_line(shown, 200),
        remedy=remedy,
    )
    headers = {"WWW-Authenticate": "Bearer"} if status == 401 else None
    return JSONResponse(problem.model_dump(), status, headers)


def _responses(*codes: int) -> dict[int | str, dict[str, Any]]:
    return {code: {"model": Problem, "description": _PROBLEM_FOR[code]} for code in codes}


def _call_of(request: Request) -> dict[str, str]:
    """What a line of the log says of the call that a request is about."""
    call_id = request.path_params.get("call_id")
    return {} if call_id is None else {"call_id": clean_line(call_id)}


def _add_draft_routes(app: FastAPI, drafts: Drafts) -> None:
    unknown: dict[int | str, dict[str, Any]] = {
        404: {"model": Problem, "description": "there is no such call"}
    }

    async def read_draft(call_id: str) -> DraftState:
        """While a call goes on and afterwards. A call that began just now is waited for."""
        return await drafts.read(call_id)

    async def write_draft(call_id: str, note: WriteNote) -> DraftState:
        """Replaces the draft as a whole; committed before it is answered. Once the note has left,
        each change of it is sent as a correction."""
        return await drafts.write(call_id, note)

    app.get(
        "/v1/calls/{call_id}/note",
        dependencies=_TOLD,
        responses={**_responses(401, 503), **unknown},
        summary="Show a call's note as it stands",
    )(read_draft)
    app.put(
        "/v1/calls/{call_id}/note",
        dependencies=_TOLD,
        responses={**_responses(400, 401, 413, 422, 503), **unknown},
        summary="Write a call's note",
    )(write_draft)


class NotesApi:
    """Builds the application from its parts; without ``drafts`` it knows notes but no calls."""

    def __init__(
        self,
        database: Database,
        outbox: Outbox,
        renderer: Renderer,
        *,
        token: str,
        sender: str,
        now: Callable[[], datetime],
        metrics: NoteMetrics,
        backlog: Backlog,
        drafts: Drafts | None = None,
    ) -> None:
        self._database = database
        self._outbox = outbox
        self._renderer = renderer
        self._token = token
        self._sender = sender
        self._now = now
        self._metrics = metrics
        self._backlog = backlog
        self._drafts = drafts

    def build(self) -> FastAPI:
        """The ASGI application."""
        app = FastAPI(
            title="vsek note service",
            version=API_VERSION,
            description="Takes notes on calls and mails them. See docs/notes.md.",
            # Their pages load scripts from elsewhere.
            docs_url=None,
            redoc_url=None,
        )
        app.add_middleware(_Gate, token=self._token)
        self._add_error_handlers(app)
        app.post(
            "/v1/notes",
            status_code=201,
            dependencies=_TOLD,
            responses={
                200: {"model": NoteInfo, "description": "the same note was taken before"},
                **_responses(400, 401, 409, 413, 422, 503),
            },
            summary="Take a note",
        )(self.post)
        app.get(
            "/v1/notes",
            dependencies=_TOLD,
            responses=_responses(401, 422, 503),
            summary="List notes, the newest first",
        )(self.list)
        app.get(
            "/v1/notes/{note_id}",
            dependencies=_TOLD,
            responses=_responses(401, 404, 503),
            summary="Show a note with its content",
        )(self.show)
        app.post(
            "/v1/notes/{note_id}/retry",
            dependencies=_TOLD,
            responses=_responses(401, 404, 503),
            summary="Send now what is not accepted yet",
        )(self.retry)
        app.delete(
            "/v1/notes/{note_id}/attachments",
            dependencies=_TOLD,
            responses=_responses(401, 404, 503),
            summary="Erase what goes along with a note",
        )(self.erase)
        if self._drafts is not None:
            _add_draft_routes(app, self._drafts)
        app.get("/v1/health", responses=_responses(503), summary="How the service is")(self.health)
        app.get("/v1/ready", responses=_responses(503), summary="Whether notes are taken")(
            self.ready
        )
        app.get("/v1/live", summary="Whether the process lives")(self.live)
        app.routes.append(metrics_route(self._metrics.registry))
        return app

    async def post(
        self,
        request: NoteRequest,
        response: Response,
        key: Annotated[
            NoteKey,
            Header(
                alias="Idempotency-Key",
                description="Names the note: the same key never makes a second one.",
            ),
        ],
    ) -> NoteInfo:
        """Committed before it is answered: 201 for a new note, 200 when it was there before."""
        note_id, created = await self.take(key, request)
        response.status_code = 201 if created else 200
        info, _ = await self._found(note_id)
        return info

    async def take(self, key: str, request: NoteRequest) -> tuple[str, bool]:
        """Take a note; its id, and whether it is new. When this returns it is committed.

        Raises ``KeyReusedError`` if the key belongs to another note, and ``DATABASE_ERRORS``.
        """
        now = self._now()
        note_id = new_note_id(now)
        # Laid out once already here: what cannot be laid out must not be acknowledged.
        rendered = self._renderer.render(request, note_id)
        new = NewNote(
            note_id=note_id,
            key=key,
            request=request,
            subject=rendered.subject,
            message_id=message_id(note_id, self._sender),
            received_at=now,
        )
        known_id, created = await self._database.accept(new)
        if created:
            self._metrics.taken()
            self._outbox.remember(known_id, rendered)
            self._outbox.wake()
        _log.info(
            "note_taken" if created else "note_repeated",
            note_id=known_id,
            key=key,
            call_id=request.call.id if request.call is not None else None,
            kind=request.kind.value,
            recipients=len(request.recipients),
        )
        return known_id, created

    async def list(  # noqa: PLR0917 - query parameters, which FastAPI names
        self,
        client: Annotated[str | None, Query(description="a client's id")] = None,
        call: Annotated[str | None, Query(description="a call's id")] = None,
        key: Annotated[str | None, Query(description="an idempotency key")] = None,
        status: Annotated[
            DeliveryStatus | None, Query(description="at least one recipient's mail is so")
        ] = None,
        before: Annotated[str | None, Query(description="continue a list: its field next")] = None,
        limit: Annotated[int, Query(ge=1, le=1000)] = 50,
    ) -> NoteList:
        """Filters are combined with *and*."""
        for field, value in (("client", client), ("call", call), ("key", key), ("before", before)):
            if value is not None and "\0" in value:
                raise InputError("A filter has no NUL characters", field=field, value=value)
        notes = await self._database.listing(
            client_id=client, call_id=call, key=key, status=status, before=before, limit=limit + 1
        )
        page = notes[:limit]
        return NoteList(notes=page, next=page[-1].id if len(notes) > limit else None)

    async def show(self, note_id: str) -> NoteDetail:
        """The note as it was asked for, the text of its mail and what became of it."""
        info, request = await self._found(note_id)
        attached = await self._database.attached(info.id)
        text = self._renderer.render(request, info.id, attached=attached).text
        return NoteDetail(**dict(info), request=request, text=text)

    async def retry(self, note_id: str) -> RetryAnswer:
        """Recipients who accepted the mail do not get it again."""
        await self._found(note_id)
        requeued = await self._database.retry(note_id, self._now())
        self._outbox.wake()
        info, _ = await self._found(note_id)
        return RetryAnswer(requeued=requeued, note=info)

    async def erase(self, note_id: str) -> ErasedAnswer:
        """Mails that have been sent cannot be called back; what is sent later goes without."""
        await self._found(note_id)
        erased = await self._database.erase_attachments(note_id, self._now())
        _log.info("attachments_erased", note_id=note_id, attachments=erased)
        return ErasedAnswer(erased=erased)

    async def health(self) -> Health:
        """200 as long as notes are taken; 503 when the database is away."""
        queued, oldest = await self._backlog.ask()
        reply = self._outbox.server_reply
        return Health(
            status="degraded" if reply else "ok",
            queued=queued,
            oldest_queued_at=oldest,
            smtp_reply=reply,
        )

    async def ready(self) -> dict[str, bool]:
        """200 as long as notes are taken; 503 when the database is away."""
        await self._backlog.ask()
        return {"ok": True}

    @staticmethod
    async def live() -> dict[str, bool]:
        """That this is answered is the answer; it asks nobody."""
        return {"ok": True}

    async def _found(self, note_id: str) -> tuple[NoteInfo, NoteRequest]:
        found = await self._database.show(note_id) if "\0" not in note_id else None
        if found is None:
            raise _NotFoundError("There is no such note", field="note_id", value=note_id)
        return found

    def _add_error_handlers(self, app: FastAPI) -> None:
        async def invalid(_: Request, error: Exception) -> JSONResponse:
            assert isinstance(error, RequestValidationError)
            first = error.errors()[0]
            field = ".".join(str(part) for part in first["loc"][1:])
            if first["type"] == "json_invalid":
                return _problem(400, "not_json", f"The body is no JSON: {first['msg']}")
            return _problem(
                422, "input", f"{field}: {first['msg']}", field=field, value=first.get("input")
            )

        async def known(request: Request, error: Exception) -> JSONResponse:
            assert isinstance(error, VsekError)
            match error:
                case KeyReusedError():
                    status = 409
                case _NotFoundError() | UnknownCallError():
                    status = 404
                case InputError():
                    status = 422
                case _:
                    status = 503
                    _log.error("not_served", error=str(error), **_call_of(request))
            return _problem(
                status,
                error.error_id,
                error.message,
                field=getattr(error, "field", ""),
                value=getattr(error, "value", None),
                remedy=error.remedy,
            )

        async def http(_: Request, error: Exception) -> JSONResponse:
            assert isinstance(error, HTTPException)
            return _problem(error.status_code, f"http_{error.status_code}", str(error.detail))

        async def database_away(_: Request, error: Exception) -> JSONResponse:
            _log.error("database_failed", error=repr(error))
            return _problem(
                503,
                "database",
                f"The note service's database does not answer: {type(error).__name__}",
                remedy="Try again; if it lasts, see vsek doctor",
            )

        async def not_stored(_: Request, error: Exception) -> JSONResponse:
            return _problem(422, "input", f"The database cannot store this: {error}")

        async def unexpected(_: Request, error: Exception) -> JSONResponse:
            _log.error("request_failed", error=repr(error), exc_info=error)
            return _problem(500, "internal", "The note service failed; its log says more")

        handlers: dict[type[Exception], Callable[[Request, Exception], Awaitable[Response]]] = {
            RequestValidationError: invalid,
            VsekError: known,
            HTTPException: http,
            Exception: unexpected,
            **dict.fromkeys(DATABASE_ERRORS, database_away),
            asyncpg.DataError: not_stored,
        }
        for kind, handler in handlers.items():
            app.add_exception_handler(kind, handler)
