"""What the distribution raises.

``AcdError``    an event that cannot follow on what went before; nothing has been changed
"""

from __future__ import annotations

from vsek.errors import VsekError


class AcdError(VsekError):
    """The caller of :func:`vsek.acd.decide` broke the protocol. The state is as it was."""

    error_id = "acd"
