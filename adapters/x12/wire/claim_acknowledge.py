"""The 277CA that answers an accepted 837: every claim with its own verdict, from our own faults.

Standard: 005010X214. The 999 has accepted the transaction set; here each claim is accepted into adjudication (A2) or
refused (A7), with counts and amounts per billing provider and in total. Category and status codes are those of
external lists 507 and 508; the few used here are in `STATUS`, a partner's own table replaces them.
Not handled: service-line status (2220D); a refused line refuses its claim.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal

from adapters.x12.wire.faults import Fault
from adapters.x12.wire.reader import Unit
from adapters.x12.wire.rules import number
from adapters.x12.wire.tree import Loop

Status = tuple[str, str, str]
"""(category, status, entity)."""

ACCEPTED: Status = ("A2", "20", "PR")
RECEIVED: Status = ("A1", "19", "PR")

STATUS: dict[str, Status] = {"amount": ("A7", "178", ""), "identifier": ("A7", "562", "85"), "other": ("A7", "21", "")}
"""How a refusal is named: submitted charges, provider identifier, missing or invalid information."""


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
    """CCYYMMDD or CCYYMMDD-CCYYMMDD."""

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


def status_of(faults: Iterable[Fault], refusing: frozenset[int] = frozenset((3,))) -> tuple[Status, ...]:
    """The verdict on a claim: accepted, or one status per kind of fault of the SNIP types that refuse a claim."""
    found = []
    for fault in faults:
        if fault.snip in refusing:
            kind = "amount" if fault.data_element == "782" else "identifier" if fault.snip == 7 else "other"
            found.append(STATUS[kind])
    return tuple(dict.fromkeys(found)) or (ACCEPTED,)


def acknowledge_claims(
    units: Iterable[Unit],
    *,
    payer: tuple[str, str],
    reference: str,
    now: datetime,
    received: datetime,
    judge: Callable[[Unit], tuple[Status, ...]] = lambda unit: status_of(unit.faults),
) -> Loop | None:
    """The tree of a 277CA for the claims of one 837, for `write(guide("277CA"), …)`; None when there are no claims.

    `payer` is (name, identifier); `reference` our number of this acknowledgement. Memory grows by one small record
    per claim, not by the claims themselves.
    """
    providers: list[Provider] = []
    level: Loop | None = None
    submitter, origin = ("2", "", "", ""), ""
    for unit in units:
        root, billing = unit.loop.up(unit.guide.transaction), unit.loop.up("2000A")
        if root is None or billing is None:
            continue
        if billing is not level:
            level = billing
            providers.append(_provider(billing))
            submitter, origin = _submitter(root), root.get("BHT", 3)
        providers[-1].claims.append(_claim(unit, judge(unit)))
    if not providers:
        return None
    return _tree(providers, submitter, origin, payer, reference, now, received)


def _provider(level: Loop) -> Provider:
    loop = level.loop("2010AA")
    name = loop.segment("NM1") if loop is not None else None
    if loop is None or name is None:
        return Provider(("2", "", ""), ("", ""))
    identifier = (name.get(8), name.get(9))
    if not identifier[1]:
        tax = loop.segment("REF", "EI", "SY")
        identifier = ("FI", tax.get(2) if tax else "")
    return Provider((name.get(2), name.get(3), name.get(4)), identifier)


def _submitter(root: Loop) -> tuple[str, str, str, str]:
    loop = root.loop("1000A")
    name = loop.segment("NM1") if loop is not None else None
    return (name.get(2), name.get(3), name.get(4), name.get(9)) if name else ("2", "", "", "")


def _claim(unit: Unit, status: tuple[Status, ...]) -> Claim:
    loop = unit.loop
    claim = loop.segment("CLM")
    trace = loop.segment("REF", "D9")
    bill_type = claim.get(5, 1) + claim.get(5, 3) if claim and claim.get(5, 2) == "A" else ""
    return Claim(
        claim.get(1) if claim else "",
        number(claim.get(2)) if claim else Decimal(0),
        _patient(loop),
        status,
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


def _tree(
    providers: list[Provider], submitter: tuple[str, str, str, str], origin: str, payer: tuple[str, str],
    reference: str, now: datetime, received: datetime,
) -> Loop:  # fmt: skip
    day = now.strftime("%Y%m%d")
    tree = Loop("277")
    tree.add("BHT", "0085", "08", reference, day, now.strftime("%H%M"), "TH")
    source = tree.add_loop("2000A")
    source.add("HL", "20")
    source.add_loop("2100A").add("NM1", "PR", "2", payer[0], "", "", "", "", "PI", payer[1])
    dates = source.add_loop("2200A")
    dates.add("TRN", "1", reference)
    dates.add("DTP", "050", "D8", received.strftime("%Y%m%d"))
    dates.add("DTP", "009", "D8", day)
    receiver = source.add_loop("2000B")
    receiver.add("HL", "21")
    kind, last, first, identifier = submitter
    receiver.add_loop("2100B").add("NM1", "41", kind, last, first, "", "", "", "46", identifier)
    everything = [claim for provider in providers for claim in provider.claims]
    totals = receiver.add_loop("2200B")
    totals.add("TRN", "2", origin)
    totals.add("STC", RECEIVED, day, "WQ", _amount(everything))
    _counts(totals, everything, "90", "AA")
    for provider in providers:
        _add_provider(receiver, provider, day)
    return tree


def _add_provider(receiver: Loop, provider: Provider, day: str) -> None:
    level = receiver.add_loop("2000C")
    level.add("HL", "19")
    kind, last, first = provider.name
    level.add_loop("2100C").add("NM1", "85", kind, last, first, "", "", "", *provider.identifier)
    totals = level.add_loop("2200C")
    totals.add("TRN", "1", "0")
    totals.add("STC", RECEIVED, "", "WQ", _amount(provider.claims))
    _counts(totals, provider.claims, "QA", "QC")
    for claim in provider.claims:
        patient = level.add_loop("2000D")
        patient.add("HL", "PT")
        name, given, member = claim.patient
        patient.add_loop("2100D").add("NM1", "QC", "1", name, given, "", "", "", "MI", member)
        answer = patient.add_loop("2200D")
        answer.add("TRN", "2", claim.number)
        action = "WQ" if claim.accepted else "U"
        for status in claim.status:
            answer.add("STC", status, day, action, str(claim.amount))
        if claim.trace:
            answer.add("REF", "D9", claim.trace)
        if claim.bill_type:
            answer.add("REF", "BLT", claim.bill_type)
        answer.add("DTP", "472", "RD8" if "-" in claim.dates else "D8", claim.dates)


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
