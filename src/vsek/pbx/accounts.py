"""Agents' SIP accounts in Asterisk: added, changed and removed without a reload.

PostgreSQL is the master. An account is three objects of ``res_pjsip`` (auth, aor, endpoint), pushed
in this order and removed in reverse, so that no endpoint ever lacks what it refers to. Accounts
made here carry ``MARK`` as their account code; nothing else is ever removed.
"""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import Mapping
from typing import Any, Protocol
from urllib.parse import quote

import structlog

from vsek.ari.protocol import Reply
from vsek.domain.agent import REALM, Agent
from vsek.domain.ids import AgentId
from vsek.errors import ServiceError

log = structlog.get_logger(__name__)

MARK = "vsek-agent"
_ROOT = "asterisk/config/dynamic/res_pjsip"

QUALIFY_S = range(25, 36)
"""Every how many seconds a phone is asked whether it is still there: for each account one of these.

Asterisk counts from the moment a phone registers. Phones that register together, after a power cut
or at the start of a shift, would with one interval for all be asked together ever after: 2,000 of
them within four seconds of every thirty (Asterisk 22.10, counted from packets). With intervals of
their own they fall out of step within a minute or two."""


class AriHttp(Protocol):
    """What this needs of :class:`vsek.ari.Client`."""

    async def http(
        self, method: str, uri: str, query: dict[str, str] | None = None, body: Any = None
    ) -> Reply:
        """One request over HTTP."""


def qualify_s(agent_id: AgentId) -> int:
    """An agent's own interval of ``QUALIFY_S``, the same in each run: an aor must not change."""
    return QUALIFY_S[zlib.crc32(agent_id.encode()) % len(QUALIFY_S)]


def account_objects(agent: Agent, transport: str) -> list[tuple[str, dict[str, str]]]:
    """The three objects of an agent's account, in the order of making."""
    return [
        (
            "auth",
            {
                "auth_type": "md5",
                "username": agent.id,
                "realm": REALM,
                "md5_cred": agent.ha1,
            },
        ),
        (
            "aor",
            {
                "max_contacts": "1",
                "remove_existing": "yes",
                "qualify_frequency": str(qualify_s(agent.id)),
                "qualify_timeout": "3.0",
                "default_expiration": "120",
                "minimum_expiration": "30",
                "maximum_expiration": "600",
            },
        ),
        (
            "endpoint",
            {
                "transport": transport,
                "context": "from-agents",
                "message_context": "vsek-no-messages",
                # A transfer from the phone would take the talk out of vsek's hands: the caller ends
                # up in from-agents and is cut off.
                "allow_transfer": "no",
                "allow_subscribe": "no",
                "auth": agent.id,
                "aors": agent.id,
                "disallow": "all",
                "allow": "alaw,ulaw,g722",
                "direct_media": "no",
                "rtp_symmetric": "yes",
                "force_rport": "yes",
                "rewrite_contact": "yes",
                "rtp_timeout": "60",
                "rtp_timeout_hold": "600",
                "send_pai": "no",
                "trust_id_inbound": "no",
                "callerid": f"{agent.id} <{agent.id}>",
                "accountcode": MARK,
                "language": agent.language,
            },
        ),
    ]


class Accounts:
    """Keeps Asterisk's agent accounts equal to the directory's."""

    def __init__(self, client: AriHttp, transport: str) -> None:
        self._client = client
        self._transport = transport
        self._pushed: dict[str, Agent] = {}

    async def sync(self, agents: Mapping[AgentId, Agent]) -> set[str]:
        """Push what changed, remove what is no longer there; returns the ids that were touched.

        Raises ``ServiceError`` when Asterisk refuses.
        """
        touched: set[str] = set()
        reply = await self._client.http("GET", "endpoints/PJSIP")
        there = {e["resource"] for e in reply.body} if reply.status == 200 else set(self._pushed)
        for agent in agents.values():
            # An Asterisk with an empty database may have taken the place of the one before.
            if self._pushed.get(agent.id) != agent or agent.id not in there:
                if wrong := await self._wrong_objects(agent):
                    await self._push(agent, wrong)
                    touched.add(agent.id)
                self._pushed[agent.id] = agent
        for name in await self._strangers(there - set(agents), set(self._pushed) - set(agents)):
            await self._remove(name)
            touched.add(name)
        return touched

    async def _wrong_objects(self, agent: Agent) -> set[str]:
        """Which of an account's objects Asterisk lacks or has differently. Only these are pushed:
        an aor that is overwritten no longer tells its endpoint when the phone comes or goes
        (Asterisk 22.10), so one that must change takes its endpoint with it and both are made
        anew; the phone counts as offline until it registers again."""
        wanted = account_objects(agent, self._transport)
        found = await asyncio.gather(*(self._get(kind, agent.id) for kind, _ in wanted))
        wrong = {
            kind
            for (kind, values), has in zip(wanted, found, strict=True)
            if has is None or not all(_same(k, v, has.get(k)) for k, v in values.items())
        }
        if "aor" in wrong and found[1] is not None:
            for kind in ("endpoint", "aor"):
                await self._client.http("DELETE", f"{_ROOT}/{kind}/{quote(agent.id, safe='')}")
            wrong.add("endpoint")
        return wrong

    async def _get(self, kind: str, name: str) -> dict[str, str] | None:
        reply = await self._client.http("GET", f"{_ROOT}/{kind}/{quote(name, safe='')}")
        if reply.status != 200 or not isinstance(reply.body, list):
            return None
        return {field["attribute"]: field["value"] for field in reply.body}

    async def _push(self, agent: Agent, kinds: set[str]) -> None:
        for kind, values in account_objects(agent, self._transport):
            if kind not in kinds:
                continue
            fields = [{"attribute": k, "value": v} for k, v in values.items()]
            reply = await self._client.http(
                "PUT", f"{_ROOT}/{kind}/{quote(agent.id, safe='')}", body={"fields": fields}
            )
            if reply.status >= 400:
                raise ServiceError(
                    f"Asterisk refuses the account of agent {agent.id!r}: "
                    f"PUT {kind} answered {reply.status} {reply.body}",
                    remedy="Map auth, aor and endpoint to astdb in sorcery.conf "
                    "(asterisk-conf/sorcery.conf shows it); `vsek doctor` checks it",
                )
        log.info("account_pushed", agent_id=agent.id)

    async def _strangers(self, others: set[str], gone: set[str]) -> list[str]:
        """Accounts of ours whose agents are gone."""
        for name in sorted(others - gone):
            found = await self._get("endpoint", name)
            if found is not None and found.get("accountcode") == MARK:
                gone.add(name)
        return sorted(gone)

    async def _remove(self, name: str) -> None:
        for kind in ("endpoint", "aor", "auth"):
            reply = await self._client.http("DELETE", f"{_ROOT}/{kind}/{quote(name, safe='')}")
            if reply.status >= 400 and reply.status != 404:
                log.warning("account_not_removed", agent_id=name, kind=kind, status=reply.status)
        self._pushed.pop(name, None)
        log.info("account_removed", agent_id=name)


def _same(key: str, wanted: str, found: str | None) -> bool:
    if key == "disallow":
        return True  # not shown; what is allowed says it all
    if found is None:
        return False
    if key == "allow":
        return found.strip("()").split("|") == wanted.split(",")
    if key == "qualify_frequency":
        # One of them is as good as another: not worth the phone's registration.
        return found.isdigit() and int(found) in QUALIFY_S
    if key == "qualify_timeout":
        return float(found or 0) == float(wanted)
    if key == "callerid":
        return found.replace('"', "") == wanted
    return {"true": "yes", "false": "no"}.get(found, found) == wanted
