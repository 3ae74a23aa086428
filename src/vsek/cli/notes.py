"""``vsek note …``: what agents write down, and its delivery by e-mail."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Annotated, Any

import typer

from vsek.cli import output, run
from vsek.cli.run import Folder, Json
from vsek.domain.draft import DraftStage, DraftState, UnknownCallError
from vsek.domain.ids import is_call_id
from vsek.domain.note import Action, Urgency
from vsek.errors import InputError, ServiceError
from vsek.notify.client import NotesClient, NotesRefusedError
from vsek.notify.model import DeliveryStatus, NoteDetail, NoteInfo, NoteList, RetryAnswer
from vsek.settings import Settings

app = typer.Typer(help="Notes: what the client gets by e-mail about each call.")

_NoteId = Annotated[str, typer.Argument(metavar="NOTE", help="Id from 'vsek note list'.")]
_Text = Annotated[str | None, typer.Option(metavar="TEXT")]


@asynccontextmanager
async def _service_with(settings: Settings, note_id: str) -> AsyncIterator[NotesClient]:
    """The note service; where it does not know ``note_id``, the error says how to find ids."""
    async with run.note_service(settings) as service:
        try:
            yield service
        except NotesRefusedError as error:
            if error.status != 404:
                raise
            raise await _no_note(service, note_id) from None


async def _no_note(service: NotesClient, text: str) -> InputError:
    message, call = f"There is no note {text!r}", "CALL"
    of_call, of_key = await service.list(call=text, limit=1), await service.list(key=text, limit=1)
    if of_call.notes:
        message, call = f"{message}: that is a call", text
    elif of_key.notes:
        message = f"{message}: that is the key of note {of_key.notes[0].id}"
        call = of_key.notes[0].call_id or call
    return InputError(
        message,
        field="NOTE",
        value=text,
        remedy=f"Find the note's id with: vsek note list --call {call}",
        error_id="unknown_note",
    )


@app.command("list")
def list_notes(
    ctx: typer.Context,
    client: Annotated[str | None, typer.Option(metavar="ID", help="Only this client's.")] = None,
    call: Annotated[str | None, typer.Option(metavar="CALL", help="Only this call's.")] = None,
    status: Annotated[
        DeliveryStatus | None,
        typer.Option(
            parser=run.one_of(DeliveryStatus, "--status"),
            metavar="STATUS",
            help="Only notes with a delivery that is queued, accepted, bounced or given_up.",
        ),
    ] = None,
    before: Annotated[
        str | None, typer.Option(metavar="NEXT", help="Go on where a list ended.")
    ] = None,
    limit: Annotated[int, typer.Option(min=1, max=1000, metavar="N")] = 50,
    as_json: Json = False,
    folder: Folder = None,
) -> None:
    """List notes that went to the note service, the newest first."""
    settings = run.settings_of(ctx, folder)

    async def work() -> NoteList:
        async with run.note_service(settings) as service:
            found = await service.list(
                client=client, call=call, status=status, before=before, limit=limit
            )
        if client is not None and not found.notes:
            # The note service knows no clients; without the database the list is just empty.
            with suppress(ServiceError):
                async with run.database(settings) as connection:
                    await run.must_be_client(connection, client)
        return found

    found = run.wait(work())
    if as_json:
        output.json(found)
        return
    output.table(
        ("Note", "Received", "Client", "Subject", "State", "Recipients"),
        (
            (
                note.id,
                note.received_at,
                note.client_name or "(operations)",
                note.subject,
                note.state,
                [f"{to.email} {to.status}" for to in note.deliveries],
            )
            for note in found.notes
        ),
        empty="No notes.",
    )
    if found.next:
        output.hint(f"There are more: --before {found.next}")


@app.command("show")
def show(
    ctx: typer.Context, note_id: _NoteId, as_json: Json = False, folder: Folder = None
) -> None:
    """Show a note with its text and what each recipient's mail server said."""
    settings = run.settings_of(ctx, folder)

    async def work() -> NoteDetail:
        async with _service_with(settings, note_id) as service:
            return await service.show(note_id)

    note = run.wait(work())
    if as_json:
        output.json(note)
        return
    output.facts(
        [
            ("Note", note.id),
            ("Call", note.call_id),
            ("Client", note.client_name),
            ("Subject", note.subject),
            ("Corrects", note.corrects),
            ("Incomplete", note.incomplete),
            ("State", note.state),
        ]
    )
    _deliveries(note)
    typer.echo(f"\n{note.text}")


def _deliveries(note: NoteInfo) -> None:
    output.table(
        ("Recipient", "Status", "Attempts", "Next", "Mail server said"),
        (
            (
                to.email,
                to.status,
                to.attempts,
                to.next_at,
                f"{to.reply_code or ''} {to.reply}".strip(),
            )
            for to in note.deliveries
        ),
        empty="Nobody is to get this note.",
    )


@app.command("retry")
def retry(
    ctx: typer.Context, note_id: _NoteId, as_json: Json = False, folder: Folder = None
) -> None:
    """Send a note again to those recipients whose mail was not accepted."""
    settings = run.settings_of(ctx, folder)

    async def work() -> RetryAnswer:
        async with _service_with(settings, note_id) as service:
            return await service.retry(note_id)

    answer = run.wait(work())
    if as_json:
        output.json(answer)
        return
    typer.echo(f"{answer.requeued} queued again")
    _deliveries(answer.note)


@app.command("write")
def write(
    ctx: typer.Context,
    call_id: Annotated[str, typer.Argument(metavar="CALL", help="Id from 'vsek call list'.")],
    text: Annotated[
        str | None, typer.Option(metavar="TEXT", help="The note itself; '-' reads it from stdin.")
    ] = None,
    concern: Annotated[
        str | None, typer.Option(metavar="TEXT", help="The matter in one line.")
    ] = None,
    for_contact: Annotated[
        str | None, typer.Option("--for", metavar="NAME", help="Whom the caller wanted.")
    ] = None,
    caller_name: Annotated[str | None, typer.Option("--name", metavar="NAME")] = None,
    caller_company: Annotated[str | None, typer.Option("--company", metavar="NAME")] = None,
    caller_phone: Annotated[
        str | None, typer.Option("--phone", metavar="NUMBER", help="As the caller dictated it.")
    ] = None,
    caller_email: Annotated[str | None, typer.Option("--email", metavar="ADDRESS")] = None,
    action: Annotated[
        Action | None,
        typer.Option(
            parser=run.one_of(Action, "--action"),
            metavar="RR|RWA|KN|OK",
            help="RR please call back, RWA will call again, KN for information, OK done.",
        ),
    ] = None,
    urgent: Annotated[
        bool | None, typer.Option("--urgent/--not-urgent", show_default=False)
    ] = None,
    fields: Annotated[
        list[str] | None,
        typer.Option("--field", metavar="NAME=VALUE", help="The client's own field; repeatable."),
    ] = None,
    author: Annotated[
        str, typer.Option(metavar="NAME", help="Who writes. (default: the call's agent)")
    ] = "",
    finish: Annotated[
        bool, typer.Option("--finish", help="The note may leave; later changes are corrections.")
    ] = False,
    as_json: Json = False,
    folder: Folder = None,
) -> None:
    """Write the note of a call; what is not given stays as it is."""
    settings = run.settings_of(ctx, folder)
    given: dict[str, Any] = {
        "text": sys.stdin.read() if text == "-" else text,
        "concern": concern,
        "for_contact": for_contact,
        "caller_name": caller_name,
        "caller_company": caller_company,
        "caller_phone": caller_phone,
        "caller_email": caller_email,
        "action": action,
        "urgency": None if urgent is None else Urgency.URGENT if urgent else Urgency.NORMAL,
    }
    changes = {name: value for name, value in given.items() if value is not None}
    own_fields = dict(_pair(one) for one in fields or ())
    state = run.wait(_write(settings, call_id, changes, own_fields, finish=finish, author=author))
    if as_json:
        output.json(state)
        return
    typer.echo(f"Note of call {call_id}: {_written(state)}")


def _written(state: DraftState) -> str:
    due = state.due_at
    if state.state is DraftStage.SENT:
        correction = "; the correction leaves now" if due else ""
        return f"sent{correction} (revision {state.revision})"
    leaves = f", leaves at {output.shown(due)}" if due else ""
    return f"{state.state}, revision {state.revision}{leaves}"


async def _write(
    settings: Settings,
    call_id: str,
    changes: dict[str, Any],
    own_fields: dict[str, str],
    *,
    finish: bool,
    author: str,
) -> DraftState:
    async with run.note_service(settings) as service:
        try:
            before = (await service.draft(call_id)).draft
            draft = before.model_dump(mode="json") | changes
            draft["fields"] = before.fields | own_fields
            return await service.write_draft(call_id, draft, finish=finish, author=author)
        except NotesRefusedError as error:
            # What is at notes.url and lacks the route answers 404 as well.
            unknown = error.error_id == UnknownCallError.error_id or not is_call_id(call_id)
            if error.status == 404 and unknown:
                raise UnknownCallError(call_id) from None
            raise


def _pair(text: str) -> tuple[str, str]:
    name, sign, value = text.partition("=")
    if not sign or not name.strip():
        raise InputError(
            "A field needs a name and a value",
            field="--field",
            value=text,
            remedy="Write it like --field 'Order number=4711'",
        )
    return name.strip(), value.strip()
