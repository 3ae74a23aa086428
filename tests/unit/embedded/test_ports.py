"""A port that somebody else has is named before anything is started."""

from __future__ import annotations

import socket

import pytest

from vsek.embedded.servant import free_port, require_free
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


def test_a_free_port() -> None:
    require_free(free_port(), socket.SOCK_STREAM, "http-port")
