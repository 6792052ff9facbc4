"""X12 bytes → business messages (gateway.core.ports.Codec): one intake per patient event, inquiry or claim.

Two passes over the same bytes, each in constant memory: the first judges every interchange, group and transaction
set; the second maps what was accepted, lazily, so that a file of thousands of claims is never held as mapped messages.
The answer is the acknowledgement interchanges (TA1, 999) of the first pass, for the senders this endpoint is for; a
partner's profile says how its interchanges are judged and answered, and whether claims are answered one by one (277CA).

Each intake carries its own segments below those of its parents, as text, in `raw`, and in `reply.event` as a tree for
the answer. What has no mapping yet is parked, with its bytes: accepted, never lost.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, overload

from adapters.x12.settings import PartnerProfile, find_partner
from adapters.x12.wire.acknowledge import AckPolicy, Numbers, acknowledge
from adapters.x12.wire.claim_acknowledge import Batch, answerable, batches
from adapters.x12.wire.guide import Guide
from adapters.x12.wire.reader import Event, Options, Transaction, Unit, read
from adapters.x12.wire.reports import GroupReport, InterchangeHeader, InterchangeReport, Quarantined, TransactionReport
from adapters.x12.wire.tree import Loop
from gateway.core.envelope import Intake, Raw, Reception
from gateway.core.errors import ConfigurationError, GatewayError, Issue, MessageConflict
from gateway.core.ports import Reading
from gateway.core.record import record
from mappings.x12_bundle import Transmission
from mappings.x12_intakes import READERS, Message, parked
from mappings.x12_trace import KEPT, path_to

WHOLE_TREES_UP_TO = 256 << 10
"""Bytes of a file up to which whole transaction sets are held while they are mapped; beyond it, unit by unit."""

Withheld = Mapping[int, frozenset[int]]
"""Units that are not to be mapped: byte offset of their ST → their numbers in the set."""
NONE: Withheld = {}


@dataclass(slots=True)
class DerivedNumbers:
    """Control numbers derived from the interchange answered: the same file again gets the same answer again.

    Good for demonstrations and for edges without a store; partners that reject repeated ISA13 need an allocator.
    """

    base: int

    @classmethod
    def of(cls, header: InterchangeHeader, reception: Reception) -> DerivedNumbers:
        """For one interchange; an allocated number in the reception's attributes wins."""
        allocated = reception.attributes.get("controlNumber", "")
        if allocated.isdecimal():
            return cls(int(allocated))
        digest = hashlib.sha256("\x1f".join(header.key).encode()).digest()
        return cls(int.from_bytes(digest[:8], "big") % 999_999_999 + 1)

    def interchange(self) -> int:
        """ISA13."""
        return self.base

    def group(self, count: int) -> int:  # noqa: ARG002 - the protocol's
        """GS06."""
        return self.base


@dataclass(frozen=True, slots=True)
class ClaimsOfInterchange:
    """What a 277CA tells of one interchange: `adapters.x12.inbound.answer_claims` writes it."""

    report: InterchangeReport
    batches: Sequence[Batch]
    policy: AckPolicy


@record(kw_only=True)
class X12Reading(Reading):
    """A reading that can also tell of each claim."""

    claims: Callable[[], Sequence[ClaimsOfInterchange]]
    """One more pass over the bytes, where a 277CA is due."""


@dataclass(frozen=True, slots=True, kw_only=True)
class X12Codec:
    """One endpoint's way of reading X12."""

    options: Options = field(default_factory=Options)
    policy: AckPolicy = field(default_factory=AckPolicy)
    senders: frozenset[str] = frozenset()
    """ISA06 that may send here; empty: any. Interchanges of others are neither taken nor answered."""
    numbers: Callable[[InterchangeHeader, Reception], Numbers] = DerivedNumbers.of
    partners: Sequence[PartnerProfile] = ()
    """Profiles of those whose interchanges are not read and answered by `options` and `policy`."""

    def read(self, raw: Raw, reception: Reception) -> X12Reading:
        """Judge and map one file or message. Never raises on bad input."""
        data = raw.data or b""
        reports: list[InterchangeReport] = []
        issues: list[Issue] = []
        for event in self._events(data, "judge"):
            if isinstance(event, InterchangeReport):
                if self.senders and event.header.sender not in self.senders:
                    issues.append(Issue("unauthorized", f"byte {event.offset}", "this sender may not send here"))
                    continue
                reports.append(event)
            elif isinstance(event, Quarantined):
                issues.append(Issue("quarantined", f"byte {event.offset}", event.reason))
        issues += _issues(reports)
        accepted = {
            one.offset: one
            for report in reports
            for _, one in report.transactions()
            if not report.faults and one.outcome != "rejected" and one.guide
        }
        told = [one for at, one in self._told(reports).items() if at in accepted]
        intakes = Intakes(self, data, reception, accepted, {one.offset: one.refused_units for one in told})

        def answer(error: GatewayError | None) -> bytes | None:
            return self._answer(reports, reception, error)

        def claims() -> Sequence[ClaimsOfInterchange]:
            return self._claims(data, reports, {one.offset for one in told})

        return X12Reading(intakes=intakes, answer=answer, refused=not accepted, issues=tuple(issues), claims=claims)

    def messages(
        self, data: bytes, reception: Reception, accepted: dict[int, TransactionReport], withheld: Withheld = NONE
    ) -> Iterator[Intake]:
        """The second pass: every message of the accepted transaction sets, in file order."""
        for guide, message in self.units(data, reception, accepted, withheld):
            yield _mapped(guide, message)

    def units(
        self, data: bytes, reception: Reception, accepted: dict[int, TransactionReport], withheld: Withheld = NONE
    ) -> Iterator[tuple[Guide, Message]]:
        """What `messages` maps, not yet mapped. Raises ConfigurationError when an accepted set does not come again."""
        missing = set(accepted)
        if len(data) <= WHOLE_TREES_UP_TO:
            passes = [("trees", set(accepted))]
        else:
            # A set without units (a rejection above them) comes from a pass of its own, if there is any.
            bare = {offset for offset, report in accepted.items() if not report.units}
            passes = [("units", set(accepted) - bare)] + ([("trees", bare)] if bare else [])
        for mode, wanted in passes:
            for event in self._events(data, mode):
                if isinstance(event, Unit | Transaction) and event.report.offset in wanted:
                    missing.discard(event.report.offset)
                    yield from _messages_of(event, reception, withheld.get(event.report.offset, frozenset()))
        if missing:  # judged with other limits than these: what is accepted must never be left out
            raise ConfigurationError(f"{len(missing)} accepted transaction sets cannot be read with these options")

    def _events(self, data: bytes, mode: Any) -> Iterator[Event]:
        def chosen(header: InterchangeHeader) -> Options:
            partner = find_partner(self.partners, header)
            if partner is None:
                return replace(self.options, mode=mode)
            return replace(partner.reading(self.options.code_sets), mode=mode, usage=partner.usage)

        return read([data], replace(self.options, mode=mode), chosen if self.partners else None)

    def _policy(self, report: InterchangeReport) -> AckPolicy:
        partner = find_partner(self.partners, report.header)
        return self.policy if partner is None else partner.policy

    def _told(self, reports: list[InterchangeReport]) -> dict[int, TransactionReport]:
        """The accepted 837s whose claims a 277CA answers: byte offset of the ST → its report."""
        mine = [one for one in reports if find_partner(self.partners, one.header) and self._policy(one).claims]
        wanted = answerable(mine)
        return {one.offset: one for report in mine for _, one in report.transactions() if one.offset in wanted}

    def _claims(
        self, data: bytes, reports: list[InterchangeReport], offsets: set[int]
    ) -> Sequence[ClaimsOfInterchange]:
        owner = {offset: at for offset, at in answerable(reports).items() if offset in offsets}
        found = batches(self._events(data, "units"), owner) if owner else {}
        return [ClaimsOfInterchange(reports[at], own, self._policy(reports[at])) for at, own in found.items()]

    def _answer(
        self, reports: list[InterchangeReport], reception: Reception, error: GatewayError | None
    ) -> bytes | None:
        """TA1 and 999. A failure of ours is answered by nothing: the sender will send again, or the file waits."""
        if error is not None and not isinstance(error, MessageConflict):
            return None
        parts = []
        for report in reports:
            if error is not None and not report.faults:
                report.refuse("025", "ISA", 1, 13)
            numbers = self.numbers(report.header, reception)
            part = acknowledge(report, self._policy(report), numbers, reception.received_at)
            if part is not None:
                parts.append(part)
        return b"".join(parts) or None


class Intakes(Sequence[Intake]):
    """The messages of a file, mapped whenever they are iterated: constant memory, the same each time."""

    def __init__(
        self,
        codec: X12Codec,
        data: bytes,
        reception: Reception,
        accepted: dict[int, TransactionReport],
        withheld: Withheld,
    ) -> None:
        self._read = partial(codec.messages, data, reception, accepted, withheld)
        self._units = partial(codec.units, data, reception, accepted, withheld)
        self._is_empty = not accepted
        self._count: int | None = None

    def __iter__(self) -> Iterator[Intake]:
        return iter(()) if self._is_empty else self._read()

    def __len__(self) -> int:
        if self._count is None:
            self._count = sum(1 for _ in self._units())
        return self._count

    @overload
    def __getitem__(self, index: int) -> Intake: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Intake]: ...
    def __getitem__(self, index: int | slice) -> Intake | Sequence[Intake]:
        return list(self)[index]


PERSON = {"270": "2000D", "271": "2000D"}
"""Loop below the unit that is a message of its own: the dependents of one subscriber are asked about separately."""


def _messages_of(
    event: Unit | Transaction, reception: Reception, withheld: frozenset[int]
) -> Iterator[tuple[Guide, Message]]:
    if isinstance(event, Unit):
        units = [event.loop]
    else:
        units = list(event.tree.descendants(event.guide.unit)) if event.guide.unit else []
        units = units or [event.tree]
    first = event.ordinal if isinstance(event, Unit) else 1
    for ordinal, loop in enumerate(units, first):
        if ordinal in withheld:
            continue
        for part, (path, unit) in enumerate(_persons(loop, PERSON.get(event.guide.transaction, ""))):
            number = f"{ordinal}.{part}" if part else str(ordinal)
            transmission = _transmission(event.header, event.group, event.report, number)
            yield event.guide, Message(event.guide.id, path, unit, transmission, _text(path), reception)


def _persons(loop: Loop, below: str) -> Iterator[tuple[Loop, Loop]]:
    """(copied path, unit in it): the unit itself, or one per person below; the subscriber too where asked about."""
    people = list(loop.loops(below)) if below else []
    if not people:
        path = path_to(loop)
        yield path, _same(path, loop.id)
        return
    own = next(loop.loops("2100C"), None)
    if own is not None and next(own.loops(), None) is not None:
        path = path_to(loop)
        unit = _same(path, loop.id)
        unit.items = [item for item in unit.items if not (isinstance(item, Loop) and item.id == below)]
        yield path, unit
    for person in people:
        path = path_to(person)
        yield path, _same(path, loop.id)


def _mapped(guide: Guide, message: Message) -> Intake:
    reader = READERS.get((guide.id, guide.when[2] if guide.when else guide.transaction))
    if reader is None:
        return parked(message, guide.transaction, "no-mapping")
    try:
        return reader(message)
    except GatewayError as error:
        return parked(message, guide.transaction, error.code)


def _same(path: Loop, name: str) -> Loop:
    """The unit inside its copied path."""
    return path if path.id == name else next(iter(path.descendants(name)), path)


def _text(path: Loop) -> bytes:
    """The message's own segments with its parents', one a line, with the separators they came with."""
    first = next((segment for _, segment in path.walk()), None)
    end = KEPT.segment if first is None else first.separators.segment
    return "".join(f"{segment.text}{end}\n" for _, segment in path.walk()).encode("latin-1")


def _transmission(
    header: InterchangeHeader, group: GroupReport, report: TransactionReport, ordinal: str
) -> Transmission:
    return Transmission(
        sender=header.sender,
        receiver=header.receiver,
        interchange=header.control_number,
        application_sender=group.sender,
        application_receiver=group.receiver,
        group=group.control_number,
        transaction=report.control_number,
        ordinal=ordinal,
        sender_qualifier=header.sender_qualifier,
        receiver_qualifier=header.receiver_qualifier,
        usage=header.usage,
    )


def _issues(reports: list[InterchangeReport]) -> list[Issue]:
    """Faults as issues: codes and places only."""
    found: list[Issue] = []
    for report in reports:
        where = f"ISA13 {report.header.control_number}"
        found += [Issue(fault.code, where, fault.message) for fault in report.faults]
        for group in report.groups:
            found += [Issue(code, f"{where}/GS06 {group.control_number}", "AK905") for code in group.codes]
            for one in group.transactions:
                place = f"{where}/ST02 {one.control_number}"
                found += [Issue(code, place, "IK502") for code in one.codes]
                found += [
                    Issue(
                        fault.code, f"{place}/{fault.loop}/{fault.segment} at {fault.segment_position}", fault.message
                    )
                    for fault in one.faults
                    if fault.effect != "report"
                ]
    return found
