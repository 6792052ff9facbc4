"""Documents for a payer that was asked over X12, over the real store: each once, same bytes, under its numbers."""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from types import SimpleNamespace
from typing import Any, cast

import pytest
from temporalio.exceptions import ApplicationError
from temporalio.testing import ActivityEnvironment

from adapters.soap.settings import CoreEndpoint
from adapters.x12.settings import PartnerProfile
from adapters.x12.wire import Envelope as Interchange
from adapters.x12.wire import Transaction, guide, read, write
from gateway.app.forwarding import Forward
from gateway.core.envelope import Raw
from gateway.core.errors import EndpointRefused, EndpointUnavailable
from gateway.core.ports import Outbound
from gateway.partners import Asking, Partner, Partners
from gateway.stages import forward
from gateway.stages.start import keys_of
from gateway.store import events
from gateway.store.patients import PatientCaseStore
from gateway.testing import FixedClock
from mappings import attachment_to_x12_275
from mappings.attachment_to_x12_275 import attachments
from mappings.information_request import control_number
from mappings.x12_codec import X12Codec
from tests.e2e.payer import acknowledged, decided, refused_999, submission, wanting
from tests.gateway.stages.fakes import MARKER, NOW
from tests.gateway.store.test_cases import CIPHER, message, types
from tests.gateway.store.test_payer_turns import Bench, bench
from tests.mappings.fhir import samples
from tests.mappings.x12.bench import RECEPTION
from workflows.forwarding import ForwardActivities
from workflows.inputs import AskInput, StepInput, StepOutcome

__all__ = ["bench"]
pytestmark = [pytest.mark.connected, pytest.mark.timeout(180)]

LOINC, ACN = "34117-2", "PAYERACN7"
Element = dict[str, Any]


async def as_it_is(outbound: Outbound, _endpoint: str) -> Outbound:
    return outbound


@dataclass
class Documents:
    """Turns of forwarding in the bench's case."""

    bench: Bench
    hands: ForwardActivities
    turns: int = 0

    @property
    def task(self) -> str:
        return f"{self.bench.case_id}:0:forward:1"

    async def turn(self, command: str = "", **knows: Any) -> StepOutcome:
        self.turns += 1
        usual = {"again": 0, "failed": 0, "task": self.task, "open": True, "close": False, "reviewer": ""}
        given = StepInput(
            case_id=self.bench.case_id, tenant=self.bench.tenant, step_id="forward",
            command_id=command or f"0.forward.{self.turns}", executor=usual | knows,
        )  # fmt: skip
        return await self.hands.forward(given)

    async def send(self, outcome: StepOutcome) -> StepOutcome:
        given = AskInput(
            case_id=self.bench.case_id, tenant=self.bench.tenant, endpoint=outcome.endpoints[0],
            version=outcome.version, step_id="forward", command_id=f"forwarded.{outcome.version}", initial=4.0,
            maximum=600.0, documents=True,
        )  # fmt: skip
        return await ActivityEnvironment().run(self.bench.hands.ask, given)

    async def bring(self, number: int, tracking: str, *texts: str, kind: str = "authorization.attachment") -> None:
        resource = submitted(tracking, *texts) if kind == "authorization.attachment" else clinical(*texts)
        given = replace(message(self.bench.tenant, number=number), type=kind, resource=resource)
        async with self.bench.store.database.transaction(self.bench.tenant) as connection:
            case = await self.bench.store.lock(connection, self.bench.case_id)
            command = str(number)
            event = events.NewEvent(type="MessageReceived", data={"type": kind, "source": "s"}, sealed={
                "resource": given.resource, "facts": {}, "reply": {}})  # fmt: skip
            await self.bench.store.record(connection, case, [event], command_id=command, status=case.status)

    async def pended(self, *, asks: bool = True) -> str:
        """The payer pends, and asks for something. Our number for it."""
        asked = await self.bench.turn()
        self.bench.plan.answers = [(lambda one: wanting(one, LOINC, ACN)) if asks else b""]
        await self.bench.send(asked)
        if not asks:
            return ""
        made = await self.bench.turn()
        assert made.decision is not None
        assert made.outcome == "A4"
        (wanted,) = made.decision["requested_information"]
        assert wanted == {"loinc": LOINC, "controlNumber": ACN, "reportType": "OZ"}
        return control_number(self.bench.case_id, wanted)

    async def stream(self) -> Sequence[events.StoredEvent]:
        async with self.bench.store.database.transaction(self.bench.tenant) as connection:
            return await events.stream(connection, CIPHER, self.bench.case_id)

    async def open_tasks(self) -> list[tuple[str, str, str]]:
        async with self.bench.store.database.transaction(self.bench.tenant) as connection:
            rows = await connection.fetch("SELECT task_id, role, state FROM workflow.human_tasks ORDER BY 1")
        return [tuple(row) for row in rows]


def submitted(tracking: str, *texts: str) -> Element:
    parts = [{"name": "Attachment", "part": [{"name": "Content", "resource": note(text)}]} for text in texts]
    head = [
        {"name": "TrackingId", "valueIdentifier": {"value": tracking}},
        {"name": "AttachTo", "valueCode": "preauthorization"},
        {"name": "MemberId", "valueIdentifier": {"value": MARKER}},
    ]
    return {"resourceType": "Parameters", "parameter": [*head, *parts]}


def clinical(*codes: str) -> Element:
    rows = [
        {"resource": note(code) | {"type": {"coding": [{"system": "http://loinc.org", "code": code}]}}}
        for code in codes
    ]
    return {"resourceType": "Bundle", "type": "message", "entry": rows}


def note(text: str) -> Element:
    data = base64.b64encode(text.encode()).decode()
    attachment = {"contentType": "text/plain", "data": data}
    return {"resourceType": "DocumentReference", "status": "current", "content": [{"attachment": attachment}]}


def carried(data: bytes) -> list[tuple[str, str, str, str]]:
    """What a 275 brings: TRN01, TRN02, LOINC, text."""
    (one,) = [event for event in read([data]) if isinstance(event, Transaction)]
    assert one.report.outcome == "accepted", one.report.as_json()
    found = []
    for loop in one.tree.loops("2000A"):
        content = json.loads(base64.b64decode(next(loop.loops("2110B")).segment("BDS").binary()))
        text = base64.b64decode(content["content"][0]["attachment"]["data"]).decode()
        found.append((loop.get("TRN", 1), loop.get("TRN", 2), loop.get("STC", 1, 2), text))
    return found


@pytest.fixture
def documents(bench: Bench) -> Documents:
    return made(bench, "all")


def made(bench: Bench, policy: Any) -> Documents:
    plan = Partner(
        name="plan",
        x12=PartnerProfile(name="plan", sender="CLINIC7", receiver="GATEWAY", usage="T"),
        core=CoreEndpoint(name="plan", url="https://plan.example", sender_id="GATEWAY", receiver_id="CLINIC7"),
        ask=Asking(payers=("*",), by="core", documents=policy),
    )
    app = cast(Any, SimpleNamespace(partners=Partners((plan,))))
    hands = ForwardActivities(
        steps=bench.hands.steps,
        deliveries=bench.hands.deliveries,
        render=Forward(app, as_it_is, cast(Any, None)),
        everything=app.partners.forwards_all,
        clock=FixedClock(NOW),
    )
    return Documents(bench, hands)


async def test_documents_wait_for_the_request_and_then_go_once(documents: Documents) -> None:
    await documents.bring(5, "OWN-1", "first")
    assert (await documents.turn()).outcome == "waiting"
    asked = await documents.bench.turn()
    assert (await documents.turn()).outcome == "waiting"
    documents.bench.plan.answers = [b"", b""]
    await documents.bench.send(asked)
    assert (await documents.bench.turn()).documents
    first = await documents.turn("one")
    assert await documents.turn("one") == first
    assert (first.outcome, first.endpoints) == ("forwarding", ("core/plan",))
    sent = await documents.send(first)
    assert sent.outcome == "sent"
    assert await documents.send(first) == sent
    assert len(documents.bench.plan.got) == 2
    assert carried(documents.bench.plan.got[1]) == [("1", "OWN-1", "", "first")]
    assert (await documents.turn()).outcome == "waiting"
    assert (await documents.bench.turn()).documents, "the payer may ask for more of what came"
    assert (await documents.turn()).outcome == "waiting"
    kinds = await types(documents.bench.store, documents.bench.tenant, documents.bench.case_id)
    assert kinds[-2:] == ["DocumentsForwarded", "DocumentsTaken"]


async def test_what_the_payer_asked_for_carries_its_number(documents: Documents) -> None:
    ours = await documents.pended()
    await documents.bring(5, ours, "asked", "for")
    await documents.bring(6, "OWN-1", "unasked")
    documents.bench.plan.answers = [b"", b""]
    for _ in range(2):
        assert (await documents.send(await documents.turn())).outcome == "sent"
    asked_for, unasked = documents.bench.plan.got[1:]
    assert carried(asked_for) == [("2", ACN, LOINC, "asked"), ("2", ACN, LOINC, "for")]
    assert carried(unasked) == [("1", "OWN-1", "", "unasked")]
    (tree,) = [one.tree for one in read([asked_for]) if isinstance(one, Transaction)]
    request = submission(documents.bench.plan.got[0])
    assert (tree.get("BGN", 1), tree.get("BGN", 2)) == ("11", request.tree.get("BHT", 3))
    assert tree.loop("1000D").segment("REF", "NT").get(2) == "REF1"


async def test_only_what_was_asked_for_goes_where_that_is_agreed(bench: Bench) -> None:
    documents = made(bench, "asked")
    await documents.pended()
    await documents.bring(5, "OWN-1", "unasked")
    assert (await documents.turn()).outcome == "waiting"
    await documents.bring(6, "", "11506-3", LOINC, kind="clinical.document")
    bench.plan.answers = [b""]
    await documents.send(await documents.turn())
    assert carried(bench.plan.got[1]) == [("2", ACN, LOINC, LOINC)]
    assert (await documents.turn()).outcome == "waiting"


async def test_what_is_about_the_patient_is_nobodys_business_unasked(documents: Documents) -> None:
    await documents.pended(asks=False)
    await documents.bring(5, "", LOINC, kind="clinical.document")
    assert (await documents.turn()).outcome == "waiting"


async def test_the_same_bytes_go_again_until_they_are_taken(documents: Documents) -> None:
    await documents.pended(asks=False)
    await documents.bring(5, "OWN-1", "first")
    shipped = await documents.turn()
    documents.bench.plan.answers = [EndpointUnavailable(), b"<html>", acknowledged]
    for _ in range(2):
        with pytest.raises(ApplicationError):
            await documents.send(shipped)
    assert (await documents.send(shipped)).outcome == "sent"
    assert len(set(documents.bench.plan.got[1:])) == 1
    assert len(documents.bench.plan.got) == 4


@pytest.mark.parametrize("refusal", [EndpointRefused(), refused_999], ids=["fault", "999"])
async def test_a_refusal_is_a_task_and_leaves_the_request_alone(documents: Documents, refusal: Any) -> None:
    await documents.pended(asks=False)
    await documents.bring(5, "OWN-1", "first")
    documents.bench.plan.answers = [refusal, b""]
    assert (await documents.send(await documents.turn())).outcome == "refused"
    assert (await documents.bench.turn()).outcome == "waiting"
    opened = await documents.turn("open")
    assert (opened.outcome, await documents.turn("open")) == ("refused", opened)
    assert (documents.task, "operations", "open") in await documents.open_tasks()
    closed = await documents.turn(close=True, reviewer="ops-1")
    assert (documents.task, "operations", "closed") in await documents.open_tasks()
    again = await documents.turn(again=closed.version)
    assert again.outcome == "forwarding"
    assert (await documents.send(again)).outcome == "sent"
    first, second = documents.bench.plan.got[1:]
    assert carried(first) == carried(second)
    assert submission_number(first) != submission_number(second)
    assert (await documents.turn(again=closed.version)).outcome == "waiting"


def submission_number(data: bytes) -> str:
    return next(one.header.control_number for one in read([data]) if isinstance(one, Transaction))


async def test_a_999_by_a_file_is_about_the_documents_and_not_the_request(documents: Documents) -> None:
    await documents.pended(asks=False)
    await documents.bring(5, "OWN-1", "first")
    documents.bench.plan.answers = [b""]
    await documents.send(await documents.turn())
    await documents.bench.file(refused_999(documents.bench.plan.got[1]), 9, source="sftp/plan")
    read_ = await documents.bench.turn()
    assert (read_.outcome, read_.documents) == ("noted", True)
    assert (await documents.bench.turn()).outcome == "waiting"
    assert (await documents.turn()).outcome == "refused"
    stream = await documents.stream()
    (refused,) = [event for event in stream if event.type == "DocumentsRefused"]
    assert refused.data["codes"] == ["5"]


async def test_what_nobody_takes_and_what_cannot_be_written_is_for_people(
    documents: Documents, monkeypatch: pytest.MonkeyPatch
) -> None:
    await documents.pended(asks=False)
    await documents.bring(5, "OWN-1", "first")
    shipped = await documents.turn()
    await documents.turn(failed=shipped.version)
    assert (await documents.turn()).outcome == "refused"
    await documents.bring(6, "", "no number")
    assert (await documents.turn(open=False)).more
    codes = [event.data["codes"] for event in await documents.stream() if event.type == "DocumentsRefused"]
    assert codes == [["unanswered"], ["unmappable"]]


async def test_what_does_not_fit_goes_with_the_next_one(documents: Documents, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.app.forwarding.LONGEST", 400)
    assert attachment_to_x12_275.LONGEST > 400
    await documents.pended(asks=False)
    await documents.bring(5, "OWN-1", "a" * 60, "b" * 60, "c" * 60)
    documents.bench.plan.answers = [b"", b"", b""]
    for _ in range(3):
        await documents.send(await documents.turn())
    assert (await documents.turn()).outcome == "waiting"
    assert [len(carried(data)) for data in documents.bench.plan.got[1:]] == [1, 1, 1]
    assert "".join(row[3][0] for data in documents.bench.plan.got[1:] for row in carried(data)) == "abc"


async def test_a_decided_case_forwards_nothing_and_keeps_its_status(documents: Documents) -> None:
    await documents.pended(asks=False)
    await documents.bring(5, "OWN-1", "first")
    shipped = await documents.turn()
    await documents.bench.file(decided(submission(documents.bench.plan.got[0]), "A1"), 9)
    await documents.bench.turn()
    await documents.bring(6, "OWN-2", "late")
    assert (await documents.turn()).outcome == "waiting"
    case = await documents.bench.store.load(documents.bench.tenant, documents.bench.case_id)
    documents.bench.plan.answers = [b""]
    await documents.send(shipped)
    after = await documents.bench.store.load(documents.bench.tenant, documents.bench.case_id)
    assert after.status == case.status


async def test_nothing_of_a_person_is_in_what_is_open(documents: Documents) -> None:
    await documents.pended(asks=False)
    await documents.bring(5, "OWN-TRACKING", "a secret")
    await documents.turn()
    async with documents.bench.store.database.transaction(documents.bench.tenant) as connection:
        keys = await connection.fetch("SELECT kind, token FROM workflow.case_keys")
        bodies = await connection.fetch("SELECT body, attributes, idempotency_key FROM workflow.deliveries")
    stream = await documents.stream()
    opened = repr([event.data for event in stream]) + repr([dict(row) for row in keys])
    opened += repr([(row["attributes"], row["idempotency_key"]) for row in bodies])
    assert "OWN-TRACKING" not in opened
    assert MARKER not in opened
    assert all(b"OWN-TRACKING" not in bytes(row["body"]) for row in bodies)
    assert [event.type for event in stream][-1] == forward.FORWARDED


async def test_a_275_under_our_number_joins_the_open_case_and_is_handed_on(documents: Documents) -> None:
    bench = documents.bench
    ours = await documents.pended()
    data = written(ours, b"%PDF-1.7 report")
    (intake,) = X12Codec().read(Raw.of(data, "application/edi-x12"), RECEPTION).intakes
    given = replace(
        message(bench.tenant, number=8), type=intake.type, resource=intake.resource, reply=intake.reply,
        facts=intake.facts,
    )  # fmt: skip
    async with bench.store.database.transaction(bench.tenant) as connection:  # as each decision that asks does
        await bench.store.add_keys(connection, bench.tenant, bench.case_id, (("attachment-control", (ours,)),))
    before = (await bench.store.load(bench.tenant, bench.case_id)).context
    (told,) = await PatientCaseStore(bench.store).tell(given, keys_of({}, intake.reply["parents"]))
    assert (told.outcome, told.case_id) == ("joined", bench.case_id)
    after = (await bench.store.load(bench.tenant, bench.case_id)).context
    assert (after["resource"], after["reply"]) == (before["resource"], before["reply"])
    assert [row["controlNumber"] for row in after["facts"]["documents"]] == [ours]
    bench.plan.answers = [b""]
    await documents.send(await documents.turn())
    ((kind, number, loinc, text),) = carried(bench.plan.got[1])
    assert (kind, number, loinc, text) == ("2", ACN, LOINC, "%PDF-1.7 report")


async def test_a_275_of_somebody_else_joins_nothing(documents: Documents) -> None:
    await documents.pended()
    (intake,) = X12Codec().read(Raw.of(written("NOBODY", b"x"), "application/edi-x12"), RECEPTION).intakes
    given = replace(message(documents.bench.tenant, number=8), type=intake.type)
    store = PatientCaseStore(documents.bench.store)
    assert await store.tell(given, keys_of({}, intake.reply["parents"])) == ()


def written(number: str, content: bytes) -> bytes:
    """A 275 of our client's."""
    bundle = samples.request("urn", (samples.item(1, "urn", "97110"),))
    tree = attachments(bundle, [attachment_to_x12_275.Document(control_number=number, content=content)], now=NOW)
    envelope = Interchange(
        sender="CLINIC7", receiver="GATEWAY", time=NOW, interchange_number=5, group_number=5, usage="T"
    )
    return write(guide("275"), tree, envelope)
