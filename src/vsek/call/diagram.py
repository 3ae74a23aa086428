"""The call script as Markdown, drawn from its table (see ``docs/draw.py``)."""

from __future__ import annotations

from vsek.call.table import TABLE, Happening


def calls_table() -> str:
    """One row a happening, one column a stage; a dash stands for nothing to do."""
    stages = list(TABLE)
    lines = [
        "| | " + " | ".join(stage.value for stage in stages) + " |",
        "|---|" + "---|" * len(stages),
    ]
    for happening in Happening:
        cells = [TABLE[stage][happening] for stage in stages]
        shown = ["–" if isinstance(cell, str) else f"`{cell.__name__}`" for cell in cells]
        lines.append(f"| {happening.value} | " + " | ".join(shown) + " |")
    return "\n".join(lines)


def reasons_list() -> str:
    """Why nothing is to be done, for each dash of the table."""
    reasons: dict[str, list[str]] = {}
    for stage, row in TABLE.items():
        for happening, cell in row.items():
            if isinstance(cell, str):
                reasons.setdefault(cell, []).append(f"{stage.value}/{happening.value}")
    return "\n".join(f"- {why}: {', '.join(places)}" for why, places in reasons.items())
