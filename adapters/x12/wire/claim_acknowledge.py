"""The 277CA that answers the accepted 837s of an interchange: every claim with its own verdict, from our own faults.

Standard: 005010X214. The 999 has accepted the transaction set; here each claim is accepted into adjudication (A2) or
refused (A7) for an error that left its set accepted, with counts and amounts per billing provider and in total.
Category and status codes are those of external lists 507 and 508; the few used here are in `STATUS`.
Memory grows by one small record per claim and by the text written, not by the claims themselves.
Not handled: service-line status (2220D); a refused line refuses its claim.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from decimal import Decimal

from adapters.x12.wire.acknowledge import AckPolicy, Numbers, envelope_back, group_address
from adapters.x12.wire.events import Event, Unit
from adapters.x12.wire.registry import guide
from adapters.x12.wire.reports import InterchangeReport, addressable
from adapters.x12.wire.rules import number
from adapters.x12.wire.tree import Loop
from adapters.x12.wire.writer import Envelope, Group, wrap, write_set
from gateway.core.errors import InvalidMessage

Status = tuple[str, str, str]
"""(category, status, entity)."""

ACCEPTED: Status = ("A2", "20", "PR")
RECEIVED: Status = ("A1", "19", "PR")

STATUS: dict[str, Status] = {"amount": ("A7", "178", ""), "identifier": ("A7", "562", "85"), "other": ("A7", "21", "")}
"""How a refusal is named: submitted charges, provider identifier, missing or invalid information."""

UNKNOWN = "UNKNOWN"
"""Where the 277CA wants an identifier that the 837 may leave out."""

Address = tuple[str, str]
"""GS02 and GS03 of an answer."""


@dataclass(slots=True)
class Claim:
    """What the 277CA says of one claim."""

    number: str
    amount: Decimal
    patient: tuple[str, str, str]
    """Last name, first name, member identifier."""
    status: tuple[Status, ...]
    trace: str = ""
    """The clearinghouse's number (REF D9)."""
    bill_type: str = ""
    dates: str = ""
    """CCYYMMDD or CCYYMMDD-CCYYMMDD; empty where the claim has none."""

    @property
    def accepted(self) -> bool:
        """Whether it goes on into adjudication."""
        return all(category in ("A1", "A2") for category, _, _ in self.status)


@dataclass(slots=True)
class Provider:
    """One billing provider and its claims."""

    name: tuple[str, str, str]
    """NM102, NM103, NM104."""
    identifier: tuple[str, str]
    """NM108, NM109."""
    claims: list[Claim] = field(default_factory=list)


@dataclass(slots=True)
class Batch:
    """The claims of one accepted 837."""

    offset: int
    """Of its ST in the file."""
    address: Address
    """GS03 and GS02 of its group: whom the answer is from and for."""
    submitter: tuple[str, str, str, str]
    """NM102, NM103, NM104, NM109 of 1000A."""
    payer: tuple[str, str]
    """NM103 and NM109 of 1000B: what the 837 calls us."""
    origin: str
    """BHT03."""
    providers: list[Provider] = field(default_factory=list)


def status_of(unit: Unit) -> tuple[Status, ...]:
    """The verdict on a claim: accepted, or one status per kind of error found in it or in what encloses it."""
    if not unit.refused:
        return (ACCEPTED,)
    found = []
    for fault in unit.faults:
        if fault.effect == "error":
            kind = "amount" if fault.data_element == "782" else "identifier" if fault.snip == 7 else "other"
            found.append(STATUS[kind])
    return tuple(dict.fromkeys(found)) or (STATUS["other"],)


def answerable(reports: Sequence[InterchangeReport]) -> dict[int, int]:
    """The accepted 837s of a file: byte offset of the ST → number of its interchange."""
    return {
        one.offset: at
        for at, report in enumerate(reports)
        for _, one in report.transactions()
        if one.set_id == "837" and one.outcome != "rejected"
    }


def batches(events: Iterable[Event], wanted: Mapping[int, int]) -> dict[int, list[Batch]]:
    """What 277CAs need of the claims of accepted 837s, one batch per transaction set.

    `events` come from a reading in `units` mode; `wanted` is as from `answerable`.
    """
    found: dict[int, list[Batch]] = {}
    batch: Batch | None = None
    level: Loop | None = None
    for unit in events:
        if not isinstance(unit, Unit) or unit.report.offset not in wanted:
            continue
        root, billing = unit.loop.up(unit.guide.transaction), unit.loop.up("2000A")
        if root is None or billing is None:
            continue
        if batch is None or batch.offset != unit.report.offset:
            batch, level = _batch(root, unit), None
            found.setdefault(wanted[batch.offset], []).append(batch)
        if billing is not level:
            level = billing
            batch.providers.append(_provider(billing))
        batch.providers[-1].claims.append(_claim(unit))
    return found


def addresses(found: Iterable[Batch]) -> list[Address]:
    """The group addresses of batches: one functional group each, so that many GS06 are needed."""
    return list(dict.fromkeys(batch.address for batch in found))


def acknowledge_claims(
    report: InterchangeReport,
    found: Sequence[Batch],
    policy: AckPolicy,
    numbers: Numbers,
    now: datetime,
    received: datetime,
) -> bytes | None:
    """The one interchange of 277CAs that answers the accepted 837s of a received one, or None when it has none.

    Raises InvalidMessage where a claim's data cannot stand in a 277CA, which takes a profile that accepts invalid
    elements: a good 837 always has its answer.
    """
    header = report.header
    if not found or not policy.claims or not addressable(header.sender) or not addressable(header.receiver):
        return None
    plain = envelope_back(header, policy, numbers, len(addresses(found)), now)
    try:
        separators, groups = plain.separators, _groups(found, plain, received)
    except InvalidMessage:  # a value may hold one of our separators; it cannot hold one of its sender's
        separators = report.separators
        groups = _groups(found, replace(plain, separators=separators), received)
    return wrap(replace(plain, separators=separators), groups)


def _groups(found: Sequence[Batch], envelope: Envelope, received: datetime) -> list[Group]:
    own, groups = guide("277CA"), list[Group]()
    for address in addresses(found):
        members = [batch for batch in found if batch.address == address]
        sets = []
        for at, batch in enumerate(members, 1):
            reference = f"{envelope.interchange_number:09d}{len(groups):02d}{at:04d}"
            sets.append(write_set(own, _tree(batch, reference, envelope.time, received), at, envelope))
        groups.append(Group(own.functional_group, own.id, sets, *group_address(*address)))
    return groups


def _batch(root: Loop, unit: Unit) -> Batch:
    submitter, receiver = root.loop("1000A"), root.loop("1000B")
    name = submitter.segment("NM1") if submitter is not None else None
    ours = receiver.segment("NM1") if receiver is not None else None
    return Batch(
        unit.report.offset,
        (unit.group.receiver, unit.group.sender),
        (name.get(2), name.get(3), name.get(4), name.get(9)) if name else ("2", "", "", ""),
        (ours.get(3), ours.get(9)) if ours else ("", ""),
        root.get("BHT", 3),
    )


def _provider(level: Loop) -> Provider:
    loop = level.loop("2010AA")
    name = loop.segment("NM1") if loop is not None else None
    if loop is None or name is None:
        return Provider(("2", UNKNOWN, ""), ("FI", UNKNOWN))
    identifier = (name.get(8), name.get(9))
    if not identifier[1]:
        tax = loop.segment("REF", "EI", "SY")
        identifier = ("FI", tax.get(2) if tax else UNKNOWN)
    return Provider((name.get(2), name.get(3), name.get(4)), identifier)


def _claim(unit: Unit) -> Claim:
    loop = unit.loop
    claim = loop.segment("CLM")
    trace = loop.segment("REF", "D9")
    bill_type = claim.get(5, 1) + claim.get(5, 3) if claim and claim.get(5, 2) == "A" else ""
    return Claim(
        claim.get(1) if claim else "",
        number(claim.get(2)) if claim else Decimal(0),
        _patient(loop),
        status_of(unit),
        trace.get(2) if trace else "",
        bill_type,
        _dates(loop),
    )


def _patient(loop: Loop) -> tuple[str, str, str]:
    subscriber, dependent = loop.up("2000B"), loop.up("2000C")
    insured = subscriber.loop("2010BA") if subscriber else None
    person = dependent.loop("2010CA") if dependent else insured
    if person is None or insured is None:
        return "", "", ""
    return person.get("NM1", 3), person.get("NM1", 4), insured.get("NM1", 9)


def _dates(loop: Loop) -> str:
    """Statement dates (institutional), else the span of the lines' service dates."""
    statement = loop.segment("DTP", "434") or loop.segment("DTP", "472")
    if statement is not None:
        return statement.get(3)
    found: list[str] = []
    for line in loop.loops("2400"):
        service = line.segment("DTP", "472")
        if service is not None:
            found.extend(service.get(3).split("-"))
    return f"{min(found)}-{max(found)}" if found and min(found) != max(found) else (found[0] if found else "")


def _tree(batch: Batch, reference: str, now: datetime, received: datetime) -> Loop:
    day, arrived = now.strftime("%Y%m%d"), received.strftime("%Y%m%d")
    tree = Loop("277")
    tree.add("BHT", "0085", "08", reference, day, now.strftime("%H%M"), "TH")
    source = tree.add_loop("2000A")
    source.add("HL", "20")
    source.add_loop("2100A").add("NM1", "PR", "2", batch.payer[0], "", "", "", "", "46", batch.payer[1])
    dates = source.add_loop("2200A")
    dates.add("TRN", "1", reference)
    dates.add("DTP", "050", "D8", arrived)
    dates.add("DTP", "009", "D8", day)
    receiver = source.add_loop("2000B")
    receiver.add("HL", "21")
    kind, last, first, identifier = batch.submitter
    receiver.add_loop("2100B").add("NM1", "41", kind, last, first, "", "", "", "46", identifier)
    everything = [claim for provider in batch.providers for claim in provider.claims]
    totals = receiver.add_loop("2200B")
    totals.add("TRN", "2", batch.origin)
    totals.add("STC", RECEIVED, day, "WQ", _amount(everything))
    _counts(totals, everything, "90", "AA")
    for provider in batch.providers:
        _add_provider(receiver, provider, day, arrived)
    return tree


def _add_provider(receiver: Loop, provider: Provider, day: str, arrived: str) -> None:
    level = receiver.add_loop("2000C")
    level.add("HL", "19")
    kind, last, first = provider.name
    level.add_loop("2100C").add("NM1", "85", kind, last, first, "", "", "", *provider.identifier)
    totals = level.add_loop("2200C")
    totals.add("TRN", "1", "0")
    totals.add("STC", RECEIVED, "", "WQ", _amount(provider.claims))
    _counts(totals, provider.claims, "QA", "QC")
    level.add_later("2000D", lambda: (_patient_loop(level, claim, day, arrived) for claim in provider.claims))


def _patient_loop(level: Loop, claim: Claim, day: str, arrived: str) -> Loop:
    patient = Loop("2000D", level)
    patient.add("HL", "PT")
    name, given, member = claim.patient
    patient.add_loop("2100D").add("NM1", "QC", "1", name, given, "", "", "", "MI", member or UNKNOWN)
    answer = patient.add_loop("2200D")
    answer.add("TRN", "2", claim.number)
    action = "WQ" if claim.accepted else "U"
    for status in claim.status:
        answer.add("STC", status, day, action, str(claim.amount))
    if claim.trace:
        answer.add("REF", "D9", claim.trace)
    if claim.bill_type:
        answer.add("REF", "BLT", claim.bill_type)
    # A claim without dates of service (a predetermination) is known by the day it came.
    answer.add("DTP", "472", "RD8" if "-" in claim.dates else "D8", claim.dates or arrived)
    return patient


def _counts(loop: Loop, claims: list[Claim], accepted_unit: str, refused_unit: str) -> None:
    for unit, code, chosen in (
        (accepted_unit, "YU", [claim for claim in claims if claim.accepted]),
        (refused_unit, "YY", [claim for claim in claims if not claim.accepted]),
    ):
        if chosen:
            loop.add("QTY", unit, str(len(chosen)))
            loop.add("AMT", code, _amount(chosen))


def _amount(claims: list[Claim]) -> str:
    return str(sum((claim.amount for claim in claims), Decimal(0)))
