"""The audit in a process of its own: where there is nothing to compare it says so and goes on."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from vsek.demo.events import eventually
from vsek.embedded.ports import free_port
from vsek.operations.auditor import Auditor
from vsek.settings import Settings


def _settings(folder: Path, **alarms: object) -> Settings:
    return Settings(
        dir=folder,
        database={"dsn": f"postgresql://x@127.0.0.1:{free_port()}/x"},
        asterisk={"ledger_folder": folder},
        alarms=alarms,
    )


async def test_an_audit_that_fails_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = _settings(tmp_path, audit_every_s=0.1)
    monkeypatch.setenv("VSEK_DATABASE__DSN", settings.database.dsn.get_secret_value())
    auditor = Auditor(settings)
    with capture_logs() as lines:
        task = asyncio.create_task(auditor.run())

        async def failed() -> bool | None:
            return any(line["event"] == "audit_failed" for line in lines) or None

        await eventually(failed, "an audit that failed", timeout_s=30.0)
        assert not task.done()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    assert auditor.differences is None


@pytest.mark.parametrize("alarms", [{"audit": False}, {"audit_every_s": 0}])
async def test_an_audit_that_is_off(tmp_path: Path, alarms: dict[str, object]) -> None:
    async with asyncio.timeout(5):
        await Auditor(_settings(tmp_path, **alarms)).run()
