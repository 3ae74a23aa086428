from __future__ import annotations

import html
import re
from html.parser import HTMLParser
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.unit.notify.samples import RECEIVED_AT, call, english, missed, note

from vsek.domain.note import Action, NoteRequest, RecordingFate
from vsek.domain.outcomes import Outcome, Stage
from vsek.notify.render import Renderer
from vsek.notify.view import Undelivered
from vsek.notify.words import WORDS

RENDERER = Renderer("DE")
NOTE_ID = "n260722-120530-k3m9pq"
VOID = {"meta", "br"}


class _Page(HTMLParser):
    """Checks that tags are balanced and collects text and links."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.links: list[str] = []
        self.tags: set[str] = set()
        self.text: list[str] = []
        self.feed(page)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        if tag not in VOID:
            self.open.append(tag)
        for name, value in attrs:
            assert name not in {"src", "background", "onclick", "onload", "onerror"}
            if name == "href":
                self.links.append(value or "")

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] not in {"style", "title"}:
            self.text.extend(data.split())

    @property
    def words(self) -> str:
        return " ".join(self.text)


def _render(request: NoteRequest) -> Any:
    return RENDERER.render(request, NOTE_ID)


def test_a_german_note_as_text() -> None:
    assert (
        _render(note()).text
        == """\
Heizung seit heute früh ausgefallen

=> Bitte zurückrufen – Dringend

Für:                Frau Weber
Anruf von:          Max Müller, Beispiel GmbH
Rückrufnummer:      +49 171 1234567
Angezeigte Nummer:  +49 30 12345678
E-Mail:             max@beispiel.example

Herr Müller ist bis 17 Uhr erreichbar.

Schlüssel beim Bäcker.

Objekt:          Lindenallee 12, 3. OG
Vertragsnummer:  HV-2031-77

Anruf am:        Mi. 22. Juli 2026, 14:03 Uhr
Gespräch:        2 min 13 s mit Jana Krüger
Frühere Anrufe:  2

--\x20
Ihr Telefonsekretariat für Hausverwaltung Nord GmbH
Notiz an: Petra Weber, Jürgen Öztürk
Notiz n260722-120530-k3m9pq
"""
    )


def test_an_english_note_as_text() -> None:
    assert (
        _render(english()).text
        == """\
Wants a quote for re-roofing a barn

=> Please call back

For:        Tom Smith
Call from:  Deborah O'Neill, Acme Ltd
Phone:      +44 20 7946 0123

Called on:  Wed 22 July 2026, 13:03
Talked:     2 min 13 s with Jana Krüger

--\x20
Your telephone secretariat for Smith & Sons Ltd
Note n260722-120530-k3m9pq
"""
    )


@pytest.mark.parametrize(
    ("request_", "subject"),
    [
        (note(), "[Dringend] Anruf: Max Müller, Beispiel GmbH – RR"),
        (note(urgency="normal", action="KN"), "Anruf: Max Müller, Beispiel GmbH – KN"),
        (english(), "Call: Deborah O'Neill, Acme Ltd – please call back"),
        (missed(), "Verpasster Anruf: +49 30 12345678"),
        (missed(caller={"withheld": True}), "Verpasster Anruf: Nummer unterdrückt"),
        (missed(caller={}), "Verpasster Anruf: unbekannt"),
        (
            note(action=None, urgency="normal", incomplete=True),
            "Anruf: Max Müller, Beispiel GmbH (unvollständig)",
        ),
        (
            note(corrects="call:1:auto"),
            "[Dringend] Korrektur: Anruf: Max Müller, Beispiel GmbH – RR",
        ),
        (
            missed(kind="operations", client=None, language="en"),
            "Unknown number called: +49 30 12345670",
        ),
    ],
)
def test_the_subject_says_who_and_what_to_do(request_: NoteRequest, subject: str) -> None:
    assert _render(request_).subject == subject


def test_nothing_confidential_is_in_the_subject() -> None:
    subject = _render(note(concern="Kündigung", text="Diagnose", fields={"Konto": "4711"})).subject
    assert not any(word in subject for word in ("Kündigung", "Diagnose", "4711"))


def test_the_concern_comes_first_in_both_parts() -> None:
    rendered = _render(note())
    assert rendered.text.startswith("Heizung seit heute früh ausgefallen\n")
    assert _Page(rendered.html).words.startswith("Heizung seit heute früh ausgefallen Dringend")


def test_the_html_dials_writes_and_loads_nothing() -> None:
    page = _Page(_render(note()).html)
    assert page.links == ["tel:+491711234567", "tel:+493012345678", "mailto:max@beispiel.example"]
    assert not page.tags & {"img", "link", "script", "iframe", "form", "object", "svg"}
    assert "url(" not in _render(note()).html
    assert "http" not in _render(note()).html


@pytest.mark.parametrize("request_", [note(), english(), missed(), note(call=None, fields={})])
def test_both_parts_say_the_same(request_: NoteRequest) -> None:
    rendered = _render(request_)
    words = _Page(rendered.html).words
    for line in rendered.text.splitlines():
        value = re.sub(r"^(=> |-- ?$|[^:]{2,20}:  +)", "", line).strip()
        for part in value.split(" – "):
            assert part in words


def test_a_number_given_twice_is_shown_once() -> None:
    caller = {"number_shown": "+493012345678", "number_dictated": "030 12345678"}
    rendered = _render(note(caller=caller))
    assert _Page(rendered.html).links == ["tel:+493012345678"]
    assert rendered.text.count("12345678") == 1
    assert "Telefon:" in rendered.text


def test_a_withheld_number_is_called_so_and_a_dictated_one_still_counts() -> None:
    assert "Nummer unterdrückt" in _render(missed(caller={"withheld": True})).text
    caller = {"withheld": True, "number_dictated": "+491711234567"}
    rendered = _render(note(caller=caller))
    assert "+49 171 1234567" in rendered.text
    assert "unterdrückt" not in rendered.text


@pytest.mark.parametrize(
    ("changes", "headline"),
    [
        ({}, "Verpasster Anruf: nach 42 s Wartezeit aufgelegt."),
        ({"stage": "greeting"}, "Verpasster Anruf: während der Begrüßung aufgelegt."),
        ({"stage": "announcement"}, "Verpasster Anruf: die Ansage lief, dann wurde aufgelegt."),
        (
            {"stage": "announcement", "reason": "closed"},
            "Verpasster Anruf außerhalb der Servicezeiten; die Ansage lief.",
        ),
        (
            {"outcome": "failed"},
            "Verpasster Anruf: eine technische Störung hat ihn abgebrochen.",
        ),
        ({"ended_at": None}, "Verpasster Anruf: aufgelegt, bevor jemand abheben konnte."),
        (
            {"stage": "greeting", "reason": "found_gone"},
            "Verpasster Anruf: es kam kein Gespräch zustande.",
        ),
        ({"reason": "ring_limit"}, "Verpasster Anruf: es kam kein Gespräch zustande."),
        ({"outcome": None}, "Verpasster Anruf: es kam kein Gespräch zustande."),
    ],
)
def test_a_missed_call_says_what_happened(changes: dict[str, Any], headline: str) -> None:
    lost = {**missed().model_dump()["call"], **changes}
    assert _render(missed(call=lost)).text.startswith(headline)


@pytest.mark.parametrize(("reason", "told"), [("found_gone", False), ("ring_limit", True)])
def test_a_waiting_time_that_nobody_knows_is_not_told(reason: str, told: bool) -> None:
    lost = {**missed().model_dump()["call"], "reason": reason}
    assert ("Wartezeit:" in _render(missed(call=lost)).text) is told


@pytest.mark.parametrize("language", ["de", "en"])
@pytest.mark.parametrize("outcome", list(Outcome))
@pytest.mark.parametrize("stage", list(Stage))
def test_every_end_of_a_call_has_a_headline(language: str, outcome: Outcome, stage: Stage) -> None:
    lost = {**missed().model_dump()["call"], "outcome": outcome, "stage": stage}
    rendered = _render(missed(call=lost, language=language))
    assert rendered.text.splitlines()[0].strip().endswith(".")
    _Page(rendered.html)


FALLBACK_ENDS = [
    ("voicemail", "fallback", "fallback", "gestört; es wurde eine Nachricht", "left a message"),
    ("failed", "fallback", "fallback", "Ansage gehört, keine Nachricht", "no message left"),
    ("abandoned", "fallback", "caller_hangup", "vor der Ansage wurde aufgelegt", "before the ann"),
    ("abandoned", "arriving", "missed", "bevor jemand abheben konnte", "before anybody could"),
    ("abandoned", "screening", "caller_hangup", "Name und Anliegen aufgelegt", "name and concern"),
    ("abandoned", "briefing", "caller_hangup", "nach 42 s aufgelegt, kurz vor", "after 42 s, just"),
    ("blocked", "screening", "fax", "Ein Faxgerät hat angerufen.", "A fax machine called."),
]


@pytest.mark.parametrize(("outcome", "stage", "reason", "german", "english"), FALLBACK_ENDS)
def test_calls_without_a_switchboard_or_an_answer_in_plain_words(
    outcome: str, stage: str, reason: str, german: str, english: str
) -> None:
    kind = "voicemail" if outcome == "voicemail" else "missed_call"
    lost = missed().model_dump()["call"] | {"outcome": outcome, "stage": stage, "reason": reason}
    for language, words in (("de", german), ("en", english)):
        rendered = _render(missed(call=lost, language=language, kind=kind))
        first = rendered.text.splitlines()[0]
        assert words in first
        assert first in html.unescape(rendered.html)


@pytest.mark.parametrize("language", ["de", "en"])
@pytest.mark.parametrize("fate", list(RecordingFate))
@pytest.mark.parametrize("kind", ["screening", "voicemail"])
def test_every_fate_of_a_recording_is_told(language: str, fate: RecordingFate, kind: str) -> None:
    told = {"kind": kind, "seconds": 14.3, "consent": True, "fate": fate, "attachment": "c.wav"}
    audio = [{"name": "c.wav", "content": "UklGRg=="}]
    rendered = _render(missed(language=language, recordings=[told], attachments=audio))
    words = WORDS[language]  # type: ignore[index]
    assert f"{words.recording[kind]}:" in rendered.text
    assert words.recording_fate[fate] in " ".join(rendered.text.split())
    assert words.recording_fate[fate] in html.unescape(rendered.html)


def test_what_was_chosen_and_heard_before_the_talk() -> None:
    screening = {"finding": "music", "key": "2", "choice": "Reparatur <b>"}
    rendered = _render(missed(screening=screening))
    assert "Auswahl:" in rendered.text
    assert "Reparatur <b> (Taste 2)" in rendered.text
    assert "Reparatur &lt;b&gt; (Taste 2)" in rendered.html
    assert "war nur Musik zu hören" in rendered.text
    rendered = _render(missed(screening=screening, language="en"))
    assert "Reparatur <b> (key 2)" in rendered.text
    assert "Nothing but music" in rendered.text
    # Speech needs no words: the agent talked with them, or the recording says it.
    assert "Zu hören" not in _render(missed(screening={"finding": "speech"})).text


def test_a_message_without_a_word_is_none() -> None:
    lost = missed().model_dump()["call"] | {"outcome": "voicemail", "reason": "fallback"}
    told = [{"kind": "voicemail", "fate": "empty"}]
    rendered = _render(missed(call=lost, kind="voicemail", recordings=told))
    assert "Ansage gehört, danach nichts gesagt." in rendered.text
    assert "ohne Inhalt" in rendered.text


@pytest.mark.parametrize(
    ("kind", "outcome", "german", "english"),
    [
        ("callback", "callback", "Rückrufwunsch", "Call back requested"),
        ("forwarded", "forwarded", "Weitergeleiteter Anruf", "Forwarded call"),
        ("voicemail", "voicemail", "Sprachnachricht", "Voice message"),
    ],
)
def test_what_callers_got_instead_of_an_agent(
    kind: str, outcome: str, german: str, english: str
) -> None:
    for language, what in (("de", german), ("en", english)):
        words = WORDS[language]  # type: ignore[index]
        for reason in ("caller_hangup", "found_gone", "promised"):
            end = missed().model_dump()["call"] | {"outcome": outcome, "reason": reason}
            end |= {"forwarded_to": "+493098765432"} if kind == "forwarded" else {}
            rendered = _render(missed(call=end, kind=kind, language=language))
            assert rendered.subject.startswith(f"{what}: ")
            assert rendered.text.startswith(words.outcome[Outcome(outcome)])
            assert ("+49 30 98765432" in rendered.text) == (kind == "forwarded")


def test_who_was_asked_for_a_message_and_said_nothing() -> None:
    end = missed().model_dump()["call"] | {"outcome": "voicemail", "reason": "message"}
    told = [{"kind": "voicemail", "fate": "empty"}]
    for language in ("de", "en"):
        words = WORDS[language]
        rendered = _render(missed(call=end, kind="voicemail", recordings=told, language=language))
        assert rendered.subject.startswith(words.subject_missed)
        assert rendered.text.startswith(words.no_message)


@pytest.mark.parametrize(
    ("language", "subject", "more"),
    [
        ("de", "Abgewiesene Anrufe: 22. Juli 2026", "und 3 weitere"),
        ("en", "Calls turned away: 22 July 2026", "and 3 more"),
    ],
)
def test_a_digest_names_each_call(language: str, subject: str, more: str) -> None:
    at = RECEIVED_AT
    calls = [
        {"received_at": at, "number": "+493012345678", "reason": "fax"},
        {"received_at": at, "withheld": True},
        {"received_at": at, "name": "<b>Karl</b>"},
        {"received_at": at},
    ]
    digest = {"day": "2026-07-22", "total": 7, "calls": calls}
    rendered = _render(missed(kind="digest", digest=digest, language=language, caller={}))
    words = WORDS[language]  # type: ignore[index]
    assert rendered.subject == subject
    lines = rendered.text.splitlines()
    assert lines[0].endswith("2026: 7.")
    assert f"14:03:  +49 30 12345678: {words.fax}" in lines
    assert f"14:03:  {words.withheld}" in lines
    assert "14:03:  <b>Karl</b>" in lines
    assert f"14:03:  {words.unknown_caller}" in lines
    assert more in rendered.text
    assert "&lt;b&gt;Karl" in rendered.html
    assert 'href="tel:+493012345678"' in rendered.html


def test_audio_that_is_not_there_any_more_is_not_promised() -> None:
    told = [{"kind": "voicemail", "seconds": 3, "fate": "attached", "attachment": "c.wav"}]
    request = missed(recordings=told, attachments=[{"name": "c.wav", "content": "UklGRg=="}])
    assert "3 s, im Anhang" in RENDERER.render(request, NOTE_ID).text
    assert "3 s, gelöscht" in RENDERER.render(request, NOTE_ID, attached=()).text


def test_an_unfinished_note_says_so_above_all_else() -> None:
    rendered = _render(note(incomplete=True, concern="", text="", fields={}, action=None))
    assert rendered.text.startswith("** Diese Notiz ist noch unvollständig.")
    assert "Noch kein Anliegen notiert." in rendered.text


def test_a_correction_says_so_above_all_else() -> None:
    assert _render(note(corrects="call:1:auto")).text.startswith("** Korrektur:")


def test_text_without_a_concern_has_a_plain_headline() -> None:
    assert _render(note(concern="")).text.startswith("Gesprächsnotiz\n")


def test_operations_learn_the_numbers() -> None:
    rendered = _render(missed(kind="operations", client=None, language="en"))
    assert "Number dialled:  +49 30 12345670" in rendered.text
    assert "Forwarded by:    +49 30 99887766" in rendered.text
    assert "Call no.:        260722-120311-abc234" in rendered.text
    assert "enter it in the account" in rendered.text


@pytest.mark.parametrize(
    ("language", "subject", "headline", "remedy"),
    [
        ("en", "Call in a loop: +49 30 12345670", "A call was forwarded in a circle", "forwarding"),
        ("de", "Anruf im Kreis: +49 30 12345670", "Ein Anruf ist im Kreis", "Rufumleitungen"),
    ],
)
def test_operations_learn_of_calls_that_go_round(
    language: str, subject: str, headline: str, remedy: str
) -> None:
    went = call(answered_at=None, outcome="failed", stage="arriving", reason="loop")
    request = missed(kind="operations", client=None, language=language, call=went)
    rendered = _render(request)
    assert rendered.subject == subject
    assert rendered.text.startswith(headline)
    assert remedy in rendered.text
    assert "+49 30 99887766" in rendered.text


def test_the_copy_for_operations_names_who_did_not_get_it_and_why() -> None:
    failures = Undelivered(("weber@nord.example: 550 no such user",))
    rendered = RENDERER.render(note(), NOTE_ID, undelivered=failures)
    assert rendered.subject.startswith("[Unzustellbar] ")
    assert "weber@nord.example: 550 no such user" in rendered.text
    assert "weber@nord.example: 550 no such user" in _Page(rendered.html).words


HOSTILE = '<script>alert("x")</script>\r\nBcc: all@x.example\n<img src=http://x.example/a.png>'


def test_hostile_callers_stay_text() -> None:
    rendered = _render(
        note(
            caller={
                "name": HOSTILE,
                "company": HOSTILE,
                "number_dictated": HOSTILE,
                "email": HOSTILE,
            },
            concern=HOSTILE,
            text=HOSTILE,
            fields={HOSTILE: HOSTILE},
            for_contact=HOSTILE,
            taken_by=HOSTILE,
            client={"id": "x", "name": HOSTILE},
        )
    )
    page = _Page(rendered.html)
    assert not page.tags & {"script", "img"}
    assert page.links == []
    assert "\n" not in rendered.subject
    assert "\r" not in rendered.subject


@settings(deadline=None)  # other work on the machine is no fault
@given(st.text(max_size=80), st.text(max_size=300), st.text(max_size=80))
def test_any_text_gives_a_sound_mail(name: str, text: str, phone: str) -> None:
    request = note(
        caller={"name": name, "number_dictated": phone, "email": name},
        concern=name,
        text=text,
        fields={name: text},
    )
    rendered = _render(request)
    _Page(rendered.html)
    assert "\n" not in rendered.subject


def test_long_lines_are_wrapped_but_no_word_is_cut() -> None:
    address = "https://example.com/" + "a" * 90
    text = _render(note(text="wort " * 40 + address)).text
    assert address in text
    assert max(len(line) for line in text.splitlines() if address not in line) <= 76


def test_every_language_has_all_actions_and_formats() -> None:
    for words in WORDS.values():
        assert set(words.action) == set(words.subject_action) == set(Action)
        assert len(words.months) == 12
        assert len(words.weekdays) == 7


def test_a_call_that_still_goes_on_has_no_duration() -> None:
    rendered = _render(note(call=call(ended_at=None)))
    assert "Angenommen von:" in rendered.text
    assert "Gespräch:" not in rendered.text
