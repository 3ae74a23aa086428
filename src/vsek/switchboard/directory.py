"""From the database's clients and agents to what calls need: numbers, hours, media, rules."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import date

import structlog

from vsek.acd.hours import DayHours, OpenSpan
from vsek.acd.rules import Rules
from vsek.call.model import AgentEntry, ClientScript, Screening
from vsek.call.model import Directory as CallDirectory
from vsek.domain.client import Client, Policy
from vsek.domain.client import Screening as WantedScreening
from vsek.domain.directory import ClientEntry, Directory
from vsek.domain.hours import public_holidays
from vsek.domain.ids import ClientId
from vsek.settings import Settings

log = structlog.get_logger(__name__)

DEFAULT_MUSIC = "default"


def music_class(client_id: str) -> str:
    """Name of a client's own music-on-hold class."""
    return f"client-{client_id}"


def for_calls(
    directory: Directory,
    settings: Settings,
    media: Callable[[str], str],
    announcements: Mapping[str, str],
    today: date,
) -> CallDirectory:
    """The directory as the call scripts use it.

    ``media`` gives the media URI of a sound's hash, ``announcements`` the house's own. Public
    holidays are told from the year of ``today`` on.
    """
    calls = settings.calls
    dids: dict[str, ClientId] = {}
    forwarders: dict[str, ClientId] = {}
    for client_id, entry in directory.clients.items():
        for kind, number in entry.client.numbers:
            (dids if kind == "did" else forwarders)[number] = client_id
    return CallDirectory(
        clients={
            client_id: _script(entry, media, announcements, today)
            for client_id, entry in directory.clients.items()
        },
        dids=dids,
        forwarders=forwarders,
        agents={
            agent.id: AgentEntry(agent.id, agent.name, agent.language)
            for agent in directory.agents.values()
        },
        announcements=dict(announcements),
        default_language=settings.default_language,
        rules=Rules(
            ring_timeout_s=calls.ring_timeout_s,
            rona_park_s=calls.rona_park_s,
            refusal_park_s=calls.refusal_park_s,
        ),
        wrap_up_s=calls.wrap_up_s,
        note_grace_s=calls.note_grace_s,
    )


def _script(
    entry: ClientEntry,
    media: Callable[[str], str],
    announcements: Mapping[str, str],
    today: date,
) -> ClientScript:
    client = entry.client
    return ClientScript(
        client.id,
        client.name,
        client.language,
        client.timezone,
        client.policy.value,
        media(entry.greeting_sound) if entry.greeting_sound else "",
        music_class(client.id) if entry.music_sound else DEFAULT_MUSIC,
        _spans(client),
        _days(client, today),
        client.wrap_up_s,
        _screening(entry, media, announcements) if client.policy is Policy.SCREEN else None,
    )


def _screening(
    entry: ClientEntry, media: Callable[[str], str], announcements: Mapping[str, str]
) -> Screening | None:
    """``None`` where callers cannot be asked, or cannot be told that they are recorded."""
    client = entry.client
    wanted = client.screening or WantedScreening()
    notice = announcements.get(f"recorded.{client.language}", "")
    if entry.prompt_sound is None:
        prompt = announcements.get(f"screening.{client.language}", "")
        record = wanted.record and bool(prompt)
    else:
        prompt = media(entry.prompt_sound)
        record = wanted.record and bool(notice)
        if record:
            prompt = f"{prompt},{notice}"
    if not prompt or not (record or wanted.keys):
        log.error(
            "no_screening",
            client_id=client.id,
            remedy="Callers cannot be told that they are recorded: install a speech engine "
            "(setting sounds.speech)",
        )
        return None
    if record:
        prompt = f"{prompt},{announcements['tone']}"
    return Screening(prompt, record, wanted.attach, wanted.max_s, dict(wanted.keys))


def _days(client: Client, today: date) -> tuple[DayHours, ...]:
    """The client's own days first: who works on a holiday says so there."""
    own = [DayHours(d.first.toordinal(), d.last.toordinal(), d.hours) for d in client.days]
    kept = []
    if client.holidays is not None:
        for year in (today.year - 1, today.year, today.year + 1):
            days = public_holidays(client.holidays, year)
            kept += [DayHours(day.toordinal(), day.toordinal()) for day in days]
    return (*own, *kept)


def _spans(client: Client) -> tuple[OpenSpan, ...]:
    return tuple(
        OpenSpan(frozenset({period.day}), period.start_min, period.end_min)
        for period in client.hours.periods
    )
