"""The interchange desk, inbound: a received file → what to publish, what to answer, what a person has to look at.

Who is who is decided by ISA05–ISA08 and ISA15 against the partner profiles. Duplicates are decided by the ledger:
the same bytes under the same (ISA06, ISA08, ISA13, ISA15) get the stored answer again and nothing is published twice;
other bytes under it are refused (TA1 025). A refused interchange takes no control number, so that it can be corrected.

Reading and writing go on in a thread, so that the event loop serves others during a file of thousands of claims.

Order of use, because accepted means durable: `judge` → publish `accepted_units` → `settle`, which stores and returns
the answers. After a crash between these, the same file comes out of `judge` unfinished and is published again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from itertools import pairwise

from adapters.x12.settings import PartnerProfile, find_partner, widest_limits
from adapters.x12.wire import (
    AckPolicy,
    Event,
    GroupReport,
    InterchangeHeader,
    InterchangeReport,
    Options,
    Quarantined,
    Transaction,
    TransactionReport,
    Unit,
    acknowledge,
    read,
    split,
)
from adapters.x12.wire.acknowledge import groups_due, ta1_due
from adapters.x12.wire.claim_acknowledge import Batch, acknowledge_claims, addresses, batches
from adapters.x12.wire.duplicates import digests, repeats
from adapters.x12.wire.ports import EnvelopeLedger, NumberAllocator
from adapters.x12.wire.program import CodeSets
from adapters.x12.wire.splitter import HEADER
from gateway.core.errors import InvalidMessage

Source = Callable[[], Iterable[bytes]]
"""Opens the file's bytes anew, in chunks: it is read more than once."""


@dataclass(frozen=True, slots=True)
class Answer:
    """An acknowledgement interchange for one partner: TA1 and 999s, or 277CAs."""

    partner: str
    receiver: str
    """The ISA08 it is addressed to: the sender of what it answers."""
    data: bytes = field(repr=False)


@dataclass(slots=True)
class Judged:
    """One interchange of a file after the desk has looked at it."""

    report: InterchangeReport
    sha256: str
    partner: PartnerProfile | None = None
    repeated: bool = False
    """Received and settled before: nothing to publish."""
    stored: bytes | None = None
    """The answers of then, one interchange after the other."""
    first: Judged | None = None
    """The same interchange, earlier in the same file: it gets the same answer."""

    def accepted(self) -> Iterator[tuple[GroupReport, TransactionReport]]:
        """Transaction sets to publish."""
        if self.partner is not None and not self.repeated and not self.report.faults:
            for group, one in self.report.transactions():
                if one.outcome != "rejected":
                    yield group, one

    def claims(self) -> Iterator[TransactionReport]:
        """The accepted 837s that a 277CA answers claim by claim."""
        if self.partner is not None and self.partner.acknowledgements.claim:
            yield from (one for _, one in self.accepted() if one.set_id == "837")


@dataclass(slots=True)
class Verdict:
    """What is to happen with a file."""

    tenant: str
    received_at: datetime
    interchanges: list[Judged] = field(default_factory=list)
    quarantined: list[Quarantined] = field(default_factory=list)
    unanswered: int = 0
    """Interchanges whose 277CA could not be written: a person has to look."""

    def accepted_offsets(self) -> frozenset[int]:
        """Byte offsets of the ST segments to publish."""
        return frozenset(one.offset for judged in self.interchanges for _, one in judged.accepted())

    def withheld(self) -> dict[int, frozenset[int]]:
        """Claims that are refused one by one and not published: byte offset of the ST → their numbers in the set.

        Only where a 277CA says so; a partner without one has its claims taken, as the 999 tells it.
        """
        accepted = (one for judged in self.interchanges for one in judged.claims())
        return {one.offset: one.refused_units for one in accepted if one.refused_units}


@dataclass(frozen=True, slots=True)
class Desk:
    """Partner profiles, the ledger and the allocator of one installation. Holds no state of its own."""

    partners: Sequence[PartnerProfile]
    ledger: EnvelopeLedger
    numbers: NumberAllocator
    code_sets: CodeSets = field(default_factory=dict)

    def options(self, header: InterchangeHeader) -> Options:
        """How to read an interchange: by its partner's profile."""
        partner = find_partner(self.partners, header)
        if partner is None:
            return Options(mode="judge", code_sets=self.code_sets)
        return partner.reading(self.code_sets)

    async def judge(self, source: Source, tenant: str, received_at: datetime) -> Verdict:
        """Read, check, and look for duplicates. Publishes nothing, answers nothing. Raises Unavailable."""
        verdict = Verdict(tenant, received_at)
        reports, verdict.quarantined = await asyncio.to_thread(self._read, source)
        found = await asyncio.to_thread(digests, source(), reports)
        earlier = repeats(reports, lambda: found)
        for report, digest, first in zip(reports, found, earlier, strict=True):
            judged = await self._judged(report, digest, verdict)
            if first is not None and not report.faults:
                judged.repeated, judged.first = True, verdict.interchanges[first]
            verdict.interchanges.append(judged)
        return verdict

    def _read(self, source: Source) -> tuple[list[InterchangeReport], list[Quarantined]]:
        reports: list[InterchangeReport] = []
        quarantined: list[Quarantined] = []
        for event in read(source(), self.base(), self.options):
            if isinstance(event, Quarantined):
                quarantined.append(event)
            elif isinstance(event, InterchangeReport):
                reports.append(event)
        return reports, quarantined

    async def settle(self, source: Source, verdict: Verdict, now: datetime) -> list[Answer]:
        """Call once everything accepted is durable: stores the answers and returns them. Raises Unavailable."""
        answers, claims = [], await asyncio.to_thread(self._claims, source, verdict)
        for at, judged in enumerate(verdict.interchanges):
            partner = judged.partner
            if partner is None:
                continue
            if judged.first is not None:
                data = judged.first.stored
            elif judged.repeated:
                data = judged.stored
            else:
                parts = [
                    await self._answer(verdict.tenant, judged, partner, now),
                    await self._claim_answer(verdict, judged, partner, claims.get(at, []), now),
                ]
                data = judged.stored = b"".join(filter(None, parts)) or None
                if not judged.report.faults:
                    await self.ledger.finish(verdict.tenant, judged.report.header.key, judged.sha256, data)
            sender = judged.report.header.sender
            answers += [Answer(partner.name, sender, part) for part in interchanges(data or b"")]
        return answers

    def accepted_units(self, source: Source, verdict: Verdict) -> Iterator[Unit]:
        """The units (claims, events, subscribers) of accepted transaction sets, one by one, in constant memory."""
        wanted, withheld = verdict.accepted_offsets(), verdict.withheld()
        for event in self._units(source):
            if not isinstance(event, Unit) or event.report.offset not in wanted:
                continue
            if event.ordinal not in withheld.get(event.report.offset, ()):
                yield event

    def accepted_transactions(self, source: Source, verdict: Verdict) -> Iterator[Transaction]:
        """Accepted transaction sets as whole trees: for the small ones (270, 276, 278, 275, 999)."""
        wanted = verdict.accepted_offsets()
        for event in read(source(), self.base(), lambda header: replace(self.options(header), mode="trees")):
            if isinstance(event, Transaction) and event.report.offset in wanted:
                yield event

    def _units(self, source: Source) -> Iterator[Event]:
        return read(source(), self.base(), lambda header: replace(self.options(header), mode="units"))

    def _claims(self, source: Source, verdict: Verdict) -> dict[int, list[Batch]]:
        """What is to be said of the claims of each interchange, in one more reading where there are any."""
        owner = {one.offset: at for at, judged in enumerate(verdict.interchanges) for one in judged.claims()}
        return batches(self._units(source), owner) if owner else {}

    def base(self) -> Options:
        """Limits hold for the whole file, so the widest of all partners."""
        return Options(mode="judge", limits=widest_limits(self.partners))

    async def _judged(self, report: InterchangeReport, digest: str, verdict: Verdict) -> Judged:
        header = report.header
        judged = Judged(report, digest, find_partner(self.partners, header))
        partner = judged.partner
        if partner is None:
            verdict.quarantined.append(Quarantined(report.offset, report.length, "sender is not a partner"))
            return judged
        for code, element in _address_faults(partner, header):
            report.refuse(code, "ISA", 1, element)
        _served(report, partner)
        if not report.faults:
            known = await self.ledger.register(
                verdict.tenant, header.key, digest, verdict.received_at, partner.duplicate_window_days
            )
            if known.status == "conflict":
                report.refuse("025", "ISA", 1, 13)
            elif known.status == "repeated" and known.finished:
                judged.repeated, judged.stored = True, known.acknowledgement
        report.settle()
        return judged

    async def _answer(self, tenant: str, judged: Judged, partner: PartnerProfile, now: datetime) -> bytes | None:
        report, policy = judged.report, partner.policy
        groups = len(groups_due(report, policy))
        if not groups and not ta1_due(report, policy):
            return None
        numbers = await allocated(self.numbers, tenant, report.header, groups)
        return await asyncio.to_thread(acknowledge, report, policy, numbers, now)

    async def _claim_answer(
        self, verdict: Verdict, judged: Judged, partner: PartnerProfile, found: list[Batch], now: datetime
    ) -> bytes | None:
        if not found:
            return None
        try:
            return await answer_claims(
                self.numbers, verdict.tenant, judged.report, found, partner.policy, now, verdict.received_at
            )
        except InvalidMessage:
            verdict.unanswered += 1
            return None


async def answer_claims(
    numbers: NumberAllocator,
    tenant: str,
    report: InterchangeReport,
    found: Sequence[Batch],
    policy: AckPolicy,
    now: datetime,
    received: datetime,
) -> bytes | None:
    """The 277CAs for one interchange, written in a thread. Raises InvalidMessage, Unavailable."""
    taken = await allocated(numbers, tenant, report.header, len(addresses(found)))
    return await asyncio.to_thread(acknowledge_claims, report, found, policy, taken, now, received)


async def allocated(numbers: NumberAllocator, tenant: str, header: InterchangeHeader, groups: int) -> FixedNumbers:
    """Control numbers for an answer to an interchange: one ISA13, and so many GS06. Raises Unavailable."""
    ours, theirs = header.receiver, header.sender
    interchange = await numbers.allocate(tenant, ours, theirs, "interchange")
    group = await numbers.allocate(tenant, ours, theirs, "group", groups) if groups else 0
    return FixedNumbers(interchange, group)


@dataclass(frozen=True, slots=True)
class FixedNumbers:
    """Control numbers allocated beforehand, for the pure writer of acknowledgements."""

    first_interchange: int
    first_group: int

    def interchange(self) -> int:
        """ISA13."""
        return self.first_interchange

    def group(self, count: int) -> int:  # noqa: ARG002 - the port's signature
        """First GS06."""
        return self.first_group


def interchanges(data: bytes) -> list[bytes]:
    """The interchanges of what we wrote ourselves, apart."""
    starts = [offset for kind, offset, _ in split([data]) if kind == HEADER]
    return [data[start:stop] for start, stop in pairwise([*starts, len(data)])]


def _address_faults(partner: PartnerProfile, header: InterchangeHeader) -> Iterator[tuple[str, int]]:
    """TA105 and ISA element for what the profile says otherwise."""
    if header.sender_qualifier != partner.sender_qualifier:
        yield "005", 5
    if header.receiver != partner.receiver:
        yield "009", 8
    elif header.receiver_qualifier != partner.receiver_qualifier:
        yield "007", 7
    if header.usage != partner.usage:
        yield "020", 15


def _served(report: InterchangeReport, partner: PartnerProfile) -> None:
    """Groups that are not served for this partner get AK9 R/1."""
    for group in report.groups:
        if partner.groups and group.group not in partner.groups and group.group != "FA" and "1" not in group.codes:
            group.codes.append("1")
