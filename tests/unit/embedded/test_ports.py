"""A port that somebody else has is named before anything is started."""

from __future__ import annotations

import socket
from collections import deque

import pytest

from vsek.embedded import ports
from vsek.embedded.ports import free_port, require_free
from vsek.errors import ServiceError


@pytest.mark.parametrize("kind", [socket.SOCK_DGRAM, socket.SOCK_STREAM])
def test_a_port_that_is_taken(kind: socket.SocketKind) -> None:
    with socket.socket(socket.AF_INET, kind) as other:
        other.bind(("127.0.0.1", 0))
        if kind is socket.SOCK_STREAM:
            other.listen()
        port = other.getsockname()[1]
        with pytest.raises(ServiceError, match=f"Port {port}") as caught:
            require_free(port, kind, "sip-port")
        assert "--sip-port" in caught.value.remedy
    require_free(port, kind, "sip-port")


def test_a_free_port_is_none_that_a_connection_could_get() -> None:
    given = [free_port() for _ in range(50)]
    assert len(set(given)) == 50
    for port in given:
        assert port >= 61_000  # Linux takes them from 32,768 to 60,999
        require_free(port, socket.SOCK_STREAM, "http-port")
        require_free(port, socket.SOCK_DGRAM, "sip-port")


def test_what_somebody_has_is_not_given(monkeypatch: pytest.MonkeyPatch) -> None:
    port = free_port()
    monkeypatch.setattr(ports, "FIRST", port)
    monkeypatch.setattr(ports, "LAST", port + 1)
    monkeypatch.setattr(ports, "_given", deque[int](maxlen=1))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        other.bind(("127.0.0.1", port))
        with pytest.raises(ServiceError, match="No free port"):
            free_port()
    assert free_port() == port
    with pytest.raises(ServiceError, match="No free port"):
        free_port()  # its owner has perhaps not bound it yet
