"""The payload inside the envelope: raw X12 or base64 of X12; SHA-1 checksum; the CORE name of an answer's type."""

from __future__ import annotations

import base64
import binascii
import hashlib
import re

from gateway.core.errors import MalformedMessage

CLAIM_ACKNOWLEDGEMENT = "005010X214"
"""The 277 that is called 277CA."""

_SPACE = re.compile(r"\s+")


def checksum(payload: bytes) -> str:
    """SHA-1 of the payload's bytes in lower-case hexadecimal (vC2.2.0 asks for SHA-1; it is no security measure)."""
    return hashlib.sha1(payload, usedforsecurity=False).hexdigest()


def decode_payload(text: str, *, is_text: bool) -> bytes:
    """Payload text → bytes: real-time (`is_text`) is X12 itself, or base64 as some senders do; batch is base64.

    White space around raw X12 is cut in front only: what follows IEA belongs to the payload.
    Raises MalformedMessage when it is neither.
    """
    if is_text and text.lstrip().startswith("ISA"):
        return text.lstrip().encode()
    try:
        data = base64.b64decode(_SPACE.sub("", text), validate=True)
    except (binascii.Error, ValueError):
        raise MalformedMessage("the payload is neither X12 nor base64") from None
    if is_text and not data.lstrip().startswith(b"ISA"):
        raise MalformedMessage("the payload is neither X12 nor base64 of X12")
    return data


def payload_type(payload: bytes) -> str:
    """The CORE PayloadType of an X12 answer, e.g. `X12_278_Response_005010X217`, from its first GS08 and ST01.

    A TA1 without group is `X12_TA1_Response_00501X231A1`; anything unreadable is `CoreEnvelopeError`.
    """
    if not payload.startswith(b"ISA") or len(payload) < 107:
        return "CoreEnvelopeError"
    element, terminator = payload[3:4], payload[105:106]
    segments = [part.lstrip().split(element) for part in payload[:4096].split(terminator)[:8]]
    by_name = {bytes(parts[0]): parts for parts in reversed(segments)}
    group, transaction = by_name.get(b"GS"), by_name.get(b"ST")
    if group and transaction and len(group) > 8 and len(transaction) > 1:
        version = _plain(group[8])
        name = "277CA" if version.startswith(CLAIM_ACKNOWLEDGEMENT) else _plain(transaction[1])
        return f"X12_{name}_Response_{version}"
    return "X12_TA1_Response_00501X231A1" if b"TA1" in by_name else "CoreEnvelopeError"


def _plain(value: bytes) -> str:
    return re.sub(rb"[^A-Za-z0-9]", b"", value)[:12].decode("ascii")
