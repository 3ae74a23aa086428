from __future__ import annotations

import asyncio
import fcntl
import json
import socket
from pathlib import Path

import pytest

from vsek.embedded import stack
from vsek.errors import InputError, ServiceError


@pytest.mark.parametrize("text", ["localhost", ":25", "host:", "host:0", "host:65536", "host:smtp"])
async def test_a_wrong_mail_server_names_the_option(text: str, tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        await stack.run_stack(tmp_path, smtp=text, on_ready=lambda _: None)
    assert caught.value.field == "smtp"
    assert caught.value.value == text


async def test_one_stack_per_folder(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    with (tmp_path / "run" / "up.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(ServiceError, match=r"running in .* already"):
            await asyncio.wait_for(stack.run_stack(tmp_path, on_ready=lambda _: None), 10)


async def test_a_taken_http_port_is_told_before_anything_starts(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(ServiceError, match=f"Port {port}") as caught:
            await stack.run_stack(tmp_path, http_port=port, on_ready=lambda _: None)
    assert "--http-port" in caught.value.remedy
    assert not (tmp_path / "postgres").exists()


def test_ports_of_the_last_run_are_taken_where_they_are_free(tmp_path: Path) -> None:
    assert stack._ports_of_last_run(tmp_path) == {}
    (tmp_path / "run").mkdir()
    line = {
        "sip": "127.0.0.1:5060",
        "ari": "http://127.0.0.1:8088",
        "ami": "127.0.0.1:5038",
        "notes": "http://127.0.0.1:8089",
        "postgres": "postgresql://vsek:a%3Ab@127.0.0.1:5432/vsek",
    }
    (tmp_path / "run" / "stack.json").write_text(json.dumps(line))
    assert stack._ports_of_last_run(tmp_path) == {
        "sip": 5060,
        "ari": 8088,
        "ami": 5038,
        "notes": 8089,
        "postgres": 5432,
    }
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert stack._if_free(port) is None
        assert stack._if_free(port, socket.SOCK_DGRAM) == port
    assert stack._if_free(None) is None


def test_a_long_run_folder_gets_its_control_socket_elsewhere(tmp_path: Path) -> None:
    usual, extra = stack._control_socket(Path("/short"))
    assert usual == Path("/short/run/control.sock")
    assert extra is None
    other, extra = stack._control_socket(tmp_path / ("x" * 120))
    assert extra is not None
    assert other.parent == extra
    assert len(str(other)) < 100
    extra.rmdir()
