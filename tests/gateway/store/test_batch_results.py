"""Results of CORE batches are fetched from a server over HTTP: late, once, and in spite of its faults."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from adapters.sftp.inbound import AnswerFile
from adapters.soap.outbound import IDENTIFIERS, CoreSender
from adapters.soap.settings import CoreEndpoint
from adapters.soap.wire import CoreMessage, parse_envelope, read_message, render_answer, render_fault
from adapters.soap.wire.envelope import Fault
from gateway import samples
from gateway.app.batch_results import Fetcher
from gateway.core.envelope import Raw, Reception
from gateway.core.errors import Unavailable
from gateway.infra.postgres import SYSTEM, Database
from gateway.partners import Fetching, Partner
from gateway.store.core_batches import CoreBatch, CoreBatches, expect
from gateway.testing import FixedClock
from tests.e2e.payer import decided, refused_999, submission
from tests.gateway.app.test_core_later import CORE

pytestmark = [pytest.mark.connected, pytest.mark.timeout(180)]

NOW = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
ASKED = submission(samples.request_278("X1001", NOW).data)
ACK, RESULTS, CONFIRM = (
    "COREEnvelopeBatchSubmissionAckRetrievalRequest",
    "COREEnvelopeBatchResultsRetrievalRequest",
    "COREEnvelopeBatchResultsAckSubmission",
)
Said = bytes | int | Fault | None
"""X12, an HTTP status, a fault; None: nothing yet."""


@dataclass
class Bench:
    """A payer's CORE server, and what fetches from it."""

    database: Database
    tenant: str
    says: dict[str, Said] = field(default_factory=dict)
    calls: list[CoreMessage] = field(default_factory=list)
    entered: list[tuple[bytes, Reception]] = field(default_factory=list)
    answers: list[AnswerFile] = field(default_factory=list)
    clock: FixedClock = field(default_factory=lambda: FixedClock(NOW))
    failure: Exception | None = None
    seconds: float = 0.0
    fetcher: Fetcher = field(init=False)

    @property
    def endpoint(self) -> str:
        return f"core/{self.tenant}"

    async def serve(self, request: Request) -> Response:
        message = read_message(parse_envelope(await request.body()).body)
        self.calls.append(message)
        await asyncio.sleep(self.seconds)
        said = self.says.get(message.kind.name, b"" if message.kind.name == CONFIRM else None)
        if isinstance(said, int):
            return Response(status_code=said)
        if isinstance(said, Fault):
            return Response(render_fault(said), 500, media_type="application/soap+xml")
        code = "PayloadIDNotUnderstood" if said is None else "Success"
        fields = {**message.fields, "ErrorCode": code, "ErrorMessage": "None"}
        fields = {name: text for name, text in fields.items() if name not in ("Payload", "PayloadLength", "CheckSum")}
        return Response(render_answer(message.kind, fields, said or None), media_type="application/soap+xml")

    async def receive(self, raw: Raw, reception: Reception) -> list[AnswerFile]:
        if self.failure is not None:
            raise self.failure
        self.entered.append((raw.data or b"", reception))
        return self.answers

    async def batch(self) -> str:
        """A batch that was taken; its key."""
        key = f"{uuid.uuid4()}:2:{self.endpoint}"
        async with self.database.transaction(self.tenant) as connection:
            await expect(
                connection, key=key, tenant=self.tenant, endpoint=self.endpoint, sent_at=NOW,
                next_at=NOW + timedelta(seconds=60),
            )  # fmt: skip
        return key

    async def after(self, seconds: float) -> None:
        """Look once, so long after the submission."""
        self.clock.now = NOW + timedelta(seconds=seconds)
        await self.fetcher.round()

    async def row(self, key: str) -> tuple[str, bool, int, float]:
        """(state, acknowledged, polls, seconds from the submission until the next)."""
        async with self.database.transaction(SYSTEM) as connection:
            found = await connection.fetchrow("SELECT * FROM workflow.core_batches WHERE idempotency_key = $1", key)
        assert found is not None
        return found["state"], found["acknowledged"], found["polls"], (found["next_at"] - NOW).total_seconds()

    def asked(self) -> list[str]:
        """Kinds of the calls so far, and forget them."""
        kinds = [one.kind.name for one in self.calls]
        self.calls.clear()
        return kinds


@pytest.fixture
async def bench(database: Database, tenant: str) -> AsyncIterator[Bench]:
    made = Bench(database, tenant)
    application = Starlette(routes=[Route("/core", made.serve, methods=["POST"])])
    server = uvicorn.Server(uvicorn.Config(application, host="127.0.0.1", port=0, log_level="error", lifespan="off"))
    task = asyncio.create_task(server.serve())
    while not server.started:  # noqa: ASYNC110 - uvicorn has no event for it
        await asyncio.sleep(0.01)
    url = f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}/core"
    core = {**CORE, "name": tenant, "url": url, "timeout": 0.5}
    partner = Partner.model_validate(
        {
            "name": tenant,
            "x12": {"name": tenant, "sender": "PLAN0009", "receiver": "GATEWAY"},
            "core": core,
            "ask": {"payers": ["*"], "by": "core-batch", "results": {"longest_seconds": 200, "days": 1}},
        }
    )
    sender = CoreSender(CoreEndpoint.model_validate(core), secret=lambda _: b"", clock=made.clock)

    async def turn(_batch: CoreBatch, _pause: float) -> None:
        return

    made.fetcher = Fetcher(
        batches=CoreBatches(database),
        partners={made.endpoint: partner},
        senders={made.endpoint: sender},
        receive=made.receive,
        turn=turn,
        clock=made.clock,
    )
    yield made
    await sender.close()
    server.should_exit = True
    await task


async def test_a_batch_is_asked_about_when_its_time_has_come_and_ever_more_seldom(bench: Bench) -> None:
    key = await bench.batch()
    await bench.after(59)
    assert bench.asked() == []
    await bench.after(60)
    assert bench.asked() == [ACK, RESULTS]
    assert await bench.row(key) == ("open", False, 1, 60 + 120)
    await bench.after(180)
    await bench.after(181)
    assert bench.asked() == [ACK, RESULTS]
    assert await bench.row(key) == ("open", False, 2, 180 + 200)
    assert bench.entered == []


async def test_results_enter_as_a_file_of_the_partner_and_are_acknowledged(bench: Bench) -> None:
    key, result = await bench.batch(), decided(ASKED, "A1")
    bench.says = {ACK: refused_999(ASKED).replace(b"AK9*R", b"AK9*A").replace(b"IK5*R*5", b"IK5*A"), RESULTS: result}
    bench.answers = [AnswerFile("a.x12", refused_999(ASKED))]
    await bench.after(60)
    assert bench.asked() == [ACK, RESULTS, CONFIRM]
    (_, _), (data, reception) = bench.entered
    assert data == result
    assert (reception.source, reception.client, reception.tenant) == (bench.endpoint, bench.tenant, bench.tenant)
    assert await bench.row(key) == ("done", False, 1, 660)
    await bench.after(10_000)
    assert bench.asked() == []


async def test_the_acknowledgement_is_fetched_once(bench: Bench) -> None:
    key = await bench.batch()
    bench.says = {ACK: refused_999(ASKED).replace(b"AK9*R", b"AK9*A").replace(b"IK5*R*5", b"IK5*A")}
    await bench.after(60)
    await bench.after(180)
    assert bench.asked() == [ACK, RESULTS, RESULTS]
    assert (await bench.row(key))[:2] == ("open", True)
    assert {one.payload_id for one in bench.calls} <= {str(uuid.uuid5(IDENTIFIERS, key))}


async def test_a_batch_that_was_refused_is_asked_about_no_more(bench: Bench) -> None:
    key = await bench.batch()
    bench.says = {ACK: refused_999(ASKED)}
    await bench.after(60)
    assert bench.asked() == [ACK]
    assert (await bench.row(key))[0] == "refused"
    assert [data for data, _ in bench.entered] == [bench.says[ACK]]


async def test_what_is_pended_is_asked_about_until_the_newest_answer_is_final(bench: Bench) -> None:
    key, first, last = await bench.batch(), decided(ASKED, "A4"), decided(ASKED, "A1")
    bench.says = {RESULTS: first}
    await bench.after(60)
    assert (await bench.row(key))[0] == "open"
    bench.says = {RESULTS: first + last}
    await bench.after(180)
    assert (await bench.row(key))[0] == "done"
    assert [data for data, _ in bench.entered] == [first, first + last]


@pytest.mark.parametrize(
    "fault",
    [503, 404, Fault("Receiver", "later"), Fault("Sender", "no")],
    ids=["503", "404", "receiver", "sender"],
)
async def test_a_fault_is_tried_again_and_does_not_hide_the_other_retrieval(bench: Bench, fault: Said) -> None:
    key = await bench.batch()
    bench.says = {ACK: fault, RESULTS: fault}
    await bench.after(60)
    assert bench.asked() == [ACK, RESULTS]
    assert await bench.row(key) == ("open", False, 1, 180)
    bench.says = {ACK: fault, RESULTS: decided(ASKED, "A3")}
    await bench.after(180)
    assert (await bench.row(key))[0] == "done"


async def test_silence_is_tried_again(bench: Bench) -> None:
    key = await bench.batch()
    bench.seconds, bench.says = 2.0, {RESULTS: decided(ASKED, "A1")}
    await bench.after(60)
    assert (await bench.row(key))[0] == "open"
    bench.seconds = 0.0
    await bench.after(180)
    assert (await bench.row(key))[0] == "done"


@pytest.mark.parametrize("where", ["entering", "confirming"])
async def test_what_failed_on_our_side_is_done_again_as_a_whole(bench: Bench, where: str) -> None:
    key = await bench.batch()
    bench.says = {RESULTS: decided(ASKED, "A1"), CONFIRM: 503 if where == "confirming" else b""}
    bench.failure = Unavailable() if where == "entering" else None
    bench.answers = [AnswerFile("a.x12", refused_999(ASKED))]
    await bench.after(60)
    assert (await bench.row(key))[0] == "open"
    bench.failure, bench.says[CONFIRM] = None, b""
    await bench.after(180)
    assert (await bench.row(key))[0] == "done"
    assert bench.asked()[-1] == CONFIRM


async def test_it_is_given_up_after_its_days(bench: Bench) -> None:
    key = await bench.batch()
    await bench.after(86_401)
    assert (await bench.row(key))[0] == "given-up"


async def test_two_processes_do_not_ask_about_one_batch(bench: Bench) -> None:
    for _ in range(20):
        await bench.batch()
    bench.clock.now = NOW + timedelta(seconds=60)
    await asyncio.gather(bench.fetcher.round(), bench.fetcher.round())
    assert bench.asked().count(RESULTS) == 20


def test_pauses_double_up_to_the_longest() -> None:
    pauses: Callable[[int], float] = Fetching(first_seconds=1, longest_seconds=5).pause
    assert [pauses(polls) for polls in (0, 1, 2, 3, 4000)] == [1, 2, 4, 5, 5]
