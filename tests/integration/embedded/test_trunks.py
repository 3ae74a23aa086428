"""The templates for trunks, used as the example beside them shows."""

from __future__ import annotations

import re
from pathlib import Path

from tests.integration.embedded.conftest import get

from vsek.ari import Client
from vsek.embedded import resources
from vsek.embedded.asterisk import PrivateAsterisk


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
