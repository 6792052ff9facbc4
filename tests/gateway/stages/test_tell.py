"""Telling: a clinical message reaches the workflows of all open cases of its patient, or is journaled only."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import pytest

from gateway.core.envelope import Envelope
from gateway.core.errors import GatewayError, MessageConflict, Unavailable
from gateway.stages.start import Keys, Opened, keys_of
from gateway.stages.tell import TellStage
from tests.gateway.stages.fakes import RecordingStarter, envelope

PARENTS = {"parents": [["person", "7", "1970-01-01"], ["person", "8", "1970-01-01"]]}


@dataclass
class ScriptedPatients:
    """The store's answer, as the test wants it."""

    told: Sequence[Opened] = ()
    failure: GatewayError | None = None
    asked: list[Keys] = field(default_factory=list)

    async def tell(self, envelope: Envelope, keys: Keys) -> Sequence[Opened]:
        if self.failure is not None:
            raise self.failure
        self.asked.append(keys)
        return self.told


def stage(cases: ScriptedPatients, starter: RecordingStarter, parked: list[tuple[str, str]]) -> TellStage:
    async def park(message: Envelope, reason: str) -> None:
        parked.append((message.id, reason))

    return TellStage(cases=cases, starter=starter, park=park)


async def test_every_open_case_is_told() -> None:
    starter = RecordingStarter()
    cases = ScriptedPatients([Opened(outcome="joined", case_id=name, version=2, subject=name) for name in "ab"])
    assert await stage(cases, starter, [])(envelope("clinical.adt", reply=PARENTS)) == tuple(cases.told)
    assert [(opened.case_id, kind) for opened, kind in starter.notified] == [
        ("a", "clinical.adt"),
        ("b", "clinical.adt"),
    ]
    assert cases.asked == [(("person", ("7", "1970-01-01")), ("person", ("8", "1970-01-01")))]


async def test_each_patient_of_a_message_has_cases_of_its_own() -> None:
    cases = ScriptedPatients([Opened(outcome="joined", case_id="a", version=2, subject="a")])
    given = envelope("clinical.adt", reply={**PARENTS, "others": [[["person", "9", "1980-01-01"]]]})
    assert len(await stage(cases, RecordingStarter(), [])(given)) == 2
    assert cases.asked[1] == (("person", ("9", "1980-01-01")),)


async def test_what_names_no_patient_asks_nobody() -> None:
    cases = ScriptedPatients()
    assert await stage(cases, RecordingStarter(), [])(envelope("clinical.adt")) == ()
    assert cases.asked == []


async def test_another_body_under_a_known_key_is_parked() -> None:
    parked: list[tuple[str, str]] = []
    given = envelope("clinical.adt", reply=PARENTS)
    assert await stage(ScriptedPatients(failure=MessageConflict()), RecordingStarter(), parked)(given) == ()
    assert parked == [(given.id, "conflict")]


async def test_an_outage_is_not_swallowed() -> None:
    with pytest.raises(Unavailable):
        await stage(ScriptedPatients(failure=Unavailable()), RecordingStarter(), [])(
            envelope("clinical.adt", reply=PARENTS)
        )


def test_a_person_is_a_number_and_a_birth_date() -> None:
    facts = {"patient.id": "7", "coverage.memberId": "M1", "patient.birthDate": "1970-01-01"}
    assert {key for key in keys_of(facts) if key[0] == "person"} == {
        ("person", ("7", "1970-01-01")),
        ("person", ("M1", "1970-01-01")),
    }
    assert not [key for key in keys_of(facts | {"patient.birthDate": "1970"}) if key[0] == "person"]
