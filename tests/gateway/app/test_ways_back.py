"""Who hears of a decision: nobody twice, and nobody not at all because a line was given up."""

from __future__ import annotations

from datetime import timedelta
from typing import Any, cast

import pytest

from gateway.app import now
from gateway.app.deliveries import ways_back
from gateway.partners import Partners
from gateway.store.cases import Case


def case(version: int, seconds: float | None, run: int = 0) -> Case:
    """A case of an HL7 request whose sender holds the line for `seconds` from now on."""
    reply: dict[str, Any] = {"rail": "hl7v2", "endpoint": "mllp/north"}
    if seconds is not None:
        reply["waitsUntil"] = (now() + timedelta(seconds=seconds)).isoformat()
    at = now()
    return Case(
        id="c", tenant="t", version=version, status="opened", action="", context={"reply": reply}, priority="standard",
        received_at=at, due_at=at, run=run,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("lane", "given", "told"),
    [
        ("batch", case(1, None), True),
        ("fast", case(1, 3600), False),
        ("fast", case(1, -1), True),  # the line was given up: the decision is not lost
        ("batch", case(3, 3600), True),  # a person's decision, after "pended" on the line
        ("fast", case(4, 3600, run=4), False),
        ("fast", case(1, None), False),
    ],
)
async def test_the_line_or_the_endpoint(lane: str, given: Case, told: bool) -> None:
    assert await ways_back(Partners(), cast("Any", None), given, lane) == (("mllp/north",) if told else ())
