"""From the database's clients and agents to what calls need: numbers, hours, media, rules."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import date

import msgspec
import structlog

from vsek.acd.hours import Closure, DayHours, OpenSpan
from vsek.acd.rules import (
    Action,
    Admits,
    AgentRules,
    Circle,
    Clearance,
    ClientRules,
    Group,
    Order,
    Rules,
    Target,
    Treatment,
)
from vsek.call.model import AgentEntry, ClientScript, Outbound, Screening
from vsek.call.model import Directory as CallDirectory
from vsek.domain.client import Client, Policy
from vsek.domain.client import Screening as WantedScreening
from vsek.domain.directory import ClientEntry, Directory
from vsek.domain.distribution import AgentRules as WantedAgent
from vsek.domain.distribution import GroupRules as WantedGroup
from vsek.domain.distribution import RuleBook
from vsek.domain.distribution import Target as WantedTarget
from vsek.domain.hours import DayRule, Hours, public_holidays
from vsek.domain.ids import AgentId, ClientId
from vsek.domain.treatments import Do
from vsek.domain.treatments import Treatment as WantedTreatment
from vsek.settings import CallSettings, Settings

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
    calls, outbound = settings.calls, settings.outbound
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
        rules=rules(directory, calls, media),
        wrap_up_s=calls.wrap_up_s,
        note_grace_s=calls.note_grace_s,
        outbound=Outbound(outbound.number, outbound.ring_s) if outbound.endpoint else None,
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
        _spans(client.hours),
        (*_own_days(client.days), *_holidays(client, today)),
        client.wrap_up_s,
        _screening(entry, media, announcements) if client.policy is Policy.SCREEN else None,
        tuple(Closure(*one.span(client.timezone)) for one in client.temporary if one.closed),
        frozenset(client.vip),
        client.known_days,
    )


def _screening(
    entry: ClientEntry, media: Callable[[str], str], announcements: Mapping[str, str]
) -> Screening | None:
    """``None`` where callers cannot be asked, or cannot be told that they are recorded."""
    client = entry.client
    wanted = client.screening or WantedScreening()
    ask = announcements.get(f"screening.{client.language}", "")  # and says that it records
    prompt, notice = ask, ""
    if entry.prompt_sound is not None:
        prompt = media(entry.prompt_sound)
        if wanted.record:
            notice = announcements.get(f"recorded.{client.language}", "")
    elif wanted.record:
        prompt, notice = "", ask
    if not notice and not (prompt and wanted.keys):
        log.error(
            "no_screening",
            client_id=client.id,
            remedy="Callers cannot be told that they are recorded: install a speech engine "
            "(setting sounds.speech)",
        )
        return None
    tone = announcements["tone"] if notice else ""
    return Screening(prompt, notice, tone, wanted.attach, wanted.max_s, dict(wanted.keys))


def _own_days(days: tuple[DayRule, ...]) -> tuple[DayHours, ...]:
    return tuple(DayHours(d.first.toordinal(), d.last.toordinal(), d.hours) for d in days)


def _holidays(client: Client, today: date) -> list[DayHours]:
    """They come after the client's own days: who works on a holiday says so there."""
    if client.holidays is None:
        return []
    return [
        DayHours(day.toordinal(), day.toordinal())
        for year in (today.year - 1, today.year, today.year + 1)
        for day in public_holidays(client.holidays, year)
    ]


def _spans(hours: Hours) -> tuple[OpenSpan, ...]:
    return tuple(
        OpenSpan(frozenset({period.day}), period.start_min, period.end_min)
        for period in hours.periods
    )


# ── rules of the distribution ────────────────────────────────────────────────────────────────


def rules(directory: Directory, calls: CallSettings, media: Callable[[str], str]) -> Rules:
    """The rules as the distribution uses them.

    Times that the rules leave open come from the settings. Who has no rules of their own, client
    or agent, does not stand in them: the distribution has a default for each.
    """
    clients = {
        client_id: _client_rules(entry, media) for client_id, entry in directory.clients.items()
    }
    nothing = ClientRules()
    return with_book(
        Rules(
            ring_timeout_s=calls.ring_timeout_s,
            rona_park_s=calls.rona_park_s,
            refusal_park_s=calls.refusal_park_s,
            version=directory.rules_version,
            clients={client_id: own for client_id, own in clients.items() if own != nothing},
        ),
        directory.rules,
    )


def with_book(rules: Rules, book: RuleBook) -> Rules:
    """``rules`` with the house's part as it stands in ``book``; the clients' part stays, and so do
    the times that the book leaves open."""
    return msgspec.structs.replace(
        rules,
        **book.times.model_dump(exclude_none=True),
        groups={name: _group(group) for name, group in book.groups.items()},
        agents={AgentId(name): _agent(agent) for name, agent in book.agents.items()},
    )


def _group(wanted: WantedGroup) -> Group:
    return Group(
        team=wanted.team,
        circles=tuple(Circle(after, Admits(who)) for who, after in wanted.circles.items()),
        order=Order(wanted.order),
        level_first=wanted.level_first,
        overflow_to=wanted.overflow_to,
        new_clients=wanted.new_clients,
    )


def _agent(wanted: WantedAgent) -> AgentRules:
    cleared = {group: Clearance(how) for group, how in wanted.cleared.items()}
    return AgentRules(wanted.team, dict(wanted.skills), cleared, wanted.position)


def _client_rules(entry: ClientEntry, media: Callable[[str], str]) -> ClientRules:
    client = entry.client
    default = ClientRules()
    # Stored before there were treatments, a client has no sounds for them.
    sounds = (*entry.announcement_sounds, *(None for _ in client.when_nobody_can))
    return ClientRules(
        group=client.group or "",
        requires=dict(client.requires),
        target=_target(client.target, default.target),
        vip_target=_target(client.vip_target, default.vip_target),
        hold_s=client.hold_s,
        learn_beside_trained=client.learn_beside_trained,
        treatments=tuple(
            _treatment(wanted, media(sound) if sound else "", client.timezone)
            for wanted, sound in zip(client.when_nobody_can, sounds, strict=False)
        ),
    )


def _target(wanted: WantedTarget | None, default: Target) -> Target:
    return default if wanted is None else Target(wanted.percent / 100, wanted.within_s)


def _treatment(wanted: WantedTreatment, media: str, timezone: str) -> Treatment:
    detail = {Do.ANNOUNCE: media, Do.FORWARD: wanted.to, Do.REGROUP: wanted.group}
    return Treatment(
        action=Action(wanted.do),
        detail=detail.get(wanted.do) or "",
        after_s=wanted.after_s,
        waiting=wanted.waiting,
        expected_s=wanted.expected_s,
        nobody=wanted.nobody,
        every_s=wanted.every_s,
        hours=_spans(wanted.hours),
        timezone=timezone,
        days=_own_days(wanted.days),
    )
