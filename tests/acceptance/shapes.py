"""Ways in which networks say who was called, who calls and who forwarded: one table.

``test_shapes`` sends each of them to a real Asterisk; the table in docs/numbers.md is made of it
(``table()``).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

UNKNOWN = "–"
LOOP = "loop"

CLIENTS = """\
clients:
  - {id: own, name: Own GmbH, numbers: {did: [+49 30 5550 2010]}, CONTACTS}
  - id: block
    name: Block AG
    numbers: {did: ["+49 30 777 660*"], forwarding: ["0341 600*"]}
    CONTACTS
  - {id: letters, name: Flowers, numbers: {did: [0800 FLOWERS]}, CONTACTS}
  - {id: vienna, name: Wien, numbers: {did: [+43 1 5350500]}, CONTACTS}
  - {id: zurich, name: Zürich, numbers: {did: [+41 44 668 18 00]}, CONTACTS}
  - {id: london, name: London, numbers: {did: [+44 20 7946 0123]}, CONTACTS}
  - {id: boston, name: Boston, numbers: {did: [+1 617 555 0100]}, CONTACTS}
  - {id: inside, name: Inside, numbers: {did: ["4711"]}, CONTACTS}
  - {id: office, name: Office, numbers: {forwarding: [0341 5550200]}, CONTACTS}
  - {id: mobile, name: Mobile, numbers: {forwarding: [+49 171 2345678]}, CONTACTS}
""".replace("CONTACTS", "contacts: [{name: X, email: x@shapes.example, notes: true}]")
"""Clients of the table."""
SHARED = "+493055509999"
"""A number of the service that several clients share: it stands nowhere."""
AREA_CODE = "30"

CALLER = "+4940555000"
OWN, OFFICE, MOBILE = "+493055502010", "+493415550200", "+491712345678"


@dataclass(frozen=True)
class Shape:
    """One way. ``headers`` are as they stand in the message."""

    id: str
    uri: str
    """User part of the request URI with what belongs to it; or a whole URI."""
    headers: tuple[str, ...]
    client: str
    """Id of the client, ``UNKNOWN`` or ``LOOP``."""
    caller: str = CALLER
    """The number shown; empty: withheld, or none."""
    registered: bool = False
    """Comes over a trunk where vsek registers."""


def div(*users: str) -> tuple[str, ...]:
    """Diversion headers, the most recent first."""
    return tuple(f"Diversion: <sip:{user}@c.invalid>;reason=unconditional" for user in users)


def hist(*entries: str) -> tuple[str, ...]:
    """History-Info headers of entries like ``1.1 +4930…``."""
    pairs = (entry.split(" ", 1) for entry in entries)
    return tuple(f"History-Info: <sip:{user}@c.invalid>;index={index}" for index, user in pairs)


def _s(key: str, uri: str, *headers: str, to: str, caller: str = CALLER) -> Shape:
    return Shape(key, uri, headers, to, caller)


def _r(key: str, *headers: str, to: str, uri: str = "vsek-1") -> Shape:
    return Shape(
        key,
        uri,
        (*headers, f"P-Asserted-Identity: <sip:{CALLER}@c.invalid>"),
        to,
        registered=True,
    )


DIALLED = [
    _s("e164", OWN, to="own"),
    _s("double-zero", "00493055502010", to="own"),
    _s("national", "03055502010", to="own"),
    _s("no-plus", "493055502010", to="own"),
    _s("local", "55502010", to="own"),
    _s("local-separators", "5550-20.10", to="own"),
    _s("internal", "4711", to="inside"),
    _s("separators", "+49-30.5550-2010", to="own"),
    _s("parentheses", "(030)5550-2010", to="own"),
    _s("german-zero", "+49(0)30-55502010", to="own"),
    _s("slash-spaces", "030%2F5550%202010", to="own"),
    _s("escaped-plus", "%2B493055502010", to="own"),
    _s("user-phone", "+493055502010;user=phone", to="own"),
    _s("number-portability", "+493055502010;npdi;rn=+49199123", to="own"),
    _s("subaddress", "+493055502010;isub=12", to="own"),
    _s("context-area", "55502010;phone-context=+49-30", to="own"),
    _s("context-country", "03055502010;phone-context=+49", to="own"),
    _s("tel", "tel:+49-30-5550-2010", to="own"),
    _s("tel-local", "tel:5550-2010;phone-context=+4930", to="own"),
    _s("sips", f"sips:{OWN}@127.0.0.1", to="own"),
    _s("upper-case", f"SIP:{OWN}@127.0.0.1", to="own"),
    _s("ipv6", f"sip:{OWN}@[2001:db8::1]:5060;transport=udp", to="own"),
    _s("show-my-number", "*31#03055502010", to="own"),
    _s("hide-my-number", "%2331%2303055502010", to="own"),
    _s("letters", "0800FLOWERS", to="letters"),
    _s("letters-dashes", "0800-flowers", to="letters"),
    _s("austria", "+4315350500", to="vienna"),
    _s("austria-zero", "+43(0)15350500", to="vienna"),
    _s("switzerland", "0041446681800", to="zurich"),
    _s("britain", "+442079460123", to="london"),
    _s("america", "+16175550100", to="boston"),
    _s("america-separators", "+1-617-555-0100", to="boston"),
    _s("extension", "+493077766011", to="block"),
    _s("extension-zero", "+49307776600", to="block"),
    _s("extension-national", "030777660-123", to="block"),
    _s("extension-none", "+4930777660", to="block"),
    _s("beside-the-block", "+4930777661", to=UNKNOWN),
    _s("longer-than-registered", "+4930555020101", to=UNKNOWN),
    _s("shorter", "+49305550201", to=UNKNOWN),
    _s("to-is-the-clients", OWN, f"To: <sip:{OFFICE}@c.invalid>", to="own"),
    _s("called-party", "4930999", f"P-Called-Party-ID: <sip:{OWN}@c.invalid>", to="own"),
]

REGISTERED = [
    _r("reg-to", f"To: <sip:{OWN}@c.invalid>", to="own"),
    _r("reg-to-national", "To: <sip:03055502010@c.invalid;user=phone>", to="own"),
    _r(
        "reg-to-name",
        'To: "Service <sip:+4315350500@x>, \\"1\\"" <sip:03055502010@c.invalid>',
        to="own",
    ),
    _r("reg-to-tel", "To: <tel:+49-30-55502010>", to="own"),
    _r(
        "reg-called-party",
        "To: <sip:vsek@c.invalid>",
        f"P-Called-Party-ID: <sip:{OWN}@c.invalid>",
        to="own",
    ),
    _r(
        "reg-called-party-first",
        "To: <sip:+4315350500@c.invalid>",
        f"P-Called-Party-ID: <tel:{OWN}>",
        to="own",
    ),
    _r("reg-request", "To: <sip:vsek@c.invalid>", uri=OWN, to="own"),
    _r("reg-nobody", "To: <sip:vsek@c.invalid>", to=UNKNOWN),
    _r("reg-no-user", "To: <sip:c.invalid>", uri="s", to=UNKNOWN),
    _r("reg-forwarded", f"To: <sip:{SHARED}@c.invalid>", *div(OFFICE), to="office"),
    _r(
        "reg-main-number",
        "To: <sip:+4930111000@c.invalid>",
        f"P-Called-Party-ID: <sip:{OWN}@c.invalid>",
        *hist(f"1 {OWN}", "1.1 +4930111000"),
        to="own",
    ),
    _s("nobody-but-to", "sip:127.0.0.1", f"To: <sip:{OWN}@c.invalid>", to="own"),
]

FORWARDED = [
    _s("diversion", SHARED, *div(OFFICE), to="office"),
    _s("diversion-national", SHARED, *div("03415550200"), to="office"),
    _s(
        "diversion-parameters",
        SHARED,
        f'Diversion: "A, B <sip:{MOBILE}@x>" <sip:{OFFICE}@[2001:db8::2]:5060;user=phone>'
        ";reason=user-busy;counter=1;limit=5;privacy=full;screen=yes",
        to="office",
    ),
    _s(
        "diversion-bare", SHARED, f"Diversion: sip:{OFFICE}@c.invalid;reason=no-answer", to="office"
    ),
    _s("diversion-tel", SHARED, "Diversion: <tel:+49-341-555-0200>;reason=away", to="office"),
    _s("diversion-topmost", SHARED, *div(OFFICE, MOBILE), to="office"),
    _s("diversion-second-known", SHARED, *div("+4930111222", MOBILE), to="mobile"),
    _s(
        "diversion-one-header",
        SHARED,
        f"Diversion: <sip:{MOBILE}@c>;reason=deflection, <sip:{OFFICE}@c>;counter=2",
        to="mobile",
    ),
    _s(
        "diversion-several-each",
        SHARED,
        "Diversion: <sip:1@c>, <sip:2@c>",
        f"Diversion: <sip:{OFFICE}@c>,<sip:{MOBILE}@c>",
        to="office",
    ),
    _s("diversion-host-only", SHARED, "Diversion: <sip:pbx.invalid>", *div(OFFICE), to="office"),
    _s(
        "diversion-anonymous",
        SHARED,
        "Diversion: <sip:anonymous@anonymous.invalid>;privacy=full",
        *div(MOBILE),
        to="mobile",
    ),
    _s("diversion-extension", SHARED, *div("+4934160012"), to="block"),
    _s("diversion-unknown", SHARED, *div("+4930111222"), to=UNKNOWN),
    _s("own-number-wins", OWN, *div(OFFICE), to="own"),
    _s("history", SHARED, *hist(f"1 {OFFICE}", f"1.1 {SHARED}"), to="office"),
    _s(
        "history-unsorted",
        SHARED,
        *hist(f"1.1.1 {SHARED}", f"1.1 {OFFICE}", f"1 {MOBILE}"),
        to="office",
    ),
    _s(
        "history-one-header",
        SHARED,
        f"History-Info: <sip:{MOBILE}@c>;index=1, <sip:{OFFICE}@c;cause=302>;index=1.1;mp=1,"
        f"<sip:{SHARED}@c;cause=486>;index=1.1.1;mp=1.1",
        to="office",
    ),
    _s(
        "history-reason",
        SHARED,
        f"History-Info: <sip:{OFFICE}@c?Reason=SIP%3Bcause%3D486%3Btext%3D%22Busy%2C%20here%22"
        "&Privacy=history>;index=1",
        *hist(f"1.1 {SHARED}"),
        to="office",
    ),
    _s("history-no-last", SHARED, *hist(f"1 {MOBILE}", f"1.1 {OFFICE}"), to="office"),
    _s(
        "history-tried-beside",
        SHARED,
        *hist(f"1 {OFFICE}", f"1.1 {MOBILE}", f"1.2 {SHARED}"),
        to="office",
    ),
    _s(
        "history-mapped",
        SHARED,
        *hist(f"1 {OFFICE}", f"1.1 {MOBILE}"),
        f"History-Info: <sip:{SHARED}@c>;index=1.2;mp=1.1",
        to="mobile",
    ),
    _s("history-flat", SHARED, *hist(f"1 {OFFICE}", f"2 {MOBILE}", f"3 {SHARED}"), to="mobile"),
    _s(
        "history-no-index",
        SHARED,
        f"History-Info: <sip:{OFFICE}@c>",
        f"History-Info: <sip:{SHARED}@c>",
        to="office",
    ),
    _s("history-twice-ours", OWN, *hist(f"1 {OFFICE}", f"1.1 {OWN}", f"1.1.1 {OWN}"), to="own"),
    _s("both-agree", SHARED, *div(OFFICE), *hist(f"1 {OFFICE}", f"1.1 {SHARED}"), to="office"),
    _s("both-differ", SHARED, *div(OFFICE), *hist(f"1 {MOBILE}", f"1.1 {SHARED}"), to="office"),
    _s("caller-forwarded", SHARED, *div(CALLER, OFFICE), to="office"),
    _s("ten-hops", SHARED, *div(*(f"+49301112{n:02}" for n in range(9)), OFFICE), to="office"),
    _s("own-with-both", OWN, *div(OFFICE), *hist(f"1 {OFFICE}", f"1.1 {OWN}"), to="own"),
]

CIRCLES = [
    _s("loop-diversion", SHARED, *div(OFFICE, MOBILE, OFFICE), to=LOOP),
    _s(
        "loop-history",
        SHARED,
        *hist(f"1 {OFFICE}", f"1.1 {MOBILE}", f"1.1.1 {OFFICE}", f"1.1.1.1 {SHARED}"),
        to=LOOP,
    ),
    _s("loop-came-back", OWN, *div(OFFICE, OWN), to=LOOP),
    _s("loop-came-back-history", OWN, *hist(f"1 {OWN}", f"1.1 {OFFICE}", f"1.1.1 {OWN}"), to=LOOP),
    _s("loop-eleven-hops", SHARED, *div(*(f"+49301112{n:02}" for n in range(10)), OFFICE), to=LOOP),
    _s("loop-counter", SHARED, f"Diversion: <sip:{OFFICE}@c>;counter=12", to=LOOP),
]

_ANONYMOUS = 'From: "Anonymous" <sip:anonymous@anonymous.invalid>'
_ASSERTED = "P-Asserted-Identity: "
CALLERS = [
    _s(
        "from-national", OWN, "From: <sip:0170-1234567@c.invalid>", to="own", caller="+491701234567"
    ),
    _s(
        "from-name",
        OWN,
        'From: "O\\"Neil <sip:+49301@x>, Co" <sip:+4940555000@c.invalid>',
        to="own",
    ),
    _s("from-alice", OWN, "From: <sip:alice@c.invalid>", to="own", caller=""),
    _s(
        "from-context",
        OWN,
        "From: <sip:40555000@c.invalid;user=phone>",
        "P-Asserted-Identity: <sip:04055500;phone-context=+49@c>",
        to="own",
        caller="+494055500",
    ),
    _s("asserted", OWN, f"{_ASSERTED}<sip:+4989123456@c.invalid>", to="own", caller="+4989123456"),
    _s("asserted-tel", OWN, f"{_ASSERTED}<tel:+49-89-123456>", to="own", caller="+4989123456"),
    _s(
        "asserted-two",
        OWN,
        f"{_ASSERTED}<sip:alice@c.invalid>",
        f"{_ASSERTED}<tel:+4989123456>",
        to="own",
        caller="+4989123456",
    ),
    _s(
        "asserted-one-header",
        OWN,
        f'{_ASSERTED}"A" <sip:+4989123456@c.invalid>, <tel:+4989123456>',
        to="own",
        caller="+4989123456",
    ),
    _s("preferred-is-ignored", OWN, "P-Preferred-Identity: <sip:+4989123456@c.invalid>", to="own"),
    _s(
        "remote-party",
        OWN,
        "Remote-Party-ID: <sip:+4989123456@c.invalid>;party=calling;privacy=off",
        to="own",
        caller="+4989123456",
    ),
    _s(
        "remote-party-private",
        OWN,
        "Remote-Party-ID: <sip:+4989123456@c.invalid>;party=calling;privacy=full",
        to="own",
        caller="",
    ),
    _s(
        "privacy-id",
        OWN,
        "Privacy: id",
        f"{_ASSERTED}<sip:+4989123456@c.invalid>",
        to="own",
        caller="",
    ),
    _s("privacy-several", OWN, "Privacy: Header; User;critical", to="own", caller=""),
    _s("privacy-none", OWN, "Privacy: none", to="own"),
    _s("privacy-history", OWN, "Privacy: history", to="own"),
    _s("privacy-critical", OWN, "Privacy: critical", to="own"),
    _s("anonymous", OWN, _ANONYMOUS, to="own", caller=""),
    _s(
        "anonymous-asserted",
        OWN,
        _ANONYMOUS,
        f"{_ASSERTED}<sip:+4989123456@c.invalid>",
        to="own",
        caller="",
    ),
    _s("unavailable", OWN, "From: <sip:unavailable@unknown.invalid>", to="own", caller=""),
    _s("name-anonymous", OWN, f'From: "Anonymous" <sip:{CALLER}@c.invalid>', to="own"),
]

STRANGE = [
    _s("digits-70", "1" * 70, to=UNKNOWN),
    _s("digits-300", "+49" + "2" * 300, to=UNKNOWN),
    _s("s", "s", "To: <sip:s@c.invalid>", to=UNKNOWN),
    _s("h", "h", "To: <sip:h@c.invalid>", to=UNKNOWN),
    _s("i", "i", to=UNKNOWN),
    _s("t", "t", to=UNKNOWN),
    _s("pickup", "*8", to=UNKNOWN),
    _s("spaces", "a%20b%20c", to=UNKNOWN),
    _s("utf-8", "b%C3%BCro", to=UNKNOWN),
    _s("broken-utf-8", "b%FCro%FF", to=UNKNOWN),
    _s("name", "information", to=UNKNOWN),
    _s("only-separators", "-.-", to=UNKNOWN),
    _s("no-to-user", SHARED, "To: <sip:c.invalid>", to=UNKNOWN),
    _s("dollar", "$%7BEXTEN%7D", to=UNKNOWN),
]

GROUPS = {
    "The number that was called": DIALLED,
    "Trunks where vsek registers": REGISTERED,
    "Forwarded calls": FORWARDED,
    "Calls that go round in circles": CIRCLES,
    "The caller": CALLERS,
    "What is no number": STRANGE,
}
SHAPES = [shape for shapes in GROUPS.values() for shape in shapes]


def table() -> str:
    """The table for the documentation, in Markdown."""
    lines = []
    for title, shapes in GROUPS.items():
        shows = title == "The caller"
        last = "caller shown" if shows else "client"
        lines += [f"### {title}", "", f"| id | request URI, headers | {last} |", "|---|---|---|"]
        for shape in shapes:
            said = "<br>".join(f"`{_cut(text)}`" for text in (shape.uri, *shape.headers))
            found = (shape.caller or "withheld") if shows else shape.client
            lines.append(f"| {shape.id} | {said} | {found} |")
        lines.append("")
    return "\n".join(lines).rstrip()


def _cut(text: str) -> str:
    text = text.replace("|", "\\|")
    return text if len(text) <= 120 else text[:60] + "…"


def main() -> None:
    """Writes the table into docs/numbers.md: ``python -m tests.acceptance.shapes``."""
    page = Path(__file__).parents[2] / "docs" / "numbers.md"
    page.write_text(drawn(page.read_text()))


def drawn(text: str) -> str:
    """``text`` with the table in its place."""
    before, _, rest = text.partition("<!-- shapes -->\n")
    _, _, after = rest.partition("<!-- /shapes -->\n")
    return f"{before}<!-- shapes -->\n{table()}\n<!-- /shapes -->\n{after}"


if __name__ == "__main__":
    main()
