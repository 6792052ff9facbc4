"""What the starter leaves to the edge: a fast-lane message whose case is open is done by its headers alone."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, cast

import pytest

from gateway.app import now
from gateway.core.errors import Unavailable
from gateway.infra.consuming import Record
from gateway.roles.starter import EDGE_PATIENCE, TOGETHER, Settled
from gateway.store.cases import CaseStore

SLEEP = asyncio.sleep


@dataclass
class KnownCases:
    """Knows which messages have opened a case."""

    known: set[str]
    asked: list[list[tuple[str, str, str, str]]] = field(default_factory=list)
    failure: Exception | None = None

    async def settled(self, messages: Sequence[tuple[str, str, str, str]]) -> Sequence[bool]:
        self.asked.append(list(messages))
        if self.failure:
            raise self.failure
        return [identity in self.known for *_, identity in messages]


@pytest.fixture(autouse=True)
def waited(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Waits for the edge are noted, not waited."""
    found: list[float] = []

    async def sleep(seconds: float) -> None:
        if seconds != TOGETHER:
            found.append(seconds)
        await SLEEP(0.01)

    monkeypatch.setattr("asyncio.sleep", sleep)
    return found


def record(identity: str, *, waits: bool = True, age: float = 60.0) -> Record:
    headers = {
        "ce_id": identity,
        "ce_tenant": "acme",
        "ce_source": "fhir/ehr",
        "ce_dedupekey": f"key-{identity}",
        "ce_time": (now() - timedelta(seconds=age)).isoformat(),
    }
    more = {"ce_waits": "true"} if waits else {}
    return Record(topic="t", partition=0, offset=int(identity), key="k", headers=headers | more, value=b"not opened")


def settled(cases: Any) -> Settled:
    return Settled(cast(CaseStore, cases))


async def test_only_what_the_edge_has_opened_is_done_and_all_are_looked_up_at_once() -> None:
    cases = KnownCases({"2", "3"})
    sift = settled(cases)
    batch = [record("1"), record("2"), record("3", waits=False), record("4")]
    assert await asyncio.gather(*map(sift, batch)) == [False, True, False, False]
    assert cases.asked == [[("acme", "fhir/ehr", f"key-{identity}", identity) for identity in ("1", "2", "4")]]


async def test_a_message_nobody_waits_for_is_not_looked_up_nor_held_back(waited: list[float]) -> None:
    cases = KnownCases({"1"})
    assert not await settled(cases)(record("1", waits=False, age=0.0))
    assert (cases.asked, waited) == ([], [])


async def test_what_cannot_be_looked_up_is_told() -> None:
    with pytest.raises(Unavailable):
        await settled(KnownCases({"1"}, failure=Unavailable()))(record("1"))


@pytest.mark.parametrize(("age", "least", "most"), [(0.0, 0.8, EDGE_PATIENCE), (0.6, 0.1, 0.4), (-9.0, 1.0, 1.0)])
async def test_the_edge_is_left_a_moment(waited: list[float], age: float, least: float, most: float) -> None:
    """However the clocks of two machines differ, never longer than that moment."""
    await settled(KnownCases(set()))(record("2", age=age))
    assert [least <= seconds <= most for seconds in waited] == [True]
