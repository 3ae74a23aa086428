"""What the client reads: subject, text part and HTML part of a note.

The request becomes a :class:`~vsek.notify.view.NoteView`, and two Jinja2 templates lay it out. The
HTML is made for mail programs: tables, inline styles, nothing loaded from elsewhere, one column
that fits a telephone.
"""

from __future__ import annotations

import textwrap
from collections.abc import Collection
from dataclasses import dataclass

import jinja2

from vsek.domain.note import NoteRequest
from vsek.notify.view import Undelivered, view

_TEXT_WIDTH = 76


@dataclass(frozen=True, slots=True)
class Rendered:
    """A note as it goes into a mail."""

    subject: str
    text: str
    html: str


def _wrap(text: str, indent: str = "") -> str:
    """``text`` in lines that every mail program shows whole; its own line breaks stay."""
    rows: list[str] = []
    for row in text.split("\n"):
        rows.extend(
            textwrap.wrap(
                row,
                _TEXT_WIDTH,
                initial_indent=indent,
                subsequent_indent=indent,
                break_long_words=False,
                break_on_hyphens=False,
            )
            or [""]
        )
    return "\n".join(rows)


def _table(rows: list[tuple[str, str]]) -> str:
    """Label and value in two columns, the values aligned."""
    width = max((len(label) for label, _ in rows), default=0) + 3
    lines: list[str] = []
    for label, value in rows:
        if width > _TEXT_WIDTH // 3:
            lines.append(f"{label}:")
            lines.append(_wrap(value, "  "))
            continue
        body = _wrap(value, " " * width)
        lines.append(f"{label}:".ljust(width) + body[width:])
    return "\n".join(lines)


def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("vsek.notify"),
        autoescape=jinja2.select_autoescape(enabled_extensions=("html",), default=False),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["wrap_text"] = _wrap
    environment.filters["rows"] = _table
    return environment


class Renderer:
    """Lays out notes. ``country`` (ISO 3166) is for telephone numbers in national form."""

    def __init__(self, country: str = "DE") -> None:
        environment = _environment()
        self.country = country
        self._text = environment.get_template("note.txt")
        self._html = environment.get_template("note.html")

    def render(
        self,
        request: NoteRequest,
        note_id: str,
        *,
        undelivered: Undelivered | None = None,
        attached: Collection[str] | None = None,
    ) -> Rendered:
        """The note as subject, text and HTML.

        ``attached`` names the attachments that go along with it; ``None``: all of them.
        """
        note = view(
            request, note_id, country=self.country, undelivered=undelivered, attached=attached
        )
        return Rendered(
            subject=note.subject,
            text=self._text.render(note=note, words=note.words).strip("\n") + "\n",
            html=self._html.render(note=note, words=note.words),
        )
