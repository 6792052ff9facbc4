"""Clinical messages in the store: one event in each open case of the patient, once; other people's stay untouched."""

from __future__ import annotations

import uuid
from dataclasses import replace
from typing import Any

import pytest

from gateway.core.envelope import Envelope
from gateway.core.errors import MessageConflict
from gateway.core.ports import ItemDecision
from gateway.infra.postgres import Database
from gateway.security.tokens import Tokens
from gateway.stages.decide import Verdict
from gateway.stages.start import Definition, Keys, keys_of
from gateway.store.cases import CaseStore
from gateway.store.patients import PatientCaseStore, told_facts
from gateway.testing import FixedClock
from tests.gateway.stages.fakes import MARKER, NOW, envelope
from tests.gateway.store.test_cases import CIPHER, CONTENT, close, opening, types
from tests.gateway.store.test_closing import activities
from workflows import definitions
from workflows.inputs import StepInput

pytestmark = [pytest.mark.connected, pytest.mark.timeout(180)]

BORN = "1970-01-01"
JANE: Keys = (("person", (MARKER, BORN)),)


@pytest.fixture
def store(database: Database) -> CaseStore:
    return CaseStore(database, CIPHER, Tokens(b"t" * 32), FixedClock(NOW))


@pytest.fixture
async def definition(store: CaseStore, tenant: str) -> Definition:
    return await store.register(tenant, CONTENT, definitions.content_hash(CONTENT))


async def opened(store: CaseStore, tenant: str, definition: Definition, name: str, person: str = MARKER) -> str:
    facts = {"patient.id": person, "patient.birthDate": BORN, "documents": [{"type": "A"}]}
    given = envelope(
        id=str(uuid.uuid4()), tenant=tenant, subject=f"{tenant}-{name}", dedupe_key=f"{tenant}-{name}", facts=facts
    )
    return (await store.open(opening(given, definition, keys=keys_of(facts)))).case_id


def clinical(tenant: str, number: int = 1, **given: Any) -> Envelope:
    facts = {"documents": [{"type": "B"}], "diagnoses": [{"code": "Z"}], "encounter.dischargeDate": "2026-01-14"}
    values: dict[str, Any] = {"id": str(uuid.uuid4()), "tenant": tenant, "facts": facts, "format": "hl7v2"}
    return envelope("clinical.adt", **values | {"dedupe_key": f"{tenant}-clinical-{number}"} | given)


async def facts(store: CaseStore, tenant: str, case_id: str) -> dict[str, Any]:
    found: dict[str, Any] = (await store.load(tenant, case_id)).context["facts"]
    return found


async def test_it_joins_all_open_cases_of_the_patient_only(
    store: CaseStore, tenant: str, definition: Definition
) -> None:
    mine = {await opened(store, tenant, definition, name) for name in ("one", "two")}
    ended, other = await opened(store, tenant, definition, "ended"), await opened(store, tenant, definition, "o", "8")
    await close(store, tenant, ended)
    told = await PatientCaseStore(store).tell(clinical(tenant), JANE)
    assert {(found.case_id, found.outcome, found.version) for found in told} == {(case, "joined", 2) for case in mine}
    for case in mine:
        assert await types(store, tenant, case) == ["CaseOpened", "MessageReceived"]
        now = await facts(store, tenant, case)
        assert now["documents"] == [{"type": "A"}, {"type": "B"}]
        assert now["encounter.dischargeDate"] == "2026-01-14"
        assert "diagnoses" not in now
    assert await types(store, tenant, other) == ["CaseOpened"]
    assert await types(store, tenant, ended) == ["CaseOpened", "CaseClosed"]


async def test_the_decision_sees_the_case_with_what_was_added_to_it(
    store: CaseStore, tenant: str, definition: Definition
) -> None:
    """Not the last message's lists in the place of the request's."""
    case = await opened(store, tenant, definition, "one")
    await PatientCaseStore(store).tell(clinical(tenant), JANE)
    seen: list[dict[str, Any]] = []

    def policy(facts: Any, **_: Any) -> Verdict:
        seen.append(dict(facts))
        return Verdict(items=[ItemDecision(sequence=1, action="A4")])

    given = StepInput(
        case_id=case, tenant=tenant, step_id="decide", command_id="0.decide.1", executor={"ruleset": "demo"}
    )
    await replace(activities(store), policy=policy).decide(given)
    assert seen == [await facts(store, tenant, case)]
    assert seen[0]["documents"] == [{"type": "A"}, {"type": "B"}]
    assert "diagnoses" not in seen[0]


async def test_a_look_tells_whether_clinical_messages_change_the_decision(
    store: CaseStore, tenant: str, definition: Definition
) -> None:
    case = await opened(store, tenant, definition, "one")
    given = StepInput(
        case_id=case, tenant=tenant, step_id="decide", command_id="0.decide.1", executor={"ruleset": "demo"}
    )

    def policy(facts: Any, **_: Any) -> Verdict:
        wanted = {"type": "C"} in facts["documents"]
        asked = () if wanted else ({"code": "C", "text": "a report of type C"},)
        return Verdict(items=[ItemDecision(sequence=1, action="A4", reasons=())], requested_information=asked)

    hands, patients = replace(activities(store), policy=policy), PatientCaseStore(store)
    assert (await hands.look(given)).outcome == "message", "nothing was decided yet"
    await hands.decide(given)
    await patients.tell(clinical(tenant), JANE)
    found = await hands.look(given)
    assert (found.outcome, found.version) == ("same", 3)
    await patients.tell(clinical(tenant, 2, facts={"documents": [{"type": "C"}]}), JANE)
    assert (await hands.look(given)).outcome == "message"
    assert await types(store, tenant, case) == ["CaseOpened", "DecisionMade", "MessageReceived", "MessageReceived"]


async def test_a_look_does_not_pass_over_other_messages(store: CaseStore, tenant: str, definition: Definition) -> None:
    """An update that joined is decided, whatever the rules say of it."""
    case = await opened(store, tenant, definition, "one")
    given = StepInput(
        case_id=case, tenant=tenant, step_id="decide", command_id="0.decide.1", executor={"ruleset": "demo"}
    )
    verdict = Verdict(items=[ItemDecision(sequence=1, action="A4")])
    hands = replace(activities(store), policy=lambda *_, **__: verdict)
    await hands.decide(given)
    update = envelope(
        "authorization.update", id=str(uuid.uuid4()), tenant=tenant, subject=f"{tenant}-one", dedupe_key=f"{tenant}-u"
    )
    assert (await store.open(opening(update, definition, opens=False))).outcome == "joined"
    await PatientCaseStore(store).tell(clinical(tenant), JANE)
    assert (await hands.look(given)).outcome == "message"


async def test_again_changes_nothing_but_the_workflow_is_told_again(
    store: CaseStore, tenant: str, definition: Definition
) -> None:
    case = await opened(store, tenant, definition, "one")
    patients = PatientCaseStore(store)
    await patients.tell(clinical(tenant), JANE)
    again = await patients.tell(clinical(tenant), JANE)
    assert [(found.case_id, found.outcome, found.version) for found in again] == [(case, "known", 2)]
    with pytest.raises(MessageConflict):
        await patients.tell(clinical(tenant, body_sha256="cd" * 32), JANE)
    assert await types(store, tenant, case) == ["CaseOpened", "MessageReceived"]


async def test_nobody_is_told_and_nothing_is_kept_without_an_open_case(store: CaseStore, tenant: str) -> None:
    patients = PatientCaseStore(store)
    assert await patients.tell(clinical(tenant), JANE) == ()
    assert await patients.tell(clinical(tenant, body_sha256="cd" * 32), JANE) == ()


async def test_after_a_merge_either_number_finds_the_case(
    store: CaseStore, tenant: str, definition: Definition
) -> None:
    case = await opened(store, tenant, definition, "one")
    patients = PatientCaseStore(store)
    survivor: Keys = (("person", ("new", BORN)),)
    assert await patients.tell(clinical(tenant, 1), survivor) == ()
    assert [found.case_id for found in await patients.tell(clinical(tenant, 2), (*survivor, *JANE))] == [case]
    assert [found.case_id for found in await patients.tell(clinical(tenant, 3), survivor)] == [case]


@pytest.mark.parametrize(
    ("case", "message", "discharged"),
    [
        ({}, {"encounter.admitDate": "2026-01-10", "encounter.dischargeDate": "2026-01-14"}, True),
        (
            {"encounter.admitDate": "2026-01-10"},
            {"encounter.admitDate": "2026-01-10", "encounter.dischargeDate": "2026-01-14"},
            True,
        ),
        (
            {"encounter.admitDate": "2026-01-10"},
            {"encounter.admitDate": "2025-12-01", "encounter.dischargeDate": "2025-12-03"},
            False,
        ),
        ({"encounter.admitDate": "2026-01-10"}, {"encounter.dischargeDate": "2026-01-14"}, False),
    ],
)
def test_only_the_cases_own_stay_is_taken_over(case: dict[str, str], message: dict[str, str], discharged: bool) -> None:
    now = told_facts(case, message)
    assert ("encounter.dischargeDate" in now) is discharged
    assert all(now[name] == value for name, value in case.items())


async def test_a_merge_is_kept_for_cases_that_open_later(store: CaseStore, tenant: str, definition: Definition) -> None:
    """Under the number that was given up, and under one that was merged into it before."""
    patients = PatientCaseStore(store)
    for number, (kept, gone) in enumerate((("old", "oldest"), (MARKER, "old"), ("else", "elsewhere"))):
        keys: Keys = (("person", (kept, BORN)), ("person", (gone, BORN)))
        merge = clinical(tenant, 10 + number, reply={"merged": True})
        assert not await patients.tell(merge, keys), "no case is open"
        assert not await patients.tell(merge, keys), "a redelivery changes nothing"
    late = {await opened(store, tenant, definition, name, name) for name in ("old", "oldest")}
    other = await opened(store, tenant, definition, "elsewhere", "elsewhere")
    assert {found.case_id for found in await patients.tell(clinical(tenant), JANE)} == late
    assert await types(store, tenant, other) == ["CaseOpened"]


async def test_numbers_that_no_merge_named_stay_apart(store: CaseStore, tenant: str, definition: Definition) -> None:
    keys: Keys = (*JANE, ("person", ("other", BORN)))
    await PatientCaseStore(store).tell(clinical(tenant), keys)
    await opened(store, tenant, definition, "one", "other")
    assert not await PatientCaseStore(store).tell(clinical(tenant, 2), JANE)
