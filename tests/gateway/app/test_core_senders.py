"""Who signed in at the CORE edge speaks for the senders of its registration only (ISA06)."""

from __future__ import annotations

from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest

from gateway import samples
from gateway.app import now
from gateway.app.x12 import BoundCodec
from gateway.core.envelope import Raw, Reception
from gateway.partners import Partner, Partners
from mappings.x12_codec import X12Codec

LOGIN = {"sender_id": samples.SENDER, "username": "house", "password": "env:PASSWORD"}
X12 = {"name": "house", "sender": "HOUSE", "receiver": samples.RECEIVER}
SAMPLE = samples.request_278("X1001", datetime(2026, 3, 2, tzinfo=UTC)).data
FOREIGN = SAMPLE.replace(f"{samples.SENDER:<15}".encode(), b"SOMEBODYELSE   ")


def partner(**more: Any) -> Partner:
    return Partner.model_validate({"name": "house", "core_login": LOGIN, **more})


def read(data: bytes, registered: Partner, profile: str = "production", client: str = "house") -> tuple[int, list[str]]:
    """(messages, codes of issues)."""
    app: Any = SimpleNamespace(partners=Partners([registered]), settings=SimpleNamespace(profile=profile))
    reception = Reception(tenant="t", source="soap/core", received_at=now(), client=client)
    reading = BoundCodec(app, X12Codec()).read(Raw.of(data, "application/edi-x12"), reception)
    return len(list(reading.intakes)), [issue.code for issue in reading.issues]


@pytest.mark.parametrize(
    ("registered", "senders"),
    [
        (partner(), {samples.SENDER}),
        (partner(x12=X12), {"HOUSE"}),
        (partner(x12=X12, core_login={**LOGIN, "senders": ["A", "B"]}), {"A", "B"}),
        (Partner.model_validate({"name": "nobody"}), set()),
    ],
)
def test_the_registration_says_which(registered: Partner, senders: set[str]) -> None:
    assert registered.core_senders == senders


def test_another_sender_is_not_its_own() -> None:
    assert read(SAMPLE, partner()) == (1, [])
    assert read(FOREIGN, partner()) == (0, ["unauthorized"])
    assert read(SAMPLE, partner(x12=X12)) == (0, ["unauthorized"])
    assert read(FOREIGN, partner(core_login={**LOGIN, "senders": [samples.SENDER, "SOMEBODYELSE"]})) == (1, [])


def test_one_foreign_interchange_among_its_own_is_seen() -> None:
    assert read(SAMPLE + FOREIGN, partner()) == (1, ["unauthorized"])


def test_nobody_speaks_for_anybody_without_a_registration() -> None:
    assert read(SAMPLE, partner(), client="gone") == (0, ["unauthorized"])


def test_the_demonstration_takes_every_sender() -> None:
    assert read(FOREIGN, partner(), "demo") == (1, [])
