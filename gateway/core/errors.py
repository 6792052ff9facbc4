"""Every error of the gateway.

    GatewayError                    code, retryable; the docstring is the default message
    ├── SenderError                 the other side must fix and send again → a negative answer
    │   ├── MalformedMessage        bytes that break the format; carries a position, never content
    │   ├── InvalidMessage          well-formed, but breaks a rule of its guide or profile; carries a list of issues
    │   ├── UnsupportedMessage      well-formed, but a type, version or option that is not served here
    │   ├── UnauthorizedSender      identity missing, wrong or not allowed to do this
    │   ├── MessageConflict         a known key with another body
    │   └── LimitExceeded           too large, too deep, too many, too fast
    ├── OwnError                    ours to fix: park or pause, never blame the sender
    │   ├── Unmappable              syntactically good, no mapping for it → parked with its bytes
    │   ├── ConfigurationError      settings, definitions, rules or topics that cannot work
    │   ├── Unavailable             our Kafka, PostgreSQL or Temporal does not answer (retryable)
    │   └── ConcurrencyError        somebody else changed the stream first (retryable after re-reading)
    └── DeliveryError               an endpoint we send to
        ├── EndpointUnavailable     no answer, refused, timed out, 5xx, busy (retryable)
        └── EndpointRefused         a clear no: sending the same bytes again cannot help

Positions and codes only: no message text ever repeats what a sender sent, because it may name a patient.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar


@dataclass(frozen=True, slots=True)
class Issue:
    """One thing wrong with a message: where (`location`, in the terms of its standard), what (`code`), and in words."""

    code: str
    location: str
    text: str
    severity: str = "error"


class GatewayError(Exception):
    """Something went wrong in the gateway."""

    code: ClassVar[str] = "gateway"
    retryable: ClassVar[bool] = False

    def __init__(self, message: str | None = None, *, location: str = "", issues: tuple[Issue, ...] = ()) -> None:
        self.message = message or (type(self).__doc__ or self.code).strip().splitlines()[0]
        self.location = location
        self.issues = issues
        super().__init__(self.message)

    def __str__(self) -> str:
        return f"{self.message} (at {self.location})" if self.location else self.message


class SenderError(GatewayError):
    """The sender must correct the message and send it again."""

    code = "sender"


class MalformedMessage(SenderError):
    """The bytes do not follow the format."""

    code = "malformed"


class InvalidMessage(SenderError):
    """The message breaks a rule of its implementation guide."""

    code = "invalid"


class UnsupportedMessage(SenderError):
    """This message type, version or option is not served here."""

    code = "unsupported"


class UnauthorizedSender(SenderError):
    """The sender is not known or not allowed to do this."""

    code = "unauthorized"


class MessageConflict(SenderError):
    """This message key was used before with another body."""

    code = "conflict"


class LimitExceeded(SenderError):
    """The message exceeds a limit."""

    code = "limit"


class OwnError(GatewayError):
    """A fault on our side."""

    code = "own"


class Unmappable(OwnError):
    """No mapping for this message; it is parked with its bytes."""

    code = "unmappable"


class ConfigurationError(OwnError):
    """The configuration cannot work."""

    code = "configuration"


class Unavailable(OwnError):
    """A server of ours does not answer."""

    code = "unavailable"
    retryable = True


class ConcurrencyError(OwnError):
    """Another writer changed the stream first."""

    code = "concurrency"
    retryable = True


class DeliveryError(GatewayError):
    """A message could not be delivered."""

    code = "delivery"


class EndpointUnavailable(DeliveryError):
    """The endpoint does not answer or asks to try later."""

    code = "endpoint-unavailable"
    retryable = True

    def __init__(self, message: str | None = None, *, location: str = "", retry_after: float | None = None) -> None:
        super().__init__(message, location=location)
        self.retry_after = retry_after
        """Seconds the endpoint asked us to wait, where it said so."""


class EndpointRefused(DeliveryError):
    """The endpoint refused the message."""

    code = "endpoint-refused"
