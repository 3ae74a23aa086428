"""The templates for trunks, used as the example beside them shows."""

from __future__ import annotations

import re
from pathlib import Path

from tests.integration.embedded.conftest import get
from tests.integration.embedded.test_trunk_watch import Provider

from vsek.ari import Client
from vsek.demo.events import eventually
from vsek.embedded import resources
from vsek.embedded.asterisk import PrivateAsterisk
from vsek.pbx import doctor_trunk
from vsek.pbx.doctor_ari import Ari
from vsek.pbx.findings import Report
from vsek.settings import Settings


def _example() -> str:
    """The example, with the second trunk switched on and names that resolve here."""
    text = (resources.folder("asterisk-conf") / "vsek-local/pjsip.conf.example").read_text()
    first, mark, second = text.partition("; [carrier-two](vsek-trunk-registered)")
    second = re.sub(r"^; ?", "", mark + second, flags=re.MULTILINE)
    second = second.replace("match = sip.carrier.example", "match = 198.51.100.99")
    return first + second.replace("sip.carrier.example", "127.0.0.1:9")


async def _fields(client: Client, path: str) -> dict[str, str]:
    found = await get(client, f"asterisk/config/dynamic/res_pjsip/{path}")
    return {field["attribute"]: field["value"] for field in found}


async def test_trunks_by_address_and_by_registration(tmp_path: Path) -> None:
    server = PrivateAsterisk(tmp_path / "asterisk", extra={"pjsip": _example()})
    async with server, Client(server.ari_url, "vsek", server.ari_password, app="vsek") as client:
        await client.wait_connected(10)
        one = await _fields(client, "endpoint/carrier-one")
        two = await _fields(client, "endpoint/carrier-two")
        assert (one["context"], two["context"]) == ("from-trunk", "from-trunk-registered")
        assert {one["identify_by"], two["identify_by"]} == {"ip"}
        assert {one["trust_id_inbound"], two["trust_id_inbound"]} == {"true"}
        assert (await _fields(client, "registration/carrier-two"))["endpoint"] == "carrier-two"
        log = (server.log_folder / "messages").read_text()
        assert "ERROR" not in log
        assert "WARNING" not in log


_TRUNKS = """
[asked](vsek-trunk-by-ip)
aors = asked

[asked]
type = aor
contact = sip:127.0.0.1:{good}
qualify_frequency = 1

[silent](vsek-trunk-by-ip)
aors = silent

[silent]
type = aor
contact = sip:127.0.0.1:9
qualify_frequency = 1
qualify_timeout = 0.5

[unasked](vsek-trunk-by-ip)
aors = unasked

[unasked]
type = aor
contact = sip:127.0.0.1:9

[bare](vsek-trunk-by-ip)
"""
_FOUND = {
    "": ("ok", "No calls are forwarded"),
    "PJSIP/{number}@asked": ("ok", "Trunk 'asked' answers"),
    "PJSIP/{digits}@silent": ("fail", "Trunk 'silent' does not answer"),
    "PJSIP/{number}@unasked": ("ok", "whether it answers is not asked for"),
    "PJSIP/{number}@bare": ("fail", "has no AOR"),
    "PJSIP/bare/sip:{number}@127.0.0.1:9": ("ok", "Trunk 'bare' is there"),
    "PJSIP/{number}@none": ("fail", "Asterisk has no endpoint 'none'"),
    "PJSIP/{number}": ("warn", "cannot be told"),
    "SIP/{number}@asked": ("warn", "cannot be told"),
}
"""What the doctor says of a setting ``outbound.endpoint``."""


async def test_the_doctor_looks_at_the_trunk_for_forwarded_calls(tmp_path: Path) -> None:
    good = await Provider.open("200 OK")
    conf = _TRUNKS.format(good=good.port)
    async with PrivateAsterisk(tmp_path / "asterisk", extra={"pjsip": conf}) as server:

        async def found(endpoint: str) -> tuple[str, str, str]:
            login = {"url": server.ari_url, "username": "vsek", "password": server.ari_password}
            settings = Settings(ari=login, outbound={"endpoint": endpoint})
            ari, report = Ari(settings), Report()
            try:
                await doctor_trunk.examine(ari, settings, report)
            finally:
                await ari.close()
            (finding,) = report.findings
            assert finding.where == "setting outbound.endpoint"
            assert (finding.level == "ok") == (not finding.remedy)
            return finding.level, finding.what, finding.remedy

        async def answers() -> bool | None:
            return (await found("PJSIP/{number}@asked"))[0] == "ok" or None

        await eventually(answers, "an answer to the first OPTIONS")
        for endpoint, (level, words) in _FOUND.items():
            what = await found(endpoint)
            assert what[0] == level, (endpoint, what)
            assert words in what[1], (endpoint, what)
    good.transport.close()
