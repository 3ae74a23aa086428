"""pydantic's complaints in people's words: where, what is wrong, and what to do about it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import BaseModel, ValidationError

from vsek.domain.strict import REMARKS, Location, Remark, shorten

KEY = "[key]"
"""What pydantic puts behind the place of a key that is not allowed."""

_NUMBER = ("is not a number", "Write digits, for example 30")
_WHOLE_NUMBER = ("is not a whole number", "Write digits, for example 5")
_DAY = ("is not a day", "Write it like 2026-12-24")
_BOOL = ("is neither true nor false", "Write true or false")
_LIST = ("must be a list", "Begin each entry with '- '")
_TEXT = ("must be text", "Write a text on one line, or leave the key out")
_MAPPING = ("needs key: value lines below it", "Indent them")
_EMPTY = ("is empty", "Write something, or leave the key out")
_WORDS = {
    "missing": ("is missing", "Add it"),
    "model_type": _MAPPING,
    "model_attributes_type": _MAPPING,
    "dict_type": _MAPPING,
    "tuple_type": _LIST,
    "list_type": _LIST,
    "string_type": _TEXT,
    "string_too_short": _EMPTY,
    "too_short": _EMPTY,
    "bool_parsing": _BOOL,
    "bool_type": _BOOL,
    "float_parsing": _NUMBER,
    "float_type": _NUMBER,
    "finite_number": _NUMBER,
    "int_parsing": _WHOLE_NUMBER,
    "int_parsing_size": _WHOLE_NUMBER,
    "int_type": _WHOLE_NUMBER,
    "int_from_float": _WHOLE_NUMBER,
    "date_parsing": _DAY,
    "date_from_datetime_parsing": _DAY,
    "date_from_datetime_inexact": ("is not a day", "Write it like 2026-12-24, without a time"),
    "path_type": ("is not a path", "Write the path of a file or folder as text"),
}
_BOUNDS = {
    "greater_than_equal": ("ge", "is less than {}", "Write {} or more"),
    "greater_than": ("gt", "is not more than {}", "Write more than {}"),
    "less_than_equal": ("le", "is more than {}", "Write {} or less"),
    "less_than": ("lt", "is not less than {}", "Write less than {}"),
    "string_too_long": ("max_length", "is longer than {} letters", "Shorten it"),
    "too_long": ("max_length", "has more than {} entries", "Take some out"),
}


def complaints(
    error: ValidationError,
    model: type[BaseModel],
    words: Mapping[str, tuple[str, str]] | None = None,
) -> list[Remark]:
    """``error``, raised by ``model``, as remarks; places are those within the model's data.

    ``words`` stand in place of ours, which are those of YAML: message and remedy by pydantic's name
    of the mistake. A key that is not allowed has :data:`KEY` behind its place.
    """
    words = _WORDS | dict(words or {})
    found: list[Remark] = []
    for detail in error.errors(include_url=False):
        place: Location = tuple(detail["loc"])
        context = detail.get("ctx", {})
        if REMARKS in context:
            found += [one._replace(location=place + one.location) for one in context[REMARKS]]
        else:
            kind = detail["type"]
            if kind == "extra_forbidden":
                known = ", ".join(_known_fields(model, place[:-1]))
                found.append(Remark(place, "is unknown here", f"Known: {known}"))
            else:
                told = words.get(kind) or _told(kind, detail["msg"], context)
                found.append(Remark(place, *told))
    return found


def _told(kind: str, said: str, context: dict[str, Any]) -> tuple[str, str]:
    if kind in _BOUNDS:
        name, message, remedy = _BOUNDS[kind]
        bound = f"{context[name]:g}" if isinstance(context[name], float) else str(context[name])
        return message.format(bound), remedy.format(bound)
    if kind in ("enum", "literal_error"):
        return "is not allowed here", f"Write {context.get('expected', '')}"
    message = said.removeprefix("Value error, ")
    return shorten(message[:1].lower() + message[1:]), str(context.get("remedy", ""))


def model_at(model: type[BaseModel], location: Sequence[str | int]) -> type[BaseModel] | None:
    """The model of what lies at ``location`` below ``model``, if it is one; places in lists and
    keys of mappings are passed over."""
    current: type[BaseModel] = model
    for part in location:
        if isinstance(part, int) or part not in current.model_fields:
            continue
        inner = _model_in(current.model_fields[part].annotation)
        if inner is None:
            return None
        current = inner
    return current


def _known_fields(model: type[BaseModel], location: Sequence[str | int]) -> list[str]:
    """The keys that are allowed where ``location`` lies below ``model``."""
    found = model_at(model, location)
    fields = {} if found is None else found.model_fields
    return [field.alias or name for name, field in fields.items()]


def _model_in(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    for argument in getattr(annotation, "__args__", ()):
        found = _model_in(argument)
        if found is not None:
            return found
    return None
