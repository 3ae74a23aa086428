"""The doctor's way to ask Asterisk: plain ARI requests, and a channel that goes nowhere."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import aiohttp

from vsek.errors import ServiceError
from vsek.settings import Settings

_TIMEOUT_S = 5.0
DYNAMIC = "asterisk/config/dynamic/res_pjsip"
"""Where ARI has what PJSIP is set up with."""


class Ari:
    """Plain ARI requests over HTTP; no application is opened."""

    def __init__(self, settings: Settings) -> None:
        ari = settings.ari
        login = f"{ari.username}:{ari.password.get_secret_value()}".encode()
        self.root = ari.url.rstrip("/")
        self._session = aiohttp.ClientSession(
            headers={"Authorization": f"Basic {base64.b64encode(login).decode()}"},
            timeout=aiohttp.ClientTimeout(total=_TIMEOUT_S),
        )

    async def ask(
        self, method: str, path: str, body: object = None, **query: str
    ) -> tuple[int, Any]:
        """Status and body; raises ``ServiceError`` when there is no answer."""
        try:
            async with self._session.request(
                method, f"{self.root}/ari/{path}", params=query, json=body
            ) as reply:
                text = await reply.text()
                is_json = "json" in reply.headers.get("Content-Type", "")
                return reply.status, await reply.json() if is_json and text else None
        except (aiohttp.ClientError, TimeoutError) as error:
            raise ServiceError(f"{str(error) or type(error).__name__}") from None

    async def fields(self, path: str) -> dict[str, str] | None:
        """A section of PJSIP's (``endpoint/NAME``); ``None``: there is none."""
        status, body = await self.ask("GET", f"{DYNAMIC}/{path}")
        if status != 200 or not isinstance(body, list):
            return None
        return {str(item["attribute"]): str(item["value"]) for item in body}

    async def close(self) -> None:
        """End the connection."""
        await self._session.close()


@contextlib.asynccontextmanager
async def probe(
    ari: Ari, variables: dict[str, str]
) -> AsyncIterator[Callable[[str], Awaitable[str]]]:
    """A channel that goes nowhere, on which variables and functions can be read."""
    name = f"vsek-doctor-{secrets.token_hex(6)}"
    status, body = await ari.ask(
        "POST",
        "channels",
        {"variables": variables},
        endpoint="Local/s@vsek-doctor/n",
        context="vsek-doctor",
        extension="s",
        priority="1",
        channelId=name,
        otherChannelId=f"{name}-2",
    )
    if status >= 400:
        raise ServiceError(
            f"Asterisk makes no channel for a probe: {status} {body or ''}".strip(),
            remedy="Take context vsek-doctor over from asterisk-conf/extensions.conf",
        )

    async def ask(variable: str) -> str:
        found, value = await ari.ask("GET", f"channels/{name}-2/variable", variable=variable)
        return str(value.get("value", "")) if found == 200 else ""

    try:
        async with asyncio.timeout(_TIMEOUT_S):
            while await ask("VSEK_PROBE_DONE") != "1":  # noqa: ASYNC110 - another process
                await asyncio.sleep(0.02)
        yield ask
    except TimeoutError:
        raise ServiceError(
            "The dialplan's context vsek-doctor does not run",
            remedy="Take it over from asterisk-conf/extensions.conf",
        ) from None
    finally:
        await ari.ask("DELETE", f"channels/{name}")
