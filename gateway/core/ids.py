"""Identifiers: time-ordered ids of receipts, and ids derived from tokens so that every process computes the same."""

from __future__ import annotations

import hashlib
import os
import uuid
from collections.abc import Iterable
from datetime import datetime

_CASES = uuid.UUID("6f3a5f0e-8f0b-5d57-9a53-0c7c7a6a4a11")


def new_id(now: datetime, randomness: bytes | None = None) -> str:
    """A UUID version 7 (RFC 9562 §5.7): 48 bits of milliseconds, 74 random bits."""
    noise = int.from_bytes(randomness or os.urandom(10), "big") & ((1 << 74) - 1)
    milliseconds = int(now.timestamp() * 1000) & ((1 << 48) - 1)
    high, low = noise >> 62, noise & ((1 << 62) - 1)
    digits = f"{milliseconds << 80 | 7 << 76 | high << 64 | 2 << 62 | low:032x}"
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"


def receipt_id(received_at: datetime, *parts: str) -> str:
    """The id of one receipt of one message: published again after a crash, it is still the same event."""
    digest = hashlib.sha256("\x1f".join((received_at.isoformat(), *parts)).encode()).digest()
    return new_id(received_at, digest[:10])


def case_id(tenant: str, subject: str) -> str:
    """The id of the case with business token `subject`: the same in every process, so nobody has to ask."""
    return str(uuid.uuid5(_CASES, f"{tenant}|{subject}"))


def workflow_id(subject: str, run: int = 0) -> str:
    """The Temporal workflow id of a case: its business key, as a token.

    A message for a case whose workflow has ended begins another run of it: `run` is the stream version it joined at.
    """
    return f"case:{subject}.{run}" if run else f"case:{subject}"


def person_keys(numbers: Iterable[str], birth_date: str) -> list[tuple[str, str, str]]:
    """Lookup keys ("person", number, birth date) of a patient: a number alone is another hospital's patient, too.

    None without a whole birth date: one identifier does not identify a person.
    """
    if len(birth_date) != len("1980-02-15"):
        return []
    return [("person", number, birth_date) for number in dict.fromkeys(numbers) if number]
