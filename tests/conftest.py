"""Settings of all tests."""

from __future__ import annotations

from hypothesis import settings

# A busy machine is not a fault of the code under test.
settings.register_profile("vsek", deadline=None)
settings.load_profile("vsek")
