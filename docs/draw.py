"""Draws the tables into docs/*.md: ``python docs/draw.py`` (needs vsek installed).

A place is a pair of comments with the same name; what stands between them is replaced.
"""

from __future__ import annotations

import re
from pathlib import Path

from vsek.acd import diagram
from vsek.call.diagram import calls_table, reasons_list

FOLDER = Path(__file__).parent
PICTURES = {
    "acd.md": {
        "agents_diagram": f"```mermaid\n{diagram.agents_diagram()}\n```",
        "agents_table": diagram.agents_table(),
        "calls_diagram": f"```mermaid\n{diagram.calls_diagram()}\n```",
    },
    "call.md": {"calls_table": calls_table(), "calls_reasons": reasons_list()},
}


def drawn(text: str, pictures: dict[str, str]) -> str:
    """``text`` with each of ``pictures`` in its place. Raises ``KeyError`` where there is none."""
    for name, picture in pictures.items():
        place = re.compile(rf"(<!-- {name} -->\n)(?:.*?\n<!-- /{name} -->\n)?", re.DOTALL)
        if not place.search(text):
            raise KeyError(name)
        new = f"<!-- {name} -->\n{picture}\n<!-- /{name} -->\n"
        text = place.sub(lambda _, new=new: new, text)
    return text


def main() -> None:
    """Draw everything."""
    for name, pictures in PICTURES.items():
        page = FOLDER / name
        page.write_text(drawn(page.read_text(), pictures))


if __name__ == "__main__":
    main()
