"""Nothing a sender wrote about a person reaches an event, an error or a log: positions and codes only."""

from __future__ import annotations

import logging
import random
from typing import Any

import pytest

from adapters.hl7.wire import parse
from adapters.hl7.wire.check import check
from gateway.core.errors import GatewayError, Unavailable
from gateway.testing import MemoryAccept


def personal(data: bytes) -> set[str]:
    """Names and identifiers of the patient, as far as they are words that could be told apart."""
    try:
        message = parse(data)
    except GatewayError:
        return set()
    fields = ("PID[1]-3[", "PID[1]-5[", "PID[1]-11[", "NK1[1]-2[", "IN1[1]-36[")
    return {value for path, value in message.leaves() if path.startswith(fields) and len(value) > 3}


async def test_the_corpus_leaves_no_trace(
    listen: Any, connect: Any, corpus: dict[str, bytes], seen: Any, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    chance = random.Random(1)
    accept = MemoryAccept()
    client = await connect(await listen(accept))
    secrets: set[str] = set()
    for number, data in enumerate(corpus.values()):
        secrets |= personal(data)
        accept.failure = Unavailable() if number % 3 == 0 else None
        place = chance.randrange(len(data))
        for payload in (data, data[:place] + b"\x1c" + data[place:], data[:place] + b"\rtext " + data[place:]):
            await client.send(payload)
    client.writer.write_eof()
    while await client.answer():
        pass
    told = f"{seen.events} {caplog.text}"
    assert len(seen.events) > 60
    assert len(secrets) > 100
    assert [secret for secret in secrets if secret in told] == []


def test_errors_name_places_not_values(corpus: dict[str, bytes]) -> None:
    chance = random.Random(2)
    for data in corpus.values():
        secrets = personal(data)
        for _ in range(20):
            place = chance.randrange(len(data))
            try:
                error = check(parse(data[:place] + chance.choice([b"\r", b"|", b"\rx ", b"^"]) + data[place:]))
            except GatewayError as caught:
                error = caught
            if error is not None:
                told = f"{error} {error.issues}"
                assert not any(secret in told for secret in secrets)
