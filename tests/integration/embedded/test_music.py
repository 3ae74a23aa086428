"""Music classes that vsek writes, taken over at run time."""

from __future__ import annotations

from pathlib import Path

from tests.integration.embedded.conftest import Watcher, alive

from vsek.ari import Client, events
from vsek.demo.caller import Caller
from vsek.demo.sipmessage import Dial
from vsek.embedded.asterisk import PrivateAsterisk
from vsek.errors import ServiceError

_TUNE = Path(__file__).parents[3] / "asterisk-conf/vsek-sounds/technical-fault-de.wav"


async def _music_plays(
    asterisk: PrivateAsterisk, client: Client, watcher: Watcher, name: str
) -> bool:
    """Whether the caller hears something in class ``name`` (an unknown class falls back to the
    default, so that one is made silent by having no files)."""
    async with await Caller.dial(("127.0.0.1", asterisk.sip_port), Dial("1")) as caller:
        start = await watcher.next(events.StasisStart)
        path = f"channels/{start.channel.id}"
        assert (await client.http("POST", f"{path}/answer")).status == 204
        await caller.wait_answered()
        reply = await client.http("POST", f"{path}/moh", query={"mohClass": name})
        assert reply.status == 204, reply
        try:
            await caller.media.wait_sound(timeout_s=1.5)
        except ServiceError:
            heard = False
        else:
            heard = True
        await client.http("DELETE", path)
        await caller.wait_ended()
        await watcher.next(events.StasisEnd)
        return heard


async def test_a_new_class_is_there_after_a_reload_through_ari(tmp_path: Path) -> None:
    server = PrivateAsterisk(
        tmp_path / "asterisk", extra={"musiconhold": "[default](+)\ndirectory = /nowhere\n"}
    )
    watcher = Watcher()
    async with server, Client(server.ari_url, "vsek", server.ari_password, app="vsek") as client:
        client.on_any_event(watcher.take)
        await client.wait_connected(10)
        async with alive(client):
            await _classes_come_and_go(server, client, watcher)


async def _classes_come_and_go(server: PrivateAsterisk, client: Client, watcher: Watcher) -> None:
    (server.sounds / "tune.wav").write_bytes(_TUNE.read_bytes())
    assert not await _music_plays(server, client, watcher, "client-1")
    server.music_conf.write_text(f"[client-1]\nmode = playlist\nentry = {server.sounds / 'tune'}\n")
    reply = await client.http("PUT", "asterisk/modules/res_musiconhold.so")
    assert reply.status == 204, reply
    assert await _music_plays(server, client, watcher, "client-1")
    server.music_conf.write_text("; none\n")
    await client.http("PUT", "asterisk/modules/res_musiconhold.so")
    assert not await _music_plays(server, client, watcher, "client-1")
