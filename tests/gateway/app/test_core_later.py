"""Where a decision goes that comes after a CORE request was answered."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
import yaml

from gateway.app import core_later, now
from gateway.core.envelope import Intake, Raw, Reception
from gateway.core.errors import ConfigurationError
from gateway.core.ports import Outbound
from gateway.partners import Partner, Partners, read
from gateway.security.tokens import Tokens
from tests.adapters.soap.bench import ANSWER

LOGIN = {"sender_id": "CLINIC7", "username": "clinic", "password": "env:PASSWORD"}
CORE = {"name": "clinic", "url": "https://clinic.example/core", "sender_id": "GATEWAY", "receiver_id": "CLINIC7"}


def profile(**login: Any) -> dict[str, Any]:
    return {"name": "clinic", "core_login": {**LOGIN, **login}, "core": CORE}


def app(*partners: dict[str, Any]) -> Any:
    return SimpleNamespace(
        partners=Partners([Partner.model_validate(one) for one in partners]),
        tokens=Tokens(b"t" * 32),
        settings=SimpleNamespace(fast_lane_seconds=10.0),
    )


def reception(client: str = "clinic", payload_id: str = "p1", mode: str = "RealTime") -> Reception:
    return Reception(
        tenant="t", source="soap/core", received_at=now(), client=client,
        attributes={"payloadId": payload_id, "processingMode": mode},
    )  # fmt: skip


def intake() -> Intake:
    return Intake(
        type="authorization.request", format="x12", natural_key=("1",), case_key=("1",), ordering_key=("1",),
        raw=Raw.of(b"x", "application/edi-x12"), reply={"rail": "x12", "endpoint": "soap/core"},
    )  # fmt: skip


def test_by_default_it_is_left_at_a_place_of_the_client_and_its_payload_id() -> None:
    ours = app(profile())
    places = [
        core_later.way_back(ours, reception(client, payload_id))
        for client, payload_id in (("clinic", "p1"), ("clinic", "p2"), ("other", "p1"))
    ]
    assert len(set(places)) == 3
    assert all(place.startswith("core-pickup.") and "p1" not in place for place in places)
    assert core_later.place(ours, "t", "clinic", "p1") == places[0]
    assert core_later.place(ours, "t2", "clinic", "p1") != places[0]


@pytest.mark.parametrize(("later", "endpoint"), [("core", "core/clinic")])
def test_a_profile_says_where_else_it_goes(later: str, endpoint: str) -> None:
    assert core_later.way_back(app(profile(later=later)), reception()) == endpoint


def test_the_line_is_held_for_the_lanes_time_in_real_time_only() -> None:
    ours, given = app(profile()), reception()
    reply = core_later.with_way_back(ours, intake(), given).reply
    assert reply["lane"] == "fast"
    assert reply["waitsUntil"] == (given.received_at + timedelta(seconds=10)).isoformat()
    assert "lane" not in core_later.with_way_back(ours, intake(), reception(mode="Batch")).reply


def test_a_core_server_is_sent_a_batch_and_a_drop_a_file() -> None:
    outbound = Outbound(endpoint="x", data=ANSWER, media_type="application/edi-x12", idempotency_key="k")
    sent = core_later.addressed(outbound, "core/clinic")
    assert sent.attributes == {"payloadType": "X12_278_Response_005010X217", "processingMode": "Batch"}
    assert core_later.addressed(outbound, "sftp/clinic") == outbound


def test_a_way_that_is_not_there_is_refused(tmp_path: Path) -> None:
    for name, wrong in (("a", {**profile(later="sftp")}), ("b", {**profile(later="core"), "core": None})):
        (tmp_path / f"{name}.yaml").write_text(yaml.safe_dump(wrong), encoding="utf-8")
        with pytest.raises(ConfigurationError):
            read(tmp_path / f"{name}.yaml")


async def test_what_was_left_is_there() -> None:
    outbound = Outbound(endpoint="core-pickup.x", data=ANSWER, media_type="m", idempotency_key="k")
    assert (await cast("Any", core_later.LeftForPickUp()).send(outbound)).accepted
