"""What Asterisk tells of trunks: registrations and reachability, against a provider of our own."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path
from typing import cast

from vsek.ari import Client
from vsek.demo.events import eventually
from vsek.embedded.asterisk import PrivateAsterisk
from vsek.operations.trunks import Trunks
from vsek.pbx.ami import Watchman
from vsek.settings import AmiSettings
from vsek.switchboard.facts import Trunk

_CONF = """
[friendly]
type = registration
transport = agents
server_uri = sip:127.0.0.1:{friendly}
client_uri = sip:vsek@127.0.0.1:{friendly}
retry_interval = 1

[strict]
type = registration
transport = agents
server_uri = sip:127.0.0.1:{strict}
client_uri = sip:vsek@127.0.0.1:{strict}
retry_interval = 1
forbidden_retry_interval = 1
max_retries = 1000

[line]
type = endpoint
transport = agents
context = from-trunk
aors = line
disallow = all
allow = alaw

[line]
type = aor
contact = sip:127.0.0.1:{friendly}
qualify_frequency = 1
qualify_timeout = 1.0

[unasked]
type = endpoint
transport = agents
context = from-trunk
aors = unasked
disallow = all
allow = alaw

[unasked]
type = aor
contact = sip:127.0.0.1:{friendly}
"""


class Provider(asyncio.DatagramProtocol):
    """Answers every SIP request with ``status``."""

    def __init__(self, status: str) -> None:
        self.status = status

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.DatagramTransport", transport)
        self.port = transport.get_extra_info("sockname")[1]

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        lines = data.decode().split("\r\n")
        kept = [
            line
            for line in lines[1:]
            if re.match(r"(Via|From|To|Call-ID|CSeq|Contact)\s*:", line, re.IGNORECASE)
        ]
        kept = [f"{x};tag=provider" if x.lower().startswith("to:") else x for x in kept]
        answer = [f"SIP/2.0 {self.status}", *kept, "Expires: 60", "Content-Length: 0", "", ""]
        self.transport.sendto("\r\n".join(answer).encode(), addr)

    @classmethod
    async def open(cls, status: str) -> Provider:
        loop = asyncio.get_running_loop()
        _, provider = await loop.create_datagram_endpoint(
            lambda: cls(status), local_addr=("127.0.0.1", 0)
        )
        return provider


async def test_trunks_up_and_down(tmp_path: Path) -> None:
    friendly, strict = await Provider.open("200 OK"), await Provider.open("403 Forbidden")
    conf = _CONF.format(friendly=friendly.port, strict=strict.port)
    server = PrivateAsterisk(tmp_path / "asterisk", extra={"pjsip": conf})
    async with server, Client(server.ari_url, "vsek", server.ari_password, app="vsek") as client:
        ami = server.settings()["ami"]
        async with Watchman(AmiSettings(**ami), list) as watchman:
            trunks = Trunks(
                client,
                watchman,
                up=lambda: client.connected,
                agents=list,
                wanted=["promised"],
                seen=["gone-long-ago"],
            )

            async def seen(*expected: Trunk) -> bool | None:
                found = await trunks.look()
                return True if found is not None and set(expected) <= set(found) else None

            await eventually(
                lambda: seen(
                    Trunk("line", True, "online"),
                    Trunk("friendly", True, "Registered"),
                    Trunk("promised", False, "missing"),
                ),
                "trunks that are up",
            )
            await eventually(lambda: seen(Trunk("strict", False, "Rejected")), "a rejected one")
            friendly.transport.close()
            await eventually(lambda: seen(Trunk("line", False, "offline")), "a dead line")
            found = await trunks.look()
            assert found is not None
            assert "gone-long-ago" not in {trunk.name for trunk in found}
            strict.status = "200 OK"
            await eventually(lambda: seen(Trunk("strict", True, "Registered")), "a registration")
            # A line that Asterisk does not ask is never blamed.
            assert Trunk("unasked", False, "offline") not in (await trunks.look() or ())
    strict.transport.close()


async def test_nothing_is_known_without_asterisk(tmp_path: Path) -> None:
    client = Client("http://127.0.0.1:9", "vsek", "x")
    trunks = Trunks(client, None, up=lambda: False, agents=list, wanted=["a"], seen=[])
    assert await trunks.look() is None
