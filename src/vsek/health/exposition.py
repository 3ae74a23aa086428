"""Metrics over HTTP, in the text form that Prometheus reads.

The switchboard serves them on its control socket, the note service beside its API; where a setting
asks for it also on a TCP address of their own, which serves these metrics and nothing else.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Iterator

import structlog
import uvicorn
from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    disable_created_metrics,
    generate_latest,
)
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from vsek.errors import InputError

log = structlog.get_logger(__name__)

RETRY_S = 2.0
TICK_S = 1.0

# When each counter began says no more than when the process began.
disable_created_metrics()  # type: ignore[no-untyped-call]


class QuietServer(uvicorn.Server):
    """uvicorn without its signal handlers, for the process belongs to us; and without waking ten
    times a second to see whether it should end: whoever ends it calls :meth:`end`."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self._ending = asyncio.Event()

    def end(self) -> None:
        """Take no more requests and end when those that came are answered."""
        self.should_exit = True
        self._ending.set()

    async def main_loop(self) -> None:
        """uvicorn's, with a longer breath: once a second is as often as the date changes."""
        while not await self.on_tick(0):
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(TICK_S):
                    await self._ending.wait()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """The process handles its signals itself."""
        yield


def metrics_route(registry: CollectorRegistry) -> Route:
    """``GET /metrics``."""

    async def metrics(_: Request) -> Response:
        return Response(generate_latest(registry), media_type=CONTENT_TYPE_LATEST)

    return Route("/metrics", metrics)


def tcp_address(text: str, setting: str) -> tuple[str, int]:
    """``HOST:PORT`` or only ``PORT``, which means loopback. Raises ``InputError``."""
    host, _, port = text.rpartition(":")
    if not port.isdigit() or not 0 < int(port) < 65536:
        raise InputError(
            f"{text!r} is no address to listen at",
            field=setting,
            value=text,
            remedy="Write PORT (loopback) or HOST:PORT, for example 127.0.0.1:9464",
        )
    return host.strip("[]") or "127.0.0.1", int(port)


async def serve_metrics(registry: CollectorRegistry, address: tuple[str, int]) -> None:
    """Serve ``registry`` at a TCP address until cancelled; one that is taken is waited for, since
    the process before us may still be ending."""
    host, port = address
    app = Starlette(routes=[metrics_route(registry)])
    told = False
    while True:
        try:
            family = socket.AF_INET6 if ":" in host else socket.AF_INET
            listener = socket.create_server((host, port), family=family, reuse_port=False)
        except OSError as error:
            if not told:
                log.error("metrics_not_served", host=host, port=port, error=str(error))
                told = True
            await asyncio.sleep(RETRY_S)
            continue
        with listener:
            listener.setblocking(False)
            log.info("metrics_served", host=host, port=port)
            config = uvicorn.Config(
                app,
                log_config=None,
                log_level="warning",
                access_log=False,
                lifespan="off",
                timeout_graceful_shutdown=1,
            )
            await QuietServer(config).serve([listener])
            return
