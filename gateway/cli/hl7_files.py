"""Files of HL7 v2 messages: one message, several, a batch (FHS/BHS), or MLLP frames as captured from a wire."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import typer

from adapters.hl7.wire.batch import split
from adapters.hl7.wire.mllp import Frame, Framer, Limits, Refused, Truncated
from gateway.core.errors import MalformedMessage


def read(file: Path) -> bytes:
    """The file, or standard input for `-`. Raises BadParameter."""
    try:
        return sys.stdin.buffer.read() if str(file) == "-" else file.read_bytes()
    except OSError as error:
        raise typer.BadParameter(f"cannot read it: {error.strerror}", param_hint=str(file)) from error


def payloads(data: bytes) -> Iterator[bytes]:
    """What the frames hold, or the file itself where there are none. Raises MalformedMessage."""
    if not data.startswith(b"\x0b"):
        yield data
        return
    framer = Framer(Limits(junk=1024 * 1024))
    for event in (*framer.feed(data), *framer.end()):
        if isinstance(event, Frame):
            yield event.payload
        elif isinstance(event, Refused | Truncated):
            raise MalformedMessage(f"frame: {event.reason}")


def messages(data: bytes, charset: str | None = None) -> list[bytes]:
    """Each message of a file. Raises MalformedMessage, LimitExceeded."""
    return [message for payload in payloads(data) for message in split(payload, charset=charset).messages]
