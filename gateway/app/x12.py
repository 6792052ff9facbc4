"""X12 put together: the interchange desk behind SFTP drops, and the rendering of decisions as 278 and 271."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from itertools import islice
from typing import Any

from adapters.sftp.inbound import AnswerFile
from adapters.soap.inbound import Credentials
from adapters.soap.inbound import Services as SoapServices
from adapters.x12.inbound import Desk, answer_claims
from adapters.x12.outbound import file_name
from adapters.x12.outbound import render as render_interchange
from adapters.x12.settings import PartnerProfile
from adapters.x12.wire import Loop, guide
from gateway.app import core_later
from gateway.app.core import App, now
from gateway.app.x12_inquiries import inquiries
from gateway.core.envelope import Intake, Raw, Reception
from gateway.core.errors import InvalidMessage, Issue
from gateway.core.ids import new_id
from gateway.core.ports import Accepted, Decide, Decision, Outbound, Reading
from gateway.infra.telemetry import REFUSED
from gateway.security.secrets import secret
from gateway.stages.deliver import Letter
from gateway.store.deliveries import Deliveries
from gateway.store.fhir_edge import PostgresRefusals, PostgresUsedOnce
from gateway.store.soap_answers import PostgresAnswers
from gateway.store.x12_ledger import PostgresLedger, PostgresNumbers
from mappings.decision_to_x12_278 import response
from mappings.payer_278 import refusals_of
from mappings.x12_270_to_fhir import Eligibility, eligibility_response
from mappings.x12_codec import X12Codec, X12Reading
from mappings.x12_intakes import INQUIRY

GUIDES = {"278": "278_response", "271": "271"}
"""Guide by the transaction a request is answered with."""
KINDS = {b"999": "999", b"277": "277CA", b"278": "278"}
"""What an answer file is called by its first transaction set."""
AT_ONCE = 64
"""Produces in flight for one file: order per key is kept, the broker's round trips overlap."""
CHUNK = 1 << 20
NONCE_LIFE = timedelta(days=1)
"""How long a UsernameToken's nonce stays used; the Timestamp of a message is good for minutes."""

_HEAD = re.compile(rb"ISA(.).{101}(.)", re.DOTALL)
"""106 bytes: the element separator is byte 4, the segment terminator the last."""


def is_complete(head: bytes, tail: bytes) -> bool:
    """Whether a file is all there: its last segment is IEA and IEA02 repeats an ISA13 (of the only interchange).

    `head` and `tail` are its first and last bytes. A file of several interchanges ends with the last one's IEA.
    """
    start = head.lstrip(b"\xef\xbb\xbf\r\n \t")
    match = _HEAD.match(start)
    if match is None:
        return True  # not X12 at all: reading it says so, waiting would not mend it
    element, terminator = match.group(1), match.group(2)
    last = tail.rstrip(b"\r\n \t" + terminator).rsplit(terminator, 1)[-1].strip(b"\r\n \t")
    parts = last.split(element)
    return len(parts) == 3 and parts[0] == b"IEA" and parts[2].isdigit()


def desk(app: App) -> Desk:
    """The interchange desk over PostgreSQL."""
    return Desk(app.partners.x12, PostgresLedger(app.database, app.cipher), PostgresNumbers(app.database))


def receiver(app: App) -> Callable[[Raw, Reception], Awaitable[Sequence[AnswerFile]]]:
    """Read, accept and answer one file: judge → publish what was accepted → settle, which stores the answers."""
    own = desk(app)
    codec = X12Codec(options=own.base())
    refusals = PostgresRefusals(app.database, app.cipher)
    told = inquiries(app)

    async def receive(raw: Raw, reception: Reception) -> Sequence[AnswerFile]:
        data = raw.data or b""

        def chunks() -> list[bytes]:
            return [data[at : at + CHUNK] for at in range(0, len(data), CHUNK)] or [b""]

        verdict = await own.judge(chunks, reception.tenant, reception.received_at)
        accepted = {one.offset: one for judged in verdict.interchanges for _, one in judged.accepted()}
        withheld = verdict.withheld()
        messages = codec.messages(data, reception, accepted, withheld) if accepted else iter(())
        found: list[bytes] = []
        while some := await asyncio.to_thread(lambda: list(islice(messages, AT_ONCE))):
            await asyncio.gather(*(app.accept(intake, reception) for intake in some if intake.type != INQUIRY))
            for intake in [one for one in some if one.type == INQUIRY]:
                found.append(await told(intake, reception, profile_of(app, intake.reply["transmission"])))
        if verdict.quarantined:
            issues = [Issue("quarantined", f"byte {one.offset}", one.reason) for one in verdict.quarantined]
            await refusals(raw, reception, issues)
            REFUSED.labels("sftp", "quarantined").inc()
        reports = [one.report for one in verdict.interchanges if one.partner is not None and not one.repeated]
        for intake in refusals_of([one for one in reports if not one.faults], reception, data):
            await app.accept(intake, reception)
        answers = await own.settle(chunks, verdict, now())
        REFUSED.labels("sftp", "claim").inc(sum(map(len, withheld.values())))
        REFUSED.labels("sftp", "unanswered").inc(verdict.unanswered)
        return [_answer_file(data) for data in [*(answer.data for answer in answers), *found]]

    return receive


def _answer_file(data: bytes) -> AnswerFile:
    """The same answer has the same name whenever it is left again: everything in it comes from its ISA."""
    parts = data[:106].split(data[3:4])
    written = datetime.strptime((parts[9] + parts[10]).decode("ascii"), "%y%m%d%H%M")  # noqa: DTZ007 - a name only
    first = re.search(re.escape(data[105:106]) + rb"\n?ST" + re.escape(data[3:4]) + rb"(\d+)", data)
    kind = KINDS[first.group(1)] if first else "TA1"
    return AnswerFile(file_name(parts[6].decode("ascii"), kind, int(parts[13]), written), data)


def tree_of(context: dict[str, Any], decision: Decision) -> Loop:
    """The answer to an X12 request as a transaction set. Raises Unmappable."""
    reply = context["reply"]
    if reply["transaction"] == "271":
        facts = context["facts"]
        found = Eligibility(
            active=decision.action in ("A1", "A2", "A6", "NA"),
            plan=str(facts.get("coverage.payer", ""))[:50],
            start=str(facts.get("coverage.start", "")),
            end=str(facts.get("coverage.end", "")),
            rejections=tuple({**error, "location": error.get("location") or "2100C"} for error in decision.errors),
        )
        return eligibility_response(reply["event"], found, decision.decided_at)
    return response(reply["event"], decision)


def profile_of(app: App, transmission: dict[str, Any]) -> PartnerProfile:
    """The partner an answer goes to: its profile, else the request's own addresses turned round."""
    for partner in app.partners.x12:
        if partner.sender == transmission["sender"] and partner.receiver == transmission["receiver"]:
            return partner
    return PartnerProfile(
        name="requester",
        sender=transmission["sender"],
        sender_qualifier=transmission["sender_qualifier"],
        receiver=transmission["receiver"],
        receiver_qualifier=transmission["receiver_qualifier"],
        group_sender=transmission["application_sender"],
        group_receiver=transmission["application_receiver"],
        usage=transmission["usage"],
        line_ends=True,
    )


async def interchange(app: App, tenant: str, context: dict[str, Any], decision: Decision) -> Outbound:
    """One interchange that answers a request with a decision."""
    reply = context["reply"]
    return await render_interchange(
        guide(GUIDES[reply["transaction"]]),
        tree_of(context, decision),
        profile_of(app, reply["transmission"]),
        PostgresNumbers(app.database),
        tenant=tenant,
        now=decision.decided_at,
    )


def renderer(app: App) -> Callable[[Letter], Awaitable[Outbound]]:
    """Renders a decision for the deliver stage."""

    async def render(letter: Letter) -> Outbound:
        outbound = await interchange(app, letter.tenant, dict(letter.context), letter.decision)
        return core_later.addressed(outbound, letter.endpoint)

    return render


@dataclass(frozen=True, slots=True)
class CoreGate:
    """Who may use the CORE edge: partners by SenderID and UsernameToken; in the demo profile, anybody."""

    app: App
    used: PostgresUsedOnce

    async def __call__(self, credentials: Credentials) -> str | None:
        """The partner's name, or None. A digest's nonce is good for one use."""
        if self.app.settings.profile == "demo":
            known = (one for one in self.app.partners.all if one.core_login is not None)
            named = (one.name for one in known if one.core_login and one.core_login.sender_id == credentials.sender_id)
            return next(named, credentials.sender_id)
        token = credentials.token
        for partner in self.app.partners.all:
            login = partner.core_login
            if token is None or login is None or login.sender_id != credentials.sender_id:
                continue
            if login.username == token.username and token.matches(secret(login.password).decode()):
                fresh = not token.nonce or await self.used.use(f"core:{partner.name}", token.nonce, now() + NONCE_LIFE)
                return partner.name if fresh else None
        return None


@dataclass(frozen=True, slots=True)
class BoundCodec:
    """The X12 codec of the CORE edge: who signed in speaks for the senders of its registration only."""

    app: App
    codec: X12Codec

    def read(self, raw: Raw, reception: Reception) -> X12Reading:
        """As the codec reads it; interchanges of other senders are issues with code `unauthorized`."""
        if self.app.settings.profile == "demo":
            return self.codec.read(raw, reception)
        found = next((one for one in self.app.partners.all if one.name == reception.client), None)
        # Nobody signs in without a registration; if that ended since, no sender is its own.
        senders = found.core_senders if found is not None else frozenset()
        return replace(self.codec, senders=senders or frozenset({""})).read(raw, reception)


def soap_services(app: App, lane: Decide) -> SoapServices:
    """What the CORE SOAP edge is given: X12 in, the business answer out when it comes in time."""

    async def accept(intake: Intake, reception: Reception) -> Accepted:
        return await app.accept(core_later.with_way_back(app, intake, reception), reception)

    async def respond(accepted: Sequence[Accepted], reception: Reception) -> bytes | None:
        envelope = accepted[0].envelope
        if not envelope.reply.get("transaction"):
            return None
        decision = await lane(envelope, timeout=app.settings.fast_lane_seconds)
        if decision is None:
            return None
        context = {"reply": envelope.reply, "facts": envelope.facts}
        return (await interchange(app, reception.tenant, context, decision)).data

    told, numbers = inquiries(app), PostgresNumbers(app.database)

    async def ask(intake: Intake, reception: Reception) -> bytes | None:
        if intake.type != INQUIRY:
            return None
        return await told(intake, reception, profile_of(app, intake.reply["transmission"]))

    async def results(reading: Reading, reception: Reception) -> bytes | None:
        parts = []
        for one in await asyncio.to_thread(reading.claims) if isinstance(reading, X12Reading) else ():
            try:
                parts.append(
                    await answer_claims(
                        numbers, reception.tenant, one.report, one.batches, one.policy, now(), reception.received_at
                    )
                )
            except InvalidMessage:  # a person has to look: the claims themselves are taken
                REFUSED.labels("soap", "unanswered").inc()
        return b"".join(filter(None, parts)) or None

    return SoapServices(
        accept=accept,
        codec=BoundCodec(app, X12Codec(partners=app.partners.x12, options=desk(app).base())),
        refused=PostgresRefusals(app.database, app.cipher),
        ask=ask,
        results=results,
        later=core_later.PickUp(app, Deliveries(app.database, app.cipher)),
        authenticate=CoreGate(app, PostgresUsedOnce(app.database)),
        clock=now,
        new_id=lambda: new_id(now()),
        respond=respond,
        answers=PostgresAnswers(app.database, app.cipher, app.tokens),
    )
