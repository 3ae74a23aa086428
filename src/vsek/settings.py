"""Settings of all vsek processes.

Sources, the first wins: ``VSEK_…`` environment variables (``VSEK_ARI__URL``), ``vsek.toml`` in the
run folder, ``run/stack.json`` in the run folder (written by ``vsek up`` for its embedded servers),
the defaults below. The run folder is ``--dir`` or ``VSEK_DIR``.
"""

from __future__ import annotations

import json
import os
import re
import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, SecretStr, ValidationError
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    SettingsError,
)

from vsek.domain.complaints import complaints
from vsek.domain.strict import Location, Remark, refuse
from vsek.domain.wrongsettings import WORDS, Origin, refused, unreadable_variable
from vsek.errors import InputError


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


def _empty_or(pattern: str, message: str, remedy: str) -> AfterValidator:
    """Refuses a text that is neither empty nor matches ``pattern`` as a whole."""

    def check(text: str) -> str:
        if text and not re.fullmatch(pattern, text, re.ASCII):
            refuse("form", message, remedy)
        return text

    return AfterValidator(check)


Port = Annotated[int, Field(ge=1, le=65535)]


class AriSettings(_Section):
    """Asterisk's REST interface. ``url`` is the HTTP server's root, without ``/ari``."""

    url: str = "http://127.0.0.1:8088"
    username: str = "vsek"
    password: SecretStr = SecretStr("")
    app: str = "vsek"
    command_sockets: int = Field(default=2, ge=1, le=16)
    deadline_s: float = Field(default=5.0, gt=0)


class AmiSettings(_Section):
    """Asterisk's manager interface."""

    host: str = "127.0.0.1"
    port: Port = 5038
    username: str = "vsek"
    secret: SecretStr = SecretStr("")


class DatabaseSettings(_Section):
    """PostgreSQL: a ``postgresql://`` DSN; a password may also stand in ``PGPASSWORD``."""

    dsn: SecretStr = SecretStr("postgresql:///vsek")
    pool_size: int = Field(default=4, ge=1)


class ControlSettings(_Section):
    """The switchboard's control API: a unix socket, by default ``run/control.sock``."""

    socket: Path | None = None


class NotesSettings(_Section):
    """The note service and who is told about notes that nobody else gets."""

    url: str = "http://127.0.0.1:8089"
    token: SecretStr = SecretStr("")
    operations_email: str = "operations@localhost"
    operations_language: Literal["de", "en"] = "en"
    keep_recordings_days: float = Field(default=30.0, ge=0)
    """How long recordings are kept after their note was handed over or delivered, in days."""


class SmtpSettings(_Section):
    """Where mail goes. ``tls``: ``none``, ``starttls`` or ``implicit``."""

    host: str = "127.0.0.1"
    port: Port = 25
    tls: Literal["none", "starttls", "implicit"] = "none"
    username: str = ""
    password: SecretStr = SecretStr("")
    sender: str = "notes@localhost"
    sender_name: str = ""
    timeout_s: float = Field(default=20.0, gt=0)


class SoundSettings(_Section):
    """Audio. ``folder`` must be readable by Asterisk; ``asterisk_folder`` is how Asterisk sees it
    (another mount point, for instance), by default the same path."""

    folder: Path | None = None
    asterisk_folder: Path | None = None
    music_conf: Path | None = None
    """``musiconhold`` file that vsek writes and that Asterisk includes."""
    speech: str = "auto"
    """Speech engine: ``auto``, ``espeak-ng``, ``none``, or the name of an installed engine."""


class CallSettings(_Section):
    """Times of the distribution, in seconds."""

    ring_timeout_s: float = Field(default=20.0, gt=0)
    wrap_up_s: float = Field(default=30.0, ge=0)
    rona_park_s: float = Field(default=60.0, ge=1)
    """How long an agent who did not answer gets no call."""
    refusal_park_s: float = Field(default=10.0, ge=1)
    """How long an agent who refused gets no call; without a second, somebody whose softphone
    refuses by itself would be rung without end."""
    note_grace_s: float = Field(default=120.0, ge=0)
    """How long after wrap-up an unfinished note waits before it leaves as incomplete."""


class AsteriskSettings(_Section):
    """How calls leave and arrive."""

    agent_transport: str = "agents"
    default_country: str = "DE"
    """For numbers in national form (ISO 3166, two letters)."""
    area_code: Annotated[
        str,
        _empty_or(
            "[1-9][0-9]{0,5}",
            "is not an area code",
            "Write its digits without the zero before them, for example 30",
        ),
    ] = ""
    """For numbers in local form, without the zero before it (``30``); empty: there are none."""
    ledger_folder: Path | None = None
    """Where Asterisk's dialplan keeps its call ledger, as vsek sees the folder; ``None``: there is
    none to be read, and calls that come while vsek is away are known to nobody."""


class OutboundSettings(_Section):
    """Calls that we place: to numbers of clients' own, over a trunk."""

    endpoint: Annotated[
        str,
        _empty_or(
            r"[A-Za-z0-9]+/[^\s,&|]*\{(number|digits)\}[^\s,&|]*",
            "is nothing that Asterisk can dial",
            "Write it like PJSIP/{number}@carrier-one, with {number} or {digits} for the number",
        ),
    ] = ""
    """What Asterisk dials: ``PJSIP/{number}@carrier-one``, or for a trunk without an AOR
    ``PJSIP/carrier-one/sip:{number}@sip.carrier.example``. ``{number}`` becomes ``+4930123456``,
    ``{digits}`` ``4930123456``. Empty: no calls are forwarded."""
    number: Annotated[
        str,
        _empty_or(
            r"\+[1-9][0-9]{3,14}",
            "is not a number in international form",
            "Write it without blanks, like +4930123456",
        ),
    ] = ""
    """A number of ours, shown where the number that was called is not one of those that clients
    have here (E.164); empty: such calls are not forwarded."""
    ring_s: float = Field(default=20.0, gt=0, le=120)
    """How long a client's number is rung, in seconds."""


class MetricsSettings(_Section):
    """Where metrics are served besides the control socket and the note service's HTTP."""

    listen: str = ""
    """Switchboard: ``PORT`` (loopback) or ``HOST:PORT`` for ``/metrics`` and nothing else; empty:
    none."""


class AlarmSettings(_Section):
    """When operations are told, by log and by mail to ``notes.operations_email``. Times are in
    seconds; 0 turns an alarm off."""

    mail: bool = True
    remind_s: float = Field(default=3600.0, ge=0)
    """How often an alarm that goes on is told again; 0: never."""
    clear_s: float = Field(default=10.0, ge=0)
    """For how long a trouble must be gone until it is over; sooner it is the same one."""
    nobody_signed_in_s: float = Field(default=20.0, ge=0)
    """A caller waits this long and nobody is signed in."""
    nobody_ready_s: float = Field(default=120.0, ge=0)
    """A caller waits this long and nobody is free."""
    trunk_s: float = Field(default=30.0, ge=0)
    """A trunk is not registered, or does not answer, for this long."""
    trunks: list[str] = []
    """PJSIP endpoints that must be reachable from the start; others are watched once they were."""
    note_age_s: float = Field(default=900.0, ge=0)
    """A note or its mail waits this long after it was due."""
    disk_free_percent: float = Field(default=5.0, ge=0, le=100)
    """A disk with less free space (or fewer free files) than this; 0 turns the alarm off."""
    disk_free_mb: float = Field(default=500.0, ge=0)
    """The same in megabytes (10^6 bytes); 0: only the share counts."""
    database_s: float = Field(default=10.0, ge=0)
    """PostgreSQL does not answer for this long."""
    asterisk_s: float = Field(default=10.0, ge=0)
    """Asterisk is not connected, or sends no events, for this long."""
    notes_s: float = Field(default=60.0, ge=0)
    """The note service does not answer, or the mail server refuses all mail, for this long."""
    journal: bool = True
    """The journal cannot be written."""
    audit: bool = True
    """The audit found a difference between Asterisk's ledger, calls and notes."""
    audit_every_s: float = Field(default=900.0, ge=0)
    """How often the audit compares the last hours; 0: it does not run by itself."""


class Settings(BaseSettings):
    """Everything. ``dir`` is the run folder."""

    model_config = SettingsConfigDict(
        env_prefix="VSEK_", env_nested_delimiter="__", extra="ignore", frozen=True
    )

    dir: Path = Path("run")
    default_language: Literal["de", "en"] = "de"
    """Language of announcements where the client is not known."""
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    log_format: Literal["json", "text"] = "json"
    ari: AriSettings = AriSettings()
    ami: AmiSettings = AmiSettings()
    database: DatabaseSettings = DatabaseSettings()
    control: ControlSettings = ControlSettings()
    notes: NotesSettings = NotesSettings()
    smtp: SmtpSettings = SmtpSettings()
    sounds: SoundSettings = SoundSettings()
    calls: CallSettings = CallSettings()
    asterisk: AsteriskSettings = AsteriskSettings()
    outbound: OutboundSettings = OutboundSettings()
    metrics: MetricsSettings = MetricsSettings()
    alarms: AlarmSettings = AlarmSettings()

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Environment before files: files come in through ``init`` (see :func:`load`)."""
        return (env_settings, init_settings)

    @property
    def control_socket(self) -> Path:
        """Path of the control API's unix socket."""
        return self.control.socket or self.dir / "run" / "control.sock"

    @property
    def sounds_folder(self) -> Path:
        """Where vsek writes audio."""
        return self.sounds.folder or self.dir / "sounds"

    @property
    def sounds_folder_in_asterisk(self) -> Path:
        """The same folder as Asterisk sees it."""
        return self.sounds.asterisk_folder or self.sounds_folder

    @property
    def journal_folder(self) -> Path:
        """Where the switchboard keeps its journal."""
        return self.dir / "journal"

    @property
    def stack_file(self) -> Path:
        """Where ``vsek up`` leaves the addresses and secrets of its embedded servers."""
        return self.dir / "run" / "stack.json"


def _merge(below: dict[str, Any], above: dict[str, Any]) -> dict[str, Any]:
    merged = dict(below)
    for key, value in above.items():
        old = merged.get(key)
        merged[key] = (
            _merge(old, value) if isinstance(old, dict) and isinstance(value, dict) else value
        )
    return merged


def must_be_folder(folder: Path) -> None:
    """Raises ``InputError`` when a file is where ``folder``, or a folder above it, should be."""
    for place in (folder, *folder.parents):
        if place.is_dir():
            return
        if place.exists():
            raise InputError(
                f"{place} is a file, not a folder",
                field="--dir",
                value=str(folder),
                remedy="Name a folder with --dir or VSEK_DIR; where there is none, one is made",
            )


def load(folder: Path) -> Settings:
    """Settings for the run folder ``folder``.

    Raises ``InputError`` naming each wrong setting, its value and where it stands.
    """
    folder = folder.expanduser().resolve()
    must_be_folder(folder)
    stack_file, toml_file = folder / "run" / "stack.json", folder / "vsek.toml"
    stack, own = _stack(stack_file), _toml(toml_file)
    known = f"Known: {', '.join(sorted(Settings.model_fields))}"
    unknown = sorted(set(own) - set(Settings.model_fields))
    wrong = [Remark((name,), "is unknown here", known) for name in unknown]
    inputs: dict[Location, object] = {(name,): own[name] for name in unknown}
    values = _merge(stack, {name: own[name] for name in own if name not in unknown})
    values["dir"] = folder
    settings: Settings | None = None
    try:
        settings = Settings(**values)
    except ValidationError as error:
        wrong += complaints(error, Settings, WORDS)
        inputs |= {tuple(one["loc"]): one.get("input") for one in error.errors(include_url=False)}
    except SettingsError:
        raise unreadable_variable(Settings, os.environ) from None
    if settings is None or wrong:
        files = {str(toml_file): own, str(stack_file): stack}
        raise refused(wrong, inputs, Origin(Settings, os.environ, files)) from None
    # VSEK_DIR is a setting like any other, but whoever names a folder means that one.
    return settings.model_copy(update={"dir": folder})


def _stack(path: Path) -> dict[str, Any]:
    if not path.is_file():
        return {}
    try:
        return dict(json.loads(path.read_text()).get("settings", {}))
    except (ValueError, TypeError, AttributeError) as error:
        raise InputError(
            f"{path} is not what 'vsek up' writes: {error}",
            field="stack.json",
            value=str(path),
            remedy="Remove it and start 'vsek up' again, which writes it anew",
        ) from None


def _toml(path: Path) -> dict[str, Any]:
    if not path.is_file():
        return {}
    try:
        return tomllib.loads(path.read_text())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputError(
            f"{path}: {error}", field="vsek.toml", remedy="Mend the file; it is TOML"
        ) from None
