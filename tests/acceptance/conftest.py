"""One running vsek per module of tests; a crew of agents and callers per test."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import pytest
import pytest_asyncio
from tests.acceptance.house import SETTINGS, Crew, House


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def house(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[House]:
    """A module may have ``SETTINGS`` of its own (environment)."""
    settings = {**SETTINGS, **getattr(request.module, "SETTINGS", {})}
    async with AsyncExitStack() as exits:
        yield await House.open(tmp_path_factory.mktemp("house"), settings, exits)


@pytest_asyncio.fixture(loop_scope="module")
async def crew(house: House) -> AsyncIterator[Crew]:
    crew = Crew(house)
    yield crew
    await crew.go_home()
