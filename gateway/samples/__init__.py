"""Synthetic messages of every protocol, made anew at each use: own trace, control and bundle numbers.

No person is in them: names, numbers and addresses are invented, service codes are the demonstration's (X1001 …).
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from datetime import datetime
from importlib import resources
from string import Template
from xml.sax.saxutils import escape

SENDER, RECEIVER = "CLEARHOUSE", "GATEWAY"
"""ISA06 and ISA08 of the demonstration's clearinghouse."""


@dataclass(frozen=True, slots=True)
class Sample:
    """A message and the number it can be recognized by."""

    data: bytes
    trace: str


def _fill(name: str, **values: str) -> bytes:
    text = resources.files(__package__).joinpath(name).read_text(encoding="utf-8")
    return Template(text).substitute(values).encode()


def _trace() -> str:
    return "T" + uuid.uuid4().hex[:12].upper()


def pas_submit(code: str, now: datetime) -> Sample:
    """A PAS 2.2.1 request Bundle with one item of service `code`."""
    trace = _trace()
    return Sample(
        _fill("pas_submit.json", CODE=code, TRACE=trace, BUNDLE=f"B-{trace}", NOW=now.isoformat(timespec="seconds")),
        trace,
    )


def adt_a01(now: datetime, *, patient: str = "P100200") -> Sample:
    """An HL7 v2.5.1 admission."""
    trace = _trace()
    data = _fill("adt_a01.hl7", CONTROL=trace, STAMP=f"{now:%Y%m%d%H%M%S}", PATIENT=patient)
    return Sample(data.replace(b"\n", b"\r"), trace)


def _interchange(name: str, now: datetime, sender: str, receiver: str, code: str = "") -> Sample:
    trace, number = _trace(), uuid.uuid4().int % 999_999_999 + 1
    values = {
        "SENDER": f"{sender:<15}",
        "RECEIVER": f"{receiver:<15}",
        "SENDER_SHORT": sender,
        "RECEIVER_SHORT": receiver,
        "DATE": f"{now:%y%m%d}",
        "TIME": f"{now:%H%M}",
        "NUMBER": f"{number:09d}",
        "GROUP": str(number),
        "TRACE": trace,
        "CODE": code,
    }
    return Sample(_fill(name, **values), trace)


def request_278(code: str, now: datetime, *, sender: str = SENDER, receiver: str = RECEIVER) -> Sample:
    """A 278 request (005010X217) with one service line of `code`."""
    return _interchange("request_278.x12", now, sender, receiver, code)


def core_270(now: datetime, *, sender: str = SENDER, receiver: str = RECEIVER) -> Sample:
    """A CORE real-time request whose payload is a 270 (005010X279A1)."""
    inquiry = _interchange("inquiry_270.x12", now, sender, receiver)
    data = _fill(
        "core_realtime.xml",
        PAYLOAD=str(uuid.uuid4()),
        NOW=f"{now:%Y-%m-%dT%H:%M:%SZ}",
        SENDER_SHORT=sender,
        RECEIVER_SHORT=receiver,
        CONTENT=escape(inquiry.data.decode()),
    )
    return Sample(data, inquiry.trace)
