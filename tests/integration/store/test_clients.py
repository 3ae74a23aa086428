"""Import and export of clients, agents, audio, and the directory made of them."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING

import asyncpg
import pytest
from tests.integration.store.makers import FakeSounds, client, file_of
from tests.whose import whose

from vsek.domain.agent import ha1
from vsek.domain.ids import ClientId
from vsek.domain.sounds import WantedSound
from vsek.domain.values import Sound
from vsek.domain.yamlfile import FileError, read_clients
from vsek.embedded.packages import find_tool
from vsek.errors import InputError, ServiceError
from vsek.pbx.sounds import SoundWorkshop
from vsek.store import agents, audio, clients, directory
from vsek.store.pool import acquire, open_pool

if TYPE_CHECKING:
    from vsek.store.pool import Connection, Pool

HERE = Path()
EXAMPLE = Path(__file__).resolve().parents[3] / "docs" / "example-clients.yaml"


async def test_import_twice_changes_nothing(conn: Connection) -> None:
    sounds = FakeSounds()
    file = file_of(
        client("a", policy="greet", greeting="Guten Tag."),
        client("b", numbers={"forwarding": ["+49 40 7654321"]}, music="b.wav"),
    )
    first = await clients.import_clients(conn, file, sounds, base=HERE)
    assert first.created == ("a", "b")
    assert len(sounds.made) == 2
    second = await clients.import_clients(conn, file, sounds, base=HERE)
    assert (second.created, second.changed, second.unchanged) == ((), (), ("a", "b"))
    assert len(sounds.made) == 2, "what was made once is not made again"
    stored = await clients.show(conn, "a")
    assert stored.version == 1
    assert stored.client == file.clients[0]


async def test_a_changed_client_is_replaced_and_others_stay(conn: Connection) -> None:
    sounds = FakeSounds()
    both = file_of(client("a"), client("b", numbers={"did": ["+49 30 2222222"]}))
    await clients.import_clients(conn, both, sounds, base=HERE)
    result = await clients.import_clients(conn, file_of(client("a", name="Neu")), sounds, base=HERE)
    assert result.changed == ("a",)
    assert [one.client.name for one in await clients.list_clients(conn)] == ["Neu", "Firma b"]
    assert (await clients.show(conn, "a")).version == 2


async def test_clients_may_exchange_numbers_within_one_file(conn: Connection) -> None:
    one, two = {"did": ["+49 30 1111111"]}, {"did": ["+49 30 2222222"]}
    await clients.import_clients(
        conn, file_of(client("a", numbers=one), client("b", numbers=two)), FakeSounds(), base=HERE
    )
    await clients.import_clients(
        conn, file_of(client("a", numbers=two), client("b", numbers=one)), FakeSounds(), base=HERE
    )
    known = await directory.load(conn)
    assert whose(known, "+49301111111") == "b"


async def test_a_number_of_another_client_refuses_the_whole_file(conn: Connection) -> None:
    await clients.import_clients(conn, file_of(client("a")), FakeSounds(), base=HERE)
    text = (
        "clients:\n"
        "  - {id: c, name: C, numbers: {did: ['030 9999999']},\n"
        "     contacts: [{name: X, email: x@example.com, notes: true}]}\n"
        "  - id: b\n"
        "    name: B\n"
        "    contacts: [{name: X, email: x@example.com, notes: true}]\n"
        "    numbers:\n"
        "      did:\n"
        "        - 030 5555555\n"
        "        - 030/1234567\n"
    )
    with pytest.raises(FileError) as caught:
        await clients.import_clients(conn, read_clients(text, "x.yaml"), FakeSounds(), base=HERE)
    (problem,) = caught.value.problems
    assert problem.line == 10
    assert problem.field == "clients[1].numbers.did[1]"
    assert "already belongs to client 'a'" in problem.message
    assert [one.client.id for one in await clients.list_clients(conn)] == ["a"]


@pytest.mark.parametrize(
    ("stored", "wanted"),
    [("+49 30 1234*", "+49 30 12345"), ("+49 30 12345", "+49 30 1234*"), ("030 12*", "030 123*")],
)
async def test_a_number_within_another_clients_block_is_refused(
    conn: Connection, stored: str, wanted: str
) -> None:
    numbers = {"did": [stored]}
    await clients.import_clients(
        conn, file_of(client("a", numbers=numbers)), FakeSounds(), base=HERE
    )
    numbers = {"did": [wanted]}
    other = file_of(client("b", numbers=numbers))
    with pytest.raises(FileError) as caught:
        await clients.import_clients(conn, other, FakeSounds(), base=HERE)
    (problem,) = caught.value.problems
    assert problem.field == "clients[0].numbers.did[0]"
    assert "have numbers in common" in problem.message
    known = await directory.load(conn)
    assert whose(known, "+493012345") == "a"
    assert whose(known, "+4930999") is None


async def test_all_that_does_not_fit_the_house_is_told_with_its_lines(conn: Connection) -> None:
    await clients.import_clients(conn, file_of(client("a")), FakeSounds(), base=HERE)

    class Broken(FakeSounds):
        async def source(self, wanted: WantedSound) -> str:
            raise InputError("no such file", remedy="Name another")

    text = (
        "clients:\n"
        "  - id: b\n"
        "    name: B\n"
        "    contacts: [{name: X, email: x@example.com, notes: true}]\n"
        "    numbers:\n"
        "      did: [030 1234567]\n"
        "    greeting:\n"
        "      file: missing.wav\n"
        "    music: also-missing.wav\n"
        "    group: nowhere\n"
        "    when_nobody_can:\n"
        "      - {do: regroup, group: neither}\n"
    )
    with pytest.raises(FileError) as caught:
        await clients.import_clients(conn, read_clients(text, "x.yaml"), Broken(), base=HERE)
    assert [(one.line, one.field) for one in caught.value.problems] == [
        (6, "clients[0].numbers.did[0]"),
        (7, "clients[0].greeting"),
        (9, "clients[0].music"),
        (10, "clients[0].group"),
        (12, "clients[0].when_nobody_can[0].group"),
    ]
    assert [one.client.id for one in await clients.list_clients(conn)] == ["a"]


async def test_two_imports_at_once_cannot_claim_one_number(pool: Pool) -> None:
    async def run(client_id: str) -> bool:
        async with acquire(pool) as connection:
            try:
                await clients.import_clients(
                    connection, file_of(client(client_id)), FakeSounds(), base=HERE
                )
            except FileError:
                return False
            return True

    assert sorted(await asyncio.gather(run("a"), run("b"), run("c"))) == [False, False, True]


async def test_export_imports_to_the_same(conn: Connection, tmp_path: Path) -> None:
    sounds = FakeSounds()
    await clients.import_clients(
        conn,
        file_of(
            client(
                "a", policy="greet", greeting={"file": "hello.wav"}, hours={"fri": "22:00-06:00"}
            ),
            client("b", numbers={"did": ["1001"]}, facts=["Erste\nZweite"], wrap_up_s=5),
        ),
        sounds,
        base=HERE,
    )
    before = await clients.list_clients(conn)
    by_hash = await clients.export(conn)
    assert "audio:" in by_hash
    await clients.import_clients(conn, read_clients(by_hash, "x"), sounds, base=HERE)
    after = await clients.list_clients(conn)
    assert [one.greeting_sound for one in after] == [one.greeting_sound for one in before]
    assert len(sounds.made) == 1

    with_files = await clients.export(conn, ["a"], audio_folder=tmp_path / "audio")
    (exported,) = read_clients(with_files, "x").clients
    assert exported.greeting is not None
    assert exported.greeting.file is not None
    assert (tmp_path / exported.greeting.file).read_bytes().startswith(b"WAV:")
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(ServiceError, match="Sounds cannot be written"):
        await clients.export(conn, ["a"], audio_folder=tmp_path / "file")
    with pytest.raises(InputError, match="There is no client 'zz'"):
        await clients.export(conn, ["zz"])


async def test_a_hash_that_names_no_sound(conn: Connection) -> None:
    file = file_of(client("a", greeting={"audio": "0" * 64}))
    with pytest.raises(FileError, match="There is no sound 000000000000…"):
        await clients.import_clients(conn, file, FakeSounds(), base=HERE)


async def test_a_file_that_is_not_there(conn: Connection, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be read: No such file"):
        await clients.import_file(conn, tmp_path / "none.yaml", FakeSounds())


async def test_directory(conn: Connection) -> None:
    await clients.import_clients(
        conn,
        file_of(
            client("own", policy="greet", greeting="Hallo"),
            client("near", numbers={"forwarding": ["+49 40 1"]}, music="near.wav"),
            client("far", numbers={"forwarding": ["+49 40 2222222"]}),
        ),
        FakeSounds(),
        base=HERE,
    )
    added = await agents.add(conn, "anna", "Anna Schmidt", "correct-horse-battery")
    known = await directory.load(conn)
    assert set(known.clients) == {"own", "near", "far"}
    assert known.agents == {added.agent.id: added.agent}
    own, near = known.clients[ClientId("own")], known.clients[ClientId("near")]
    assert own.greeting_sound is not None
    assert own.music_sound is None
    assert known.sounds() == {own.greeting_sound, near.music_sound}
    assert await audio.fetch(conn, known.sounds())

    def owner(did: str, *forwarders: str) -> str | None:
        return whose(known, did, forwarders)

    number = near.client.numbers.forwarding[0]
    assert owner("+49301234567", number) == "own", "a DID of one's own wins"
    assert owner("+49300000000", "+49888", number, "+49402222222") == "near", "most recent first"
    assert owner("+49300000000") is None
    assert owner("") is None


async def test_an_unreadable_client_does_not_stop_the_others(conn: Connection) -> None:
    await clients.import_clients(
        conn,
        file_of(client("good"), client("bad", numbers={"did": ["+49 30 2222222"]})),
        FakeSounds(),
        base=HERE,
    )
    await conn.execute("""UPDATE vsek.clients SET account = '{"id": "bad"}' WHERE id = 'bad'""")
    known = await directory.load(conn)
    assert set(known.clients) == {"good"}
    assert "bad" in known.unreadable
    with pytest.raises(ServiceError, match="'bad' cannot be read"):
        await clients.list_clients(conn)
    again = file_of(client("bad", numbers={"did": ["+49 30 2222222"]}))
    result = await clients.import_clients(conn, again, FakeSounds(), base=HERE)
    assert result.changed == ("bad",)


async def test_agents(conn: Connection) -> None:
    added = await agents.add(conn, "anna", "  Anna\u202e Schmidt ", language="en")
    assert added.secret_was_made
    assert len(added.secret) >= 12
    assert added.agent.ha1 == ha1("anna", added.secret)
    assert added.agent.name == "Anna Schmidt"
    stored = await agents.list_agents(conn)
    assert [one.agent for one in stored] == [added.agent]
    raw = str(await conn.fetch("SELECT * FROM vsek.agents"))
    assert added.secret not in raw
    assert added.secret not in repr(added)

    with pytest.raises(InputError, match="Agent 'anna' exists"):
        await agents.add(conn, "anna", "Anna")
    await agents.change(conn, "anna", name="Anna Meier", secret="another-secret-123")
    changed = (await agents.show(conn, "anna")).agent
    assert (changed.name, changed.language) == ("Anna Meier", "en")
    assert changed.ha1 == ha1("anna", "another-secret-123")

    await agents.remove(conn, "anna")
    assert await agents.list_agents(conn) == []
    for lost in (agents.remove(conn, "anna"), agents.change(conn, "anna", name="x")):
        with pytest.raises(InputError, match="There is no agent 'anna'"):
            await lost
    with pytest.raises(InputError, match="There is no agent"):
        await agents.show(conn, "anna")
    again = await agents.add(conn, "anna", "Anna Neu", "secret-secret")
    assert not again.secret_was_made
    assert (await agents.show(conn, "anna")).agent.name == "Anna Neu"


@pytest.mark.parametrize(
    ("agent_id", "name", "secret", "language", "field"),
    [
        ("+4930123456", "A", None, "de", "id"),
        ("4930123456", "A", None, "de", "id"),
        ("Anna", "A", None, "de", "id"),
        ("trunk", "A", None, "de", "id"),
        ("a" * 41, "A", None, "de", "id"),
        ("anna", " \n", None, "de", "name"),
        ("anna", "A" * 121, None, "de", "name"),
        ("anna", "A", "eleven-char", "de", "secret"),
        ("anna", "A", "with ümlaut-secret", "de", "secret"),
        ("anna", "A", None, "fr", "language"),
    ],
)
async def test_agents_are_checked_at_the_edge(
    conn: Connection, agent_id: str, name: str, secret: str | None, language: str, field: str
) -> None:
    with pytest.raises(InputError) as caught:
        await agents.add(conn, agent_id, name, secret, language)
    assert caught.value.field == field
    assert caught.value.remedy
    assert secret is None or secret not in str(caught.value)
    assert await agents.list_agents(conn) == []


async def test_changes_are_announced(conn: Connection, postgres_dsn: str) -> None:
    heard = asyncio.Event()
    listener = await asyncpg.connect(postgres_dsn)
    await listener.add_listener("vsek_directory", lambda *_: heard.set())
    await agents.add(conn, "anna", "Anna")
    async with asyncio.timeout(5):
        await heard.wait()
    heard.clear()
    await clients.import_clients(conn, file_of(client("a")), FakeSounds(), base=HERE)
    async with asyncio.timeout(5):
        await heard.wait()
    await listener.close()


async def test_ensure_makes_each_sound_once(conn: Connection) -> None:
    sounds = FakeSounds()
    wanted = [WantedSound(Sound(text=text), "de") for text in ("eins", "zwei", "eins")]
    first = await audio.ensure(conn, sounds, wanted)
    assert first[0] == first[2] != first[1]
    assert await audio.ensure(conn, sounds, wanted) == first
    assert len(sounds.made) == 3, "the second run makes nothing"
    assert set(await audio.fetch(conn, {*first, "0" * 64})) == set(first)


async def test_no_database() -> None:
    away = await open_pool("postgresql://vsek@127.0.0.1:1/vsek")
    with pytest.raises(ServiceError, match="The database does not serve"):
        async with acquire(away):
            pass
    await away.close()
    for wrong in ("mysql://x", "postgresql://h:port/x", "nonsense"):
        with pytest.raises(InputError, match="DSN cannot be read"):
            await open_pool(wrong)


async def test_a_database_without_migrations(empty_dsn: str) -> None:
    bare = await open_pool(empty_dsn)
    with pytest.raises(ServiceError, match="has not been migrated"):
        async with acquire(bare) as connection:
            await clients.list_clients(connection)
    await bare.close()


async def test_the_documented_example_with_real_speech(conn: Connection) -> None:
    workshop = SoundWorkshop(find_tool)
    first = await clients.import_file(conn, EXAMPLE, workshop)
    names = ("praxis-sommer", "tischlerei-brandt", "praxis-winter", "harbour-freight")
    assert first.created == names
    second = await clients.import_file(conn, EXAMPLE, workshop)
    assert second.unchanged == first.created
    known = await directory.load(conn)
    assert len(await audio.fetch(conn, known.sounds())) == 5
    assert whose(known, "+49305550000", ("+493415550200",)) == "tischlerei-brandt"
