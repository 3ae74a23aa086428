"""The doctor's look at Asterisk, over ARI."""

from __future__ import annotations

import asyncio
import re
import secrets
from collections.abc import Awaitable, Callable
from pathlib import Path

from vsek.errors import ServiceError
from vsek.pbx import doctor_fallback, doctor_trunk
from vsek.pbx.doctor_ari import DYNAMIC, Ari, probe
from vsek.pbx.findings import Report
from vsek.settings import Settings

OLDEST = (22, 4)
"""REST over WebSocket came with this."""
TESTED = (22, 10, 1)

MODULES = {
    "chan_pjsip": "SIP calls",
    "res_pjsip_session": "SIP calls",
    "res_pjsip_sdp_rtp": "audio",
    "res_rtp_asterisk": "audio",
    "res_pjsip_registrar": "agents' registrations",
    "res_pjsip_authenticator_digest": "agents' authentication",
    "res_pjsip_endpoint_identifier_user": "telling agents from trunks",
    "res_pjsip_endpoint_identifier_ip": "telling trunks by their address",
    "res_pjsip_caller_id": "caller's number and privacy",
    "res_pjsip_diversion": "forwarded calls",
    "res_pjsip_header_funcs": "headers of forwarded calls",
    "res_sorcery_config": "pjsip.conf",
    "res_sorcery_astdb": "agents' accounts",
    "res_http_websocket": "ARI over WebSocket",
    "res_ari_applications": "ARI",
    "res_ari_asterisk": "ARI",
    "res_ari_bridges": "ARI",
    "res_ari_channels": "ARI",
    "res_ari_endpoints": "ARI",
    "res_ari_events": "ARI",
    "res_ari_playbacks": "ARI",
    "res_stasis_answer": "answering calls",
    "res_stasis_playback": "announcements",
    "res_musiconhold": "music",
    "app_stasis": "handing calls to vsek",
    "app_channelredirect": "callers who wait when vsek is away",
    "app_exec": "the dialplan",
    "app_originate": "callers who wait when vsek is away",
    "app_playback": "announcements of the dialplan",
    "app_record": "messages of callers when vsek is away",
    "app_softhangup": "telephones that ring when vsek is away",
    "app_stack": "the dialplan",
    "app_system": "messages of callers when vsek is away",
    "app_while": "the dialplan",
    "func_callerid": "the dialplan",
    "func_channel": "the dialplan",
    "func_config": "languages and music",
    "func_cut": "the dialplan",
    "func_env": "the call ledger",
    "func_groupcount": "callers who wait when vsek is away",
    "func_logic": "the dialplan",
    "func_math": "the dialplan",
    "func_strings": "the dialplan",
    "func_uri": "the dialplan",
    "bridge_simple": "talking",
    "codec_alaw": "audio",
    "codec_ulaw": "audio",
    "format_wav": "announcements",
    "pbx_config": "the dialplan",
}
"""Modules without which something does not work, and what that is."""


class AsteriskExamination:
    """Everything that ARI can tell; each check writes into ``report``."""

    def __init__(self, settings: Settings, report: Report) -> None:
        self._settings = settings
        self._report = report
        self._ari = Ari(settings)

    async def close(self) -> None:
        """Ends the connection."""
        await self._ari.close()

    def checks(self) -> list[Callable[[], Awaitable[None]]]:
        """What there is to examine once ARI answers."""
        return [
            self._modules,
            self._may_write,
            self._application,
            self._dialplan,
            self._accounts,
            self._identifiers,
            self._transport,
            self._sounds_and_music,
            lambda: doctor_trunk.examine(self._ari, self._settings, self._report),
            lambda: doctor_fallback.examine(self._ari, self._settings, self._report),
        ]

    async def reachable(self) -> bool:
        """Whether ARI answers and lets us in; says what is wrong if not."""
        try:
            status, info = await self._ari.ask("GET", "asterisk/info")
        except ServiceError as error:
            self._report.fail(
                "http.conf",
                f"Asterisk does not answer at {self._ari.root}: {error.message}",
                "Start it; enabled, bindaddr and bindport of http.conf must fit setting ari.url",
            )
            return False
        if status in (401, 403):
            self._report.fail(
                "ari.conf",
                f"ARI refuses user {self._settings.ari.username!r}",
                "The user, its password (vsek-local/ari.conf) and permit must fit setting ari",
            )
            return False
        if status != 200 or not isinstance(info, dict):
            self._report.fail(
                "ari.conf",
                f"{self._ari.root}/ari answers {status}",
                "Load the res_ari modules (modules.conf) and set enabled = yes in ari.conf",
            )
            return False
        self._version(str(info.get("system", {}).get("version", "")))
        return True

    def _version(self, text: str) -> None:
        numbers = tuple(int(part) for part in re.findall(r"\d+", text)[:3])
        if numbers < OLDEST:
            self._report.fail(
                "Asterisk",
                f"Version {text} is too old",
                "vsek needs 22.4, and was tested with 22.10.1",
            )
        elif numbers < TESTED:
            self._report.warn(
                "Asterisk", f"Version {text} lacks security fixes", "Go to 22.10.1 or a later 22"
            )
        else:
            self._report.ok("Asterisk", f"Version {text}")

    async def _modules(self) -> None:
        _, found = await self._ari.ask("GET", "asterisk/modules")
        running = {
            str(module["name"]).removesuffix(".so")
            for module in found or []
            if module.get("status") == "Running"
        }
        missing = {name: why for name, why in MODULES.items() if name not in running}
        for name, why in missing.items():
            self._report.fail(
                "modules.conf", f"Module {name} is not running ({why})", f"load = {name}.so"
            )
        if not missing:
            self._report.ok(
                "modules.conf", f"All {len(MODULES)} modules that are needed are running"
            )

    async def _may_write(self) -> None:
        status, _ = await self._ari.ask("DELETE", f"channels/vsek-doctor-{secrets.token_hex(6)}")
        if status == 404:
            self._report.ok("ari.conf", "The ARI user may give commands")
        else:
            self._report.fail(
                "ari.conf", f"The ARI user may only read ({status})", "Set read_only = no for it"
            )

    async def _application(self) -> None:
        app = self._settings.ari.app
        status, _ = await self._ari.ask("GET", f"applications/{app}")
        socket_path = self._settings.control_socket
        if status == 404:
            self._report.ok(
                "setting ari.app", f"Application {app!r} is free (no switchboard is connected)"
            )
        elif await asyncio.to_thread(socket_path.exists):
            self._report.ok(
                "setting ari.app", f"Application {app!r} is taken, by our switchboard it seems"
            )
        else:
            self._report.warn(
                "setting ari.app",
                f"Somebody else is connected as application {app!r}",
                "A switchboard that starts now takes it over; end the other one, or change ari.app"
                " and VSEK_APP in extensions.conf",
            )
        _, found = await self._ari.ask("GET", "asterisk/variable", variable="VSEK_APP")
        named = (found or {}).get("value", "")
        if named != app:
            self._report.fail(
                "extensions.conf",
                f"The dialplan hands calls to {named!r}, vsek listens as {app!r}",
                f"Set VSEK_APP = {app} in [globals] (vsek-local/extensions.conf)",
            )

    async def _dialplan(self) -> None:
        async with probe(self._ari, {}) as ask:
            contexts = {
                "from-trunk": "4930123456",
                "from-agents": "4930123456",
                "vsek-in": "s",
                "vsek-fallback": "s",
                "vsek-ledger": "out",
                "vsek-watch": "look",
            }
            missing = [
                name
                for name, number in contexts.items()
                if await ask(f"DIALPLAN_EXISTS({name},{number},1)") != "1"
            ]
        for name in missing:
            self._report.fail(
                "extensions.conf",
                f"There is no context {name!r}",
                "Include asterisk-conf/extensions.conf, or load func_dialplan.so if it is there",
            )
        if not missing:
            self._report.ok("extensions.conf", "Contexts for trunks and agents are there")

    async def _accounts(self) -> None:
        name = f"vsek-doctor-{secrets.token_hex(6)}"
        objects: list[tuple[str, dict[str, str]]] = [
            ("auth", {"auth_type": "digest", "username": name, "password": secrets.token_hex(12)}),
            ("aor", {"max_contacts": "1"}),
            ("endpoint", {"context": "from-agents", "auth": name, "aors": name}),
        ]
        made: list[str] = []
        try:
            for kind, values in objects:
                fields = [{"attribute": key, "value": value} for key, value in values.items()]
                status, body = await self._ari.ask(
                    "PUT", f"{DYNAMIC}/{kind}/{name}", {"fields": fields}
                )
                if status >= 400:
                    self._report.fail(
                        "sorcery.conf",
                        f"Accounts cannot be pushed: {kind} answers {status} {body or ''}".strip(),
                        f"Map it: [res_pjsip] {kind} = config,pjsip.conf,criteria=type={kind} and"
                        f" {kind} = astdb,ps_{kind}s",
                    )
                    return
                made.append(kind)
        finally:
            for kind in reversed(made):
                await self._ari.ask("DELETE", f"{DYNAMIC}/{kind}/{name}")
        self._report.ok("sorcery.conf", "Accounts can be pushed and removed")

    async def _identifiers(self) -> None:
        values = await self._ari.fields("global/global")
        if values is None:
            self._report.warn(
                "pjsip.conf",
                "There is no section [global], so the defaults hold",
                "Take over [global] from asterisk-conf/pjsip.conf",
            )
            return
        order = [part.strip() for part in values.get("endpoint_identifier_order", "").split(",")]
        if "username" not in order or (
            "ip" in order and order.index("ip") < order.index("username")
        ):
            self._report.fail(
                "pjsip.conf",
                f"endpoint_identifier_order is {','.join(order)}: a trunk in the agents' network"
                " swallows the agents",
                "Set endpoint_identifier_order = username,ip in [global]",
            )
        elif "anonymous" in order:
            self._report.warn(
                "pjsip.conf",
                "Anybody may call without being identified",
                "Set endpoint_identifier_order = username,ip in [global]",
            )
        else:
            self._report.ok("pjsip.conf", "Agents are told before trunks")
        if values.get("taskprocessor_overload_trigger") == "global":
            self._report.warn(
                "pjsip.conf",
                "Any long queue in Asterisk makes SIP refuse calls",
                "Set taskprocessor_overload_trigger = pjsip_only in [global]",
            )

    async def _transport(self) -> None:
        name = self._settings.asterisk.agent_transport
        if await self._ari.fields(f"transport/{name}") is None:
            self._report.fail(
                "pjsip.conf",
                f"There is no transport {name!r} for agents",
                f"Make a section [{name}] with type = transport, or set asterisk.agent_transport",
            )
        else:
            self._report.ok("pjsip.conf", f"Transport {name!r} for agents is there")

    async def _sounds_and_music(self) -> None:
        folder = self._settings.sounds_folder
        music = self._settings.sounds.music_conf
        own = await asyncio.to_thread(_some_file, folder)
        if own is None:
            self._report.warn(
                "setting sounds.folder",
                f"There is no file in {folder} yet, so whether Asterisk can read it is unknown",
                "Start the switchboard once and ask again",
            )
        seen = str(self._settings.sounds_folder_in_asterisk / (own.name if own else ""))
        classes = await asyncio.to_thread(_music_classes, music)
        async with probe(self._ari, {"VSEK_PROBE_FILE": seen}) as ask:
            if own is not None and await ask("VSEK_PROBE_FOUND") != "1":
                self._report.fail(
                    "setting sounds.asterisk_folder",
                    f"Asterisk does not find {seen}",
                    "Asterisk's user must be able to enter and read that folder; if it is mounted"
                    " elsewhere there, set sounds.asterisk_folder",
                )
            elif own is not None:
                self._report.ok("setting sounds.folder", "Asterisk finds vsek's sounds")
            unknown = [
                name
                for name in classes
                if not await ask(f"AST_CONFIG(musiconhold.conf,{name},mode)")
            ]
        if music is None:
            self._report.warn(
                "setting sounds.music_conf",
                "Clients cannot have music of their own",
                "Name a file there, and #tryinclude it in musiconhold.conf",
            )
        elif unknown:
            self._report.fail(
                "musiconhold.conf",
                f"Class {unknown[0]!r} of {music} is unknown to Asterisk",
                f"#tryinclude {music} (vsek-local/musiconhold.conf), and load func_config.so",
            )
        else:
            status, _ = await self._ari.ask("PUT", "asterisk/modules/res_musiconhold.so")
            if status < 300:
                told = f"{len(classes)} classes" if classes else "no client has music of its own"
                self._report.ok("musiconhold.conf", f"Music can be changed at run time ({told})")
            else:
                self._report.fail(
                    "musiconhold.conf",
                    f"Music cannot be reloaded ({status})",
                    "Load res_musiconhold.so (modules.conf)",
                )


def _some_file(folder: Path) -> Path | None:
    if not folder.is_dir():
        return None
    return next((path for path in sorted(folder.iterdir()) if path.is_file()), None)


def _music_classes(music: Path | None) -> list[str]:
    if music is None or not music.is_file():
        return []
    return re.findall(r"^\[([^\]]+)\]", music.read_text(), re.MULTILINE)
