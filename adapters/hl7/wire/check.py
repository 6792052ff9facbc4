"""What any receiver checks before it looks at the content: the header's required fields, and what is served here."""

from __future__ import annotations

import re
from collections.abc import Collection

from gateway.core.errors import GatewayError, InvalidMessage, Issue, UnsupportedMessage

from .batch import pointer
from .message import Message

_VERSION = re.compile(r"2\.[1-9](?:\.\d+)?")
_PROCESSING = frozenset({"P", "T", "D"})

_NOTES = {
    "charset-mismatch": Issue("102", "MSH-18", "the bytes are not in the declared character set", "warning"),
    "charset-unknown": Issue("103", "MSH-18", "character set not in table 0211", "warning"),
    "line-ends": Issue("line-ends", "", "segments end with LF or CRLF instead of CR", "warning"),
    "blank-lines": Issue("blank-lines", "", "blank lines between segments", "warning"),
    "byte-order-mark": Issue("byte-order-mark", "", "byte order mark before MSH", "warning"),
    "leading-blanks": Issue("leading-blanks", "", "blanks before MSH", "warning"),
}
_CONTROL_ID = 199
"""Characters of MSH-10 in the releases that allow most; every answer repeats it."""
_REQUIRED = ((9, "message type missing"), (10, "control id missing"))
_EXPECTED = ((7, "time missing"), (11, "processing id missing"), (12, "version missing"))


def warnings(message: Message) -> tuple[Issue, ...]:
    """What was tolerated: deviations noted while reading, and header fields that should be there."""
    missing = [
        Issue("101", f"MSH-{number}", text, "warning") for number, text in _EXPECTED if not message.header.get(number)
    ]
    return (*(_NOTES[note] for note in message.notes), *missing)


def check(message: Message, *, served: Collection[str] | None = None) -> GatewayError | None:
    """The reason to refuse a message whatever it says, or None.

    `served` are the message codes (MSH-9.1), or `code^trigger`, that are taken here; None takes all.
    """
    header = message.header
    said = message.identity
    issues: tuple[Issue, ...] = ()
    if not (said.code and said.control_id):
        issues = tuple(Issue("101", f"MSH-{number}", text) for number, text in _REQUIRED if not header.get(number))
    if len(said.control_id) > _CONTROL_ID:
        issues = (*issues, Issue("102", "MSH-10", f"control id over {_CONTROL_ID} characters"))
    if issues:
        return InvalidMessage(issues=issues, location=issues[0].location)
    version, processing = said.version, header.get(11)
    if version and _VERSION.fullmatch(version) is None:
        return UnsupportedMessage("this version is not served here", location="MSH-12")
    if processing and processing not in _PROCESSING:
        return UnsupportedMessage("this processing id is not served here", location="MSH-11")
    if served is not None and message.code not in served:
        if not any(kind.startswith(f"{message.code}^") for kind in served):
            return UnsupportedMessage("this message type is not served here", location="MSH-9")
        if f"{message.code}^{message.trigger}" not in served:
            return UnsupportedMessage("this trigger event is not served here", location="MSH-9.2")
    if pointer(message):
        # The rest comes in another message: taking the first part alone would lose it silently.
        issue = Issue("100", "DSC-1", "continued messages are not taken on this interface")
        return InvalidMessage(issues=(issue,), location="DSC-1")
    return None
