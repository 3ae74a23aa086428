"""What can go wrong between us and Asterisk.

``AriError``
    ├── ``AriTimeout``          no reply before the deadline; whether it was done is unknown
    ├── ``AriDisconnected``     no socket, or the socket went away before the reply came
    │     └── ``AriClosed``     the client was closed by its owner
    ├── ``AriReplaced``         another program took over our application name; we are fenced
    ├── ``AriFrameTooLarge``    the request does not fit into one WebSocket frame (our fault)
    ├── ``AriMalformed``        Asterisk sent something that cannot be understood
    ├── ``AriLoginRefused``     user name or password is wrong, or the user may not write
    └── ``AriRefused``          Asterisk answered with an HTTP status of 400 or more
          ├── ``AriBadRequest``  400, 422: a parameter is missing or wrong
          ├── ``AriNotFound``    404: no such channel, bridge, …
          ├── ``AriConflict``    409, 412: it exists, but is in the wrong state
          └── ``AriServerError`` 5xx: for ``channels/create`` this means an unreachable endpoint
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from vsek.errors import ServiceError

if TYPE_CHECKING:
    from vsek.ari.protocol import Reply


class AriError(ServiceError):
    """The root of everything that ``vsek.ari`` raises."""

    error_id = "ari"


class AriTimeout(AriError):  # noqa: N818 - the names are part of the published interface
    """No reply before the deadline. Asterisk may or may not have done it."""

    error_id = "ari_timeout"


class AriDisconnected(AriError):  # noqa: N818
    """No connection. ``sent`` is False when Asterisk certainly never saw the request."""

    error_id = "ari_disconnected"

    def __init__(self, message: str, *, sent: bool = False, remedy: str = "") -> None:
        super().__init__(message, remedy=remedy)
        self.sent = sent


class AriClosed(AriDisconnected):
    """The client was closed by its owner."""

    error_id = "ari_closed"


class AriReplaced(AriError):  # noqa: N818
    """Another connection uses our application name now. This client sends nothing any more."""

    error_id = "ari_replaced"


class AriFrameTooLarge(AriError):  # noqa: N818
    """A request over WebSocket may have 65,535 bytes; send it with ``Client.http``."""

    error_id = "ari_frame_too_large"


class AriMalformed(AriError):  # noqa: N818
    """Asterisk sent something that cannot be understood."""

    error_id = "ari_malformed"


class AriLoginRefused(AriError):  # noqa: N818
    """Asterisk does not accept our user name and password."""

    error_id = "ari_login_refused"


class AriRefused(AriError):  # noqa: N818
    """Asterisk answered a request with ``status`` ≥ 400; ``reply`` is its whole answer."""

    error_id = "ari_refused"

    def __init__(self, reply: Reply, method: str, uri: str) -> None:
        text = reply.reason
        if isinstance(reply.body, dict):  # "Allocation failed" comes as "error"
            text = reply.body.get("message") or reply.body.get("error") or text
        super().__init__(f"{method} {uri}: {reply.status} {text}")
        self.reply = reply
        self.status = reply.status
        self.method = method
        self.uri = uri


class AriBadRequest(AriRefused):
    """400 or 422: a parameter is missing or wrong."""

    error_id = "ari_bad_request"


class AriNotFound(AriRefused):
    """404: there is no such channel, bridge, playback, …"""

    error_id = "ari_not_found"


class AriConflict(AriRefused):
    """409 or 412: it is in a state that does not allow this."""

    error_id = "ari_conflict"


class AriServerError(AriRefused):
    """5xx. ``channels/create`` answers so when the endpoint cannot be reached."""

    error_id = "ari_server_error"


_BY_STATUS: dict[int, type[AriRefused]] = {
    400: AriBadRequest,
    404: AriNotFound,
    409: AriConflict,
    412: AriConflict,
    422: AriBadRequest,
}


def refusal(reply: Reply, method: str, uri: str) -> AriRefused:
    """The error that fits a reply with a status of 400 or more."""
    fallback = AriServerError if reply.status >= 500 else AriRefused
    return _BY_STATUS.get(reply.status, fallback)(reply, method, uri)
