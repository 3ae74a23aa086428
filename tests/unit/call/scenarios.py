"""What happens in the world while the switchboard is killed: callers, agents, clients' numbers."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from tests.unit.call.book import (
    AGENTS,
    CLOSED,
    GREET,
    HOLD,
    HOLD_TREAT,
    KEYS,
    MUTE,
    RING,
    SCREEN,
    TREAT,
    TREAT_NOW,
    TREAT_RING,
    UNKNOWN,
)
from tests.unit.call.sim import Caller, Sim

from vsek.acd.events import AgentPaused, AgentReadied
from vsek.domain.outcomes import Finding

ANNA, BERT, CARL = AGENTS
NUMBER, OTHER = "+49301234567", "+49307654321"


def ring(sim: Sim) -> None:
    sim.agent(ANNA)
    sim.dial(1.0, Caller(RING))


def greet(sim: Sim) -> None:
    sim.agent(ANNA)
    sim.dial(1.0, Caller(GREET, hangs_up=True))


def nobody_there(sim: Sim) -> None:
    sim.dial(1.0, Caller(GREET, patience_s=30.0))
    sim.dial(2.0, Caller(RING, patience_s=20.0, message=False))
    sim.at(15.0, lambda: sim.exchange.register(ANNA))


def screen(sim: Sim) -> None:
    sim.agent(ANNA)
    sim.dial(1.0, Caller(SCREEN))


def screen_says_nothing(sim: Sim) -> None:
    sim.agent(ANNA)
    sim.dial(1.0, Caller(SCREEN, says=_said(Finding.SILENCE, Finding.SILENCE)))


def screen_fax(sim: Sim) -> None:
    sim.agent(ANNA)
    sim.dial(1.0, Caller(SCREEN, says=_said(Finding.FAX)))


def screen_key(sim: Sim) -> None:
    sim.agent(ANNA)
    sim.dial(1.0, Caller(SCREEN, key="1", hangs_up=True))
    sim.dial(1.5, Caller(KEYS, key="1"))


def screen_gives_up(sim: Sim) -> None:
    sim.agent(ANNA, "ignore")
    for patience_s in (3.0, 7.0, 10.0, 14.0):
        sim.dial(1.0, Caller(SCREEN, patience_s=patience_s, says=_said(Finding.MUSIC)))


def screen_agent_hangs_up_in_the_briefing(sim: Sim) -> None:
    sim.agent(ANNA, "drop")
    sim.agent(BERT)
    sim.dial(1.0, Caller(SCREEN))


def two_refuse(sim: Sim) -> None:
    sim.agent(ANNA, "refuse")
    sim.agent(BERT, "refuse")
    sim.agent(CARL)
    sim.dial(1.0, Caller(RING))


def rona(sim: Sim) -> None:
    sim.agent(ANNA, "ignore", "late")
    sim.agent(BERT, "ignore")
    sim.dial(1.0, Caller(GREET))


def late_answer(sim: Sim) -> None:
    sim.agent(ANNA, "late")
    sim.agent(BERT)
    sim.dial(1.0, Caller(RING, hangs_up=True))


def give_up(sim: Sim) -> None:
    sim.agent(ANNA, "ignore")
    for patience_s in (0.5, 2.5, 4.1, 7.0):
        sim.dial(1.0, Caller(GREET, patience_s=patience_s))
    sim.dial(1.0, Caller(RING, patience_s=4.0))


def give_up_when_answered(sim: Sim) -> None:
    sim.agent(ANNA)
    sim.dial(1.0, Caller(RING, talk_s=0.0, hangs_up=True))
    sim.dial(1.0, Caller(RING, patience_s=3.0))


def vanish(sim: Sim) -> None:
    sim.agent(ANNA, "vanish")
    sim.agent(BERT, "vanish")
    sim.dial(1.0, Caller(RING))


def agent_hangs_up_while_joined(sim: Sim) -> None:
    sim.agent(ANNA, "drop")
    sim.agent(BERT, "drop")
    sim.agent(CARL)
    sim.dial(1.0, Caller(GREET))


def wrap_up(sim: Sim) -> None:
    sim.agent(ANNA)
    sim.dial(1.0, Caller(RING, talk_s=5.0))
    sim.dial(2.0, Caller(GREET, talk_s=5.0))
    sim.dial(3.0, Caller(MUTE, talk_s=5.0, hangs_up=True))


def one_agent_who_drops_and_no_wrap_up(sim: Sim) -> None:
    sim.agent(ANNA, "drop", "drop")
    for after_s in (1.0, 1.5, 2.0):
        sim.dial(after_s, Caller(MUTE, talk_s=5.0))


def pause(sim: Sim) -> None:
    sim.agent(ANNA)
    sim.agent(BERT, "ignore")
    sim.dial(1.0, Caller(RING))
    sim.ask(2.0, AgentPaused(ANNA, "lunch"))
    sim.ask(30.0, AgentReadied(ANNA))


def announcements(sim: Sim) -> None:
    sim.agent(ANNA)
    sim.dial(1.0, Caller(CLOSED))
    sim.dial(2.0, Caller(UNKNOWN))
    sim.dial(3.0, Caller(CLOSED, patience_s=1.0))


def asterisk_restarts(sim: Sim) -> None:
    sim.agent(ANNA)
    sim.agent(BERT, "ignore")
    for did in (RING, GREET, SCREEN):
        sim.dial(1.0, Caller(did))
    sim.break_asterisk(7.0)
    sim.dial(12.0, Caller(RING))


def away(sim: Sim) -> None:
    """Callers come while nobody is there."""
    sim.agent(ANNA)
    for after_s in (1.0, 3.0, 9.0, 25.0):
        sim.dial(after_s, Caller(GREET, talk_s=3.0, message=after_s != 9.0))


def comes_meanwhile(sim: Sim) -> None:
    sim.agent(ANNA, "drop")
    sim.agent(BERT, "ignore")
    sim.dial(1.0, Caller(GREET, patience_s=120.0))
    sim.dial(1.1, Caller(RING, patience_s=120.0))
    sim.meanwhile += [Caller(GREET), Caller(SCREEN)]


def rush(sim: Sim) -> None:
    sim.agent(ANNA, "answer", "refuse", "drop")
    sim.agent(BERT, "ignore")
    for number, did in enumerate((GREET, SCREEN, RING, MUTE, SCREEN)):
        sim.dial(1.0 + number, Caller(did, talk_s=6.0, hangs_up=bool(number % 2)))
    sim.ask(20.0, AgentPaused(BERT, "lunch"))


def announce(sim: Sim) -> None:
    """An agent comes while the announcement runs, and while it rings nobody is treated."""
    sim.dial(1.0, Caller(TREAT))
    sim.at(11.5, lambda: sim.exchange.register(ANNA))


def call_back(sim: Sim) -> None:
    sim.dial(1.0, Caller(TREAT, number=NUMBER, presses={"sound:/callback": "1"}))
    sim.dial(1.2, Caller(TREAT_NOW, number=NUMBER, presses={"sound:/callback": "21"}))
    sim.dial(1.4, Caller(TREAT, number=NUMBER, patience_s=19.0))


def call_back_to_a_number_that_is_keyed_in(sim: Sim) -> None:
    keys = {
        "sound:/callback_hidden": "1",
        "sound:/callback_number": "030555*03055512#",
        "sound:/callback_check": "1",
    }
    sim.dial(1.0, Caller(TREAT, presses=keys))
    sim.dial(1.5, Caller(TREAT, presses={**keys, "sound:/callback_check": ""}, patience_s=60.0))
    sim.dial(1.7, Caller(TREAT, presses={"sound:/callback_hidden": "1"}, patience_s=35.0))


def call_back_while_an_agent_is_rung(sim: Sim) -> None:
    sim.manners[ANNA].append("ignore")
    sim.dial(1.0, Caller(TREAT_NOW, number=NUMBER, presses={"sound:/callback": "1"}))
    sim.at(5.5, lambda: sim.exchange.register(ANNA))


def voicemail(sim: Sim) -> None:
    sim.dial(1.0, Caller(TREAT_NOW, number=NUMBER))
    sim.dial(1.5, Caller(TREAT_NOW, speaks_s=200.0, patience_s=240.0))
    for patience_s in (13.0, 15.5, 19.0):
        sim.dial(2.0, Caller(TREAT_NOW, patience_s=patience_s))
    sim.dial(2.5, Caller(TREAT, presses={"sound:/voicemail": "3"}))


def forward(sim: Sim) -> None:
    sim.dial(1.0, Caller(TREAT, talk_s=5.0))
    sim.dial(1.5, Caller(TREAT_RING, talk_s=5.0, hangs_up=True))


def forward_in_vain(sim: Sim) -> None:
    sim.numbers += ["ignore", "refuse", "drop", "ignore"]
    sim.dial(1.0, Caller(TREAT, patience_s=60.0))
    sim.dial(1.5, Caller(TREAT_RING, patience_s=50.0))
    sim.dial(3.0, Caller(TREAT, patience_s=28.5))
    sim.dial(3.5, Caller(TREAT, number=NUMBER, presses={"sound:/callback": "1"}))


def forward_beside_an_agent(sim: Sim) -> None:
    """Both ring; the agent picks up first, then the number."""
    sim.numbers += ["ignore", "answer"]
    sim.dial(1.0, Caller(TREAT, talk_s=5.0))
    sim.at(26.0, lambda: sim.exchange.register(ANNA))
    sim.dial(40.0, Caller(TREAT_RING, talk_s=5.0))
    sim.manners[ANNA].extend(["answer", "ignore", "ignore"])


def kept_until_the_agent_is_free(sim: Sim) -> None:
    """Others are served past the caller, who waits for Anna."""
    sim.knows(ANNA, HOLD, NUMBER)
    sim.agent(ANNA)
    sim.dial(1.0, Caller(MUTE, talk_s=7.0))
    sim.at(3.0, lambda: sim.exchange.register(BERT))
    sim.dial(5.0, Caller(HOLD, number=NUMBER, talk_s=5.0))
    sim.dial(6.0, Caller(GREET, talk_s=5.0, hangs_up=True))


def kept_in_vain(sim: Sim) -> None:
    """Anna talks for longer than the caller is kept for her."""
    sim.knows(ANNA, HOLD, NUMBER)
    sim.agent(ANNA)
    sim.dial(1.0, Caller(RING, talk_s=30.0))
    sim.at(3.0, lambda: sim.exchange.register(BERT))
    sim.dial(5.0, Caller(HOLD, number=NUMBER, talk_s=5.0))
    sim.dial(14.0, Caller(RING, number=OTHER, talk_s=5.0))


def kept_and_gives_up(sim: Sim) -> None:
    """Is kept again on the next call, at the place of the one before."""
    sim.knows(ANNA, HOLD, NUMBER)
    sim.agent(ANNA)
    sim.dial(1.0, Caller(MUTE, talk_s=20.0))
    sim.at(3.0, lambda: sim.exchange.register(BERT))
    again = Caller(HOLD, number=NUMBER, talk_s=5.0)
    sim.dial(5.0, Caller(HOLD, number=NUMBER, patience_s=8.0, again=again, again_after_s=4.0))


def kept_for_two_who_do_not_come(sim: Sim) -> None:
    """One vanishes in a talk, the other asks for a pause: Carl takes the call at once."""
    sim.knows(ANNA, HOLD, NUMBER)
    sim.knows(BERT, HOLD, NUMBER)
    sim.agent(ANNA)
    sim.agent(BERT)
    for _ in range(2):
        sim.dial(1.0, Caller(RING, talk_s=20.0))
    sim.at(5.0, lambda: sim.exchange.register(CARL))
    sim.dial(6.0, Caller(HOLD, number=NUMBER, talk_s=5.0))
    sim.at(8.0, lambda: sim.exchange.register(ANNA, registered=False))
    sim.ask(9.0, AgentPaused(BERT, "lunch"))
    sim.at(40.0, lambda: sim.exchange.register(ANNA))


def kept_and_not_taken(sim: Sim) -> None:
    """Anna is free in time and lets it ring: the call is not kept for her again."""
    sim.knows(ANNA, HOLD, NUMBER)
    sim.agent(ANNA, "answer", "ignore")
    sim.dial(1.0, Caller(MUTE, talk_s=5.0))
    sim.at(3.0, lambda: sim.exchange.register(BERT))
    sim.dial(5.0, Caller(HOLD, number=NUMBER, talk_s=5.0))


def kept_and_told(sim: Sim) -> None:
    """Hears announcements meanwhile; one would rather be called back, and phones again."""
    for number in (NUMBER, OTHER):
        sim.knows(ANNA, HOLD_TREAT, number)
    sim.agent(ANNA)
    sim.dial(1.0, Caller(MUTE, talk_s=30.0))
    sim.at(3.0, lambda: sim.exchange.register(BERT))
    sim.dial(5.0, Caller(HOLD_TREAT, number=OTHER, talk_s=5.0))
    again = Caller(HOLD_TREAT, number=NUMBER, talk_s=5.0)
    keys = {"sound:/callback": "1"}
    sim.dial(5.5, Caller(HOLD_TREAT, number=NUMBER, presses=keys, again=again))


def cut_off(sim: Sim) -> None:
    """Phones again and is served before somebody who has waited since the first call."""
    sim.agent(ANNA, "break")
    again = Caller(MUTE, number=NUMBER, talk_s=5.0)
    sim.dial(1.0, Caller(MUTE, number=NUMBER, again=again, again_after_s=3.0))
    sim.dial(2.0, Caller(RING, number=OTHER, talk_s=8.0))
    sim.dial(3.0, Caller(RING, talk_s=5.0))


def cut_off_and_kept(sim: Sim) -> None:
    """Phones again while Anna, who knows the matter now, is still in her wrap-up."""
    sim.agent(ANNA, "break", "break")
    again = Caller(HOLD, number=NUMBER, talk_s=5.0)
    again = Caller(HOLD, number=NUMBER, again=again, again_after_s=2.0)
    sim.dial(1.0, Caller(HOLD, number=NUMBER, again=again, again_after_s=2.0))
    sim.at(5.0, lambda: sim.exchange.register(BERT))
    sim.dial(11.0, Caller(RING, talk_s=5.0))


def gives_up_and_phones_again(sim: Sim) -> None:
    """Twice, and is before all who came after the first call."""
    again = Caller(GREET, number=NUMBER, patience_s=90.0, talk_s=5.0)
    again = Caller(GREET, number=NUMBER, patience_s=7.0, again=again)
    sim.dial(1.0, Caller(GREET, number=NUMBER, patience_s=2.0, again=again))
    sim.dial(2.0, Caller(GREET, number=OTHER, talk_s=5.0))
    sim.dial(4.0, Caller(RING, number=NUMBER, talk_s=5.0))
    sim.at(45.0, lambda: sim.exchange.register(ANNA))


def gives_up_while_rung_for(sim: Sim) -> None:
    sim.agent(ANNA, "ignore", "late")
    again = Caller(RING, number=NUMBER, talk_s=5.0)
    sim.dial(1.0, Caller(RING, number=NUMBER, patience_s=4.0, again=again, again_after_s=3.0))
    sim.dial(2.0, Caller(RING, number=OTHER, talk_s=5.0))


def gives_up_in_the_briefing(sim: Sim) -> None:
    """Nobody was heard yet: the place is kept."""
    sim.agent(ANNA)
    again = Caller(SCREEN, number=NUMBER, talk_s=5.0)
    first = Caller(SCREEN, number=NUMBER, patience_s=23.0, again=again, again_after_s=1.0)
    sim.dial(1.0, first)
    sim.dial(2.0, Caller(RING, number=OTHER, talk_s=5.0))


def called_back_and_phones_again(sim: Sim) -> None:
    """Who was promised to be called back has had something; who hung up before that has not."""
    keys = {"sound:/callback": "1"}
    again = Caller(TREAT_NOW, number=NUMBER, talk_s=5.0)
    sim.dial(1.0, Caller(TREAT_NOW, number=NUMBER, presses=keys, again=again))
    again = Caller(TREAT_NOW, number=OTHER, presses=keys)
    sim.dial(1.5, Caller(TREAT_NOW, number=OTHER, patience_s=5.5, again=again, again_after_s=4.0))
    sim.at(24.0, lambda: sim.exchange.register(ANNA))


def left_a_message_and_phones_again(sim: Sim) -> None:
    """The same of a message."""
    again = Caller(TREAT_NOW, number=NUMBER, talk_s=5.0)
    sim.dial(1.0, Caller(TREAT_NOW, number=NUMBER, again=again, again_after_s=3.0))
    again = Caller(TREAT_NOW, number=OTHER, talk_s=5.0)
    sim.dial(1.5, Caller(TREAT_NOW, number=OTHER, patience_s=10.0, again=again))
    sim.at(26.0, lambda: sim.exchange.register(ANNA))


def forwarded_in_vain_and_phones_again(sim: Sim) -> None:
    """The client's number answers and is lost: the place of the first call is kept all the same."""
    sim.numbers += ["drop", "ignore"]
    again = Caller(TREAT, number=NUMBER, talk_s=5.0, patience_s=80.0)
    sim.dial(1.0, Caller(TREAT, number=NUMBER, patience_s=8.0, again=again, again_after_s=3.0))
    sim.dial(5.0, Caller(TREAT_NOW, number=OTHER, talk_s=5.0))
    sim.at(60.0, lambda: sim.exchange.register(ANNA))


def _said(*findings: Finding) -> deque[Finding]:
    return deque(findings)


SCENARIOS: dict[str, Callable[[Sim], None]] = {
    scenario.__name__: scenario
    for scenario in (
        *(ring, greet, nobody_there, screen, screen_says_nothing, screen_fax, screen_key),
        *(screen_gives_up, screen_agent_hangs_up_in_the_briefing, two_refuse, rona, late_answer),
        *(give_up, give_up_when_answered, vanish, agent_hangs_up_while_joined, wrap_up, pause),
        *(
            one_agent_who_drops_and_no_wrap_up,
            announcements,
            asterisk_restarts,
            away,
            comes_meanwhile,
            rush,
            announce,
            call_back,
            call_back_to_a_number_that_is_keyed_in,
            call_back_while_an_agent_is_rung,
            voicemail,
            forward,
            forward_in_vain,
            forward_beside_an_agent,
            kept_until_the_agent_is_free,
            kept_in_vain,
            kept_and_gives_up,
            kept_for_two_who_do_not_come,
            kept_and_not_taken,
            kept_and_told,
            cut_off,
            cut_off_and_kept,
            gives_up_and_phones_again,
            gives_up_while_rung_for,
            gives_up_in_the_briefing,
            called_back_and_phones_again,
            left_a_message_and_phones_again,
            forwarded_in_vain_and_phones_again,
        ),
    )
}
