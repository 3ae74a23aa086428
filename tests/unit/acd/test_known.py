"""Who is recognised, by what, and who is not."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vsek.acd.known import (
    AGENTS_TOLD,
    CROWD_AGENTS,
    CROWD_TALKS,
    TALKS_LOOKED_AT,
    Recognition,
    Talk,
    Why,
    alike,
    name_key,
    recognise,
)
from vsek.domain.ids import AgentId
from vsek.domain.text import clean_line

DAY = 86_400.0
NOW = 1_700_000_000.0


def talk(
    agent: str, days_ago: float = 1.0, *, shown: str = "", person: str = "", company: str = ""
) -> Talk:
    keys = name_key(shown), name_key(person), name_key(company)
    return Talk(NOW - days_ago * DAY, AgentId(agent), *keys)


def known(
    *talks: Talk, shown: str = "", by_name: tuple[Talk, ...] = (), days: float = 14.0
) -> Recognition:
    return recognise(talks, by_name, name_key(shown), NOW, days)


def found_as(*agents: str, why: Why, sure: bool = True) -> Recognition:
    return Recognition(tuple(map(AgentId, agents)), sure, why)


def test_nobody_is_remembered() -> None:
    assert known() == known(shown="Anna Müller") == Recognition()


def test_who_talked_last_comes_first() -> None:
    found = known(talk("bert", 3), talk("anna", 1), talk("carl", 9), talk("bert", 8))
    assert found == found_as("anna", "bert", "carl", why=Why.NUMBER)


def test_a_talk_is_remembered_for_so_many_days() -> None:
    assert known(talk("anna", 13.9), talk("bert", 14.1)).agents == ("anna",)
    assert known(talk("anna", 0.5), days=0.4) == Recognition()


def test_no_more_agents_than_are_of_use() -> None:
    found = known(*(talk(f"agent-{n}", n / 100) for n in range(9)))
    assert found.agents == tuple(f"agent-{n}" for n in range(AGENTS_TOLD))


def test_one_person_under_several_spellings() -> None:
    found = known(
        talk("anna", 1, person="Frau Müller"),
        talk("bert", 2, person="MUELLER, Jörg"),
        talk("carl", 3),
        shown="Joerg Muller",
    )
    assert found == found_as("anna", "bert", "carl", why=Why.NUMBER)


SHARED = (
    talk("anna", 1, person="Eva Sommer", company="Sommer GmbH"),
    talk("bert", 2, person="Karl Winter", company="Sommer GmbH"),
    talk("carl", 3, company="Sommer GmbH"),
)


def test_a_shared_number_glues_nobody_to_anybody() -> None:
    assert known(*SHARED) == Recognition(why=Why.SHARED)
    assert known(*SHARED, shown="Herr Herbst") == Recognition(why=Why.SHARED)
    assert known(*SHARED, shown="Sommer GmbH") == Recognition(why=Why.SHARED)  # is her name as well


def test_at_a_shared_number_the_name_shown_tells_who_calls() -> None:
    assert known(*SHARED, shown="Winter, Karl") == found_as("bert", why=Why.PERSON)
    assert known(*SHARED, shown="Dr. E. Sommer, Eva") == found_as("anna", why=Why.PERSON)


def test_a_name_that_fits_two_tells_nothing() -> None:
    family = talk("anna", person="Eva Sommer"), talk("bert", person="Karl Sommer")
    assert known(*family, shown="Sommer") == Recognition(why=Why.SHARED)
    assert known(*family, shown="Sommer, Eva").agents == ("anna",)


def test_different_companies_behind_a_number_share_it() -> None:
    talks = talk("anna", company="Sommer GmbH"), talk("bert", company="Winter KG")
    assert known(*talks) == Recognition(why=Why.SHARED)


def test_a_number_that_shows_different_names_is_shared() -> None:
    talks = talk("anna", 1, shown="Eva Sommer"), talk("bert", 2, shown="Karl Winter")
    assert known(*talks) == Recognition(why=Why.SHARED)
    assert known(*talks, shown="Karl Winter") == found_as("bert", why=Why.PERSON)
    assert known(talks[0], shown="Karl Winter") == Recognition(why=Why.SHARED)


def test_a_line_that_shows_the_company_tells_nobody_apart() -> None:
    talks = (
        talk("anna", 1, shown="Huber Bau", person="Eva Sommer"),
        talk("bert", 2, shown="Huber Bau", person="Karl Winter"),
        talk("carl", 3, shown="Huber Bau"),
        talk("dora", 4, shown="Huber Lager"),
        talk("emil", 5, shown="Empfang"),
    )
    assert known(*talks, shown="Huber Bau") == Recognition(why=Why.SHARED)
    assert known(*talks, shown="Empfang") == found_as("emil", why=Why.PERSON)


def test_many_talks_with_many_agents_are_a_crowd() -> None:
    crowd = [talk(f"agent-{n % CROWD_AGENTS}", n / 10) for n in range(CROWD_TALKS)]
    assert known(*crowd) == Recognition(why=Why.CROWD)
    noted = talk("anna", person="Eva Sommer")
    assert known(*crowd, noted, shown="Eva Sommer") == found_as("anna", why=Why.PERSON)
    assert known(*crowd[1:]).why is Why.NUMBER
    named = [talk(f"agent-{n % CROWD_AGENTS}", n / 10, person="Eva") for n in range(CROWD_TALKS)]
    assert known(*named).why is Why.NUMBER
    few = [talk(f"agent-{n % (CROWD_AGENTS - 1)}", n / 10) for n in range(TALKS_LOOKED_AT)]
    assert known(*few).why is Why.NUMBER


def test_a_crowd_behind_one_of_several_lines() -> None:
    line = [talk(f"agent-{n % CROWD_AGENTS}", n / 10, shown="Zentrale") for n in range(CROWD_TALKS)]
    talks = [*line, talk("anna", shown="Empfang")]
    assert known(*talks, shown="Zentrale") == Recognition(why=Why.SHARED)
    assert known(*talks, shown="Empfang").agents == ("anna",)


def test_a_new_name_on_a_known_number_is_doubtful() -> None:
    noted = talk("anna", person="Eva Sommer", company="Sommer Bau")
    assert known(noted, shown="Karl Winter") == found_as("anna", why=Why.NUMBER, sure=False)
    assert known(noted, shown="Sommer Bau GmbH").sure
    assert known(noted, talk("bert", shown="Karl Winter"), shown="Karl Winter").sure


def test_who_hides_the_number_is_recognised_by_the_name_but_not_for_sure() -> None:
    by_name = talk("anna", 2, person="Eva Sommer"), talk("bert", 1, person="Eva Sommer")
    found = known(shown="Dr. Eva Sommer", by_name=by_name)
    assert found == found_as("bert", "anna", why=Why.NAME, sure=False)
    assert known(shown="Sommer", by_name=by_name) == Recognition()
    assert known(shown="", by_name=(talk("anna"),)) == Recognition()
    assert known(shown="Eva Sommer", by_name=by_name, days=0.5) == Recognition()


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("Dr. Jörg Müller", "jorg muller"),
        ("MUELLER, Joerg", "jorg muller"),
        ("joerg  muller", "jorg muller"),
        ("Müller-Lüdenscheidt", "ludenscheidt muller"),
        ("Weiß", "weiss"),
        ("O\u2019Neill", "oneill"),
        ("D'Angelo", "dangelo"),
        ("Łukasz Øster", "lukasz oster"),
        ("İbrahim Çelik", "celik ibrahim"),
        ("Prof. Dr. med. A. Weber", "weber"),
        ("Sommer & Co. KG", "sommer"),
        ("王芳", "王芳"),
        ("Herr Dr.", ""),
        ("unbekannt", ""),
        ("+49 30 1234567", ""),
        ("007", ""),
        ("\u202ereveS \x00lla", "lla reves"),
        ("' OR 1=1; --", "or"),
        ("", ""),
    ],
)
def test_names_have_one_spelling(text: str, key: str) -> None:
    assert name_key(text) == key


@given(st.text(max_size=300))
def test_no_name_upsets_the_spelling(text: str) -> None:
    key = name_key(text)
    assert clean_line(key, 500) == key
    assert key == " ".join(sorted(key.split()))
    assert alike(key, key) == bool(key)


_names = st.sampled_from(["", "Eva Sommer", "Sommer", "Karl Winter", "Zentrale", "Winter KG"])
_talks = st.builds(
    talk,
    st.sampled_from("abcdefgh"),
    st.floats(0, 20),
    shown=_names,
    person=_names,
    company=_names,
)


@given(st.lists(_talks, max_size=30), st.lists(_talks, max_size=5), _names)
def test_whatever_is_remembered(by_number: list[Talk], by_name: list[Talk], shown: str) -> None:
    found = known(*by_number, shown=shown, by_name=tuple(by_name))
    assert len(set(found.agents)) == len(found.agents) <= AGENTS_TOLD
    assert set(found.agents) <= {one.agent_id for one in (*by_number, *by_name)}
    assert bool(found.agents) == (found.why in (Why.NUMBER, Why.PERSON, Why.NAME))
    assert not (found.sure and not found.agents)
    assert found == known(*reversed(by_number), shown=shown, by_name=tuple(by_name)) or len(
        {one.at for one in by_number}
    ) < len(by_number)
