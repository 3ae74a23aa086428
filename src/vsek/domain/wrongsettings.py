"""What is wrong with settings, in words: which one, its value, where it stands, what to write."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from pydantic import BaseModel, SecretStr

from vsek.domain.complaints import model_at
from vsek.domain.strict import Location, Remark, shorten
from vsek.errors import InputError

_PREFIX, _WITHIN = "VSEK_", "__"
_SHOWN = 60

_SECTION = ("is a section", "Write its name as [section], and its settings on the lines below")
_QUOTED = ("must be text", "Put it between quotes")
WORDS = {
    "model_type": _SECTION,
    "model_attributes_type": _SECTION,
    "dict_type": _SECTION,
    "list_type": ("must be a list", 'Write it like ["one", "two"]'),
    "string_type": _QUOTED,
    "path_type": _QUOTED,
}
"""What TOML has other words for than YAML (see :func:`vsek.domain.complaints.complaints`)."""


class Origin(NamedTuple):
    """Where settings come from."""

    model: type[BaseModel]
    environment: Mapping[str, str]
    files: Mapping[str, Mapping[str, Any]]
    """By name what stands there, the file that wins first."""

    def of(self, place: Location) -> str:
        """Where the value of a setting was read."""
        name = _variable(place)
        if any(one.upper() == name for one in self.environment):
            return f"the environment ({name})"
        return next((file for file, held in self.files.items() if _has(held, place)), "a default")


def _variable(place: Location) -> str:
    return _PREFIX + _WITHIN.join(part for part in place if isinstance(part, str)).upper()


def _has(values: Mapping[str, Any], place: Location) -> bool:
    inner: Any = values
    for part in place:
        if not isinstance(part, str) or not isinstance(inner, Mapping):
            return True
        if part not in inner:
            return False
        inner = inner[part]
    return True


def _is_secret(model: type[BaseModel], place: Location) -> bool:
    section = model_at(model, place[:-1])
    field = None if section is None else section.model_fields.get(str(place[-1]))
    return field is not None and field.annotation is SecretStr


def refused(
    wrong: Sequence[Remark], inputs: Mapping[Location, object], origin: Origin
) -> InputError:
    """All of ``wrong`` in one error; ``inputs`` are the values. Secrets are not repeated."""
    names = [".".join(map(str, one.location)) for one in wrong]
    values = [
        None if _is_secret(origin.model, one.location) else inputs.get(one.location)
        for one in wrong
    ]
    where = " and ".join(dict.fromkeys(origin.of(one.location) for one in wrong))
    if len(wrong) == 1:
        remedy = f"{wrong[0].remedy}. It stands in {where}"
        message = f"Setting {names[0]} {wrong[0].message}"
        return InputError(message, field=names[0], value=values[0], remedy=remedy)
    lines = [f"{len(wrong)} settings are wrong:"]
    for name, value, one in zip(names, values, wrong, strict=True):
        given = "" if value is None else f" (given: {shorten(repr(value), _SHOWN)})"
        lines.append(f"  {name} {one.message}{given}. {one.remedy}")
    return InputError("\n".join(lines), field=", ".join(names), remedy=f"Correct them in {where}")


def unreadable_variable(model: type[BaseModel], environment: Mapping[str, str]) -> InputError:
    """The error for a section or a list that stands in the environment, but not as JSON."""
    for variable, text in sorted(environment.items()):
        place = tuple(variable.upper().removeprefix(_PREFIX).lower().split(_WITHIN))
        section = model_at(model, place[:-1])
        field = None if section is None else section.model_fields.get(place[-1])
        if field is None or not variable.upper().startswith(_PREFIX) or _is_json(text):
            continue
        name = ".".join(place)
        if field.annotation == list[str]:
            message = f"Setting {name} must be a list, in JSON"
            remedy = f"""Write {variable}='["one", "two"]'"""
            return InputError(message, field=name, value=text, remedy=remedy)
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            first = next(iter(field.annotation.model_fields)).upper()
            remedy = f"Set what is in it one by one, for example {variable}{_WITHIN}{first}"
            return InputError(f"Setting {name} is a section", field=variable, remedy=remedy)
    return InputError(
        "A variable of the environment cannot be read",
        field=f"{_PREFIX}…",
        remedy="Write lists as JSON, and set what is in a section one by one",
    )


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except ValueError:
        return False
    return True
