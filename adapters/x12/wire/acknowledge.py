"""TA1 and 999 from the faults of an interchange, addressed to its sender only.

Standard: TA1 (X12.5) and 005010X231A1. When: a TA1 for a refused interchange, and whenever ISA14 asks for one;
a 999 for each functional group of an interchange that was not refused. Never: a 999 beside a refusing TA1, an
acknowledgement of FA groups or of TA1 alone, or two acknowledgements that contradict each other. Hence a group that
is refused as a whole is answered by AK1 and AK9 only.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from itertools import groupby
from typing import Literal, Protocol

from adapters.x12.wire.faults import Fault
from adapters.x12.wire.header_checks import QUALIFIERS
from adapters.x12.wire.reports import GroupReport, InterchangeHeader, InterchangeReport, TransactionReport, addressable
from adapters.x12.wire.splitter import Separators
from adapters.x12.wire.writer import Envelope, Group, join_set, wrap

VERSION = "005010X231A1"

LOOP_LENGTH = 4
"""Longest loop identifier (element 447, 005010): 2010BA is named 2010 in IK303; reports name it in full."""


@dataclass(frozen=True, slots=True)
class AckPolicy:
    """A partner's choice of acknowledgements."""

    ta1: Literal["requested", "always", "refused"] = "requested"
    """requested: when ISA14 is 1, and for every refusal; refused: only for refusals."""
    implementation: bool = True
    """Send 999s."""
    claims: bool = True
    """Send a 277CA for each accepted 837 (claim_acknowledge.py)."""
    copy_values: bool = False
    """IK404 repeats the bad value. Legal, but it carries data of people: off unless the partner insists."""
    business_units: bool = True
    """CTX names the claim or trace number, which the sender needs to find it."""
    separators: Separators = field(default_factory=Separators)
    line_ends: bool = False


class Numbers(Protocol):
    """Where control numbers come from."""

    def interchange(self) -> int:
        """The next ISA13."""
        ...

    def group(self, count: int) -> int:
        """The first of `count` consecutive GS06."""
        ...


def ta1_due(report: InterchangeReport, policy: AckPolicy) -> bool:
    """Whether a TA1 answers this interchange."""
    if report.acknowledgements and not report.groups:
        return False
    if report.faults:
        return True
    asked = report.header.acknowledgement_requested == "1"
    return policy.ta1 == "always" or (policy.ta1 == "requested" and asked)


def groups_due(report: InterchangeReport, policy: AckPolicy) -> list[GroupReport]:
    """The groups a 999 answers."""
    if report.faults or not policy.implementation:
        return []
    return [group for group in report.groups if group.group != "FA"]


def acknowledge(report: InterchangeReport, policy: AckPolicy, numbers: Numbers, now: datetime) -> bytes | None:
    """The one interchange that answers a received one, or None when none is due or none can be addressed."""
    ta1, groups = ta1_due(report, policy), groups_due(report, policy)
    header = report.header
    if not (ta1 or groups) or not addressable(header.sender) or not addressable(header.receiver):
        return None
    by_address: dict[tuple[str, str], list[GroupReport]] = {}
    for group in groups:
        by_address.setdefault((group.receiver, group.sender), []).append(group)
    envelope = envelope_back(header, policy, numbers, len(by_address), now)
    before = [ta1_segment(report, policy.separators)] if ta1 else []
    answers = []
    for address, members in by_address.items():
        sets = [
            join_set(list(_answer(group, policy)), "999", f"{at:04d}", VERSION, envelope)
            for at, group in enumerate(members, 1)
        ]
        answers.append(Group("FA", VERSION, sets, *group_address(*address)))
    return wrap(envelope, answers, before)


def envelope_back(
    header: InterchangeHeader, policy: AckPolicy, numbers: Numbers, groups: int, now: datetime
) -> Envelope:
    """The envelope of an answer to an interchange: its addresses turned round."""
    return Envelope(
        sender=header.receiver,
        receiver=header.sender,
        sender_qualifier=_code(header.receiver_qualifier),
        receiver_qualifier=_code(header.sender_qualifier),
        time=now,
        interchange_number=numbers.interchange(),
        group_number=numbers.group(groups) if groups else 0,
        usage=header.usage if header.usage in ("P", "T") else "P",
        separators=policy.separators,
        line_ends=policy.line_ends,
    )


def group_address(sender: str, receiver: str) -> tuple[str, str] | tuple[()]:
    """GS02 and GS03 of an answer, or nothing where those of the question cannot be used: then ISA06 and ISA08 serve."""
    fits = all(len(name) >= 2 and addressable(name) for name in (sender, receiver))
    return (sender, receiver) if fits else ()


def ta1_segment(report: InterchangeReport, separators: Separators) -> str:
    """The TA1 without its terminator."""
    header = report.header
    verdict = "R" if report.faults else "A"
    fields = ["TA1", header.control_number, header.date, header.time, verdict, report.code]
    return separators.element.join(_clean(value, separators, 9) for value in fields)


def _answer(group: GroupReport, policy: AckPolicy) -> Iterator[str]:
    separators = policy.separators
    mark = separators.element

    def line(*fields: str) -> str:
        return mark.join(fields).rstrip(mark)

    yield line(
        "AK1", _clean(group.group, separators, 2), _number(group.control_number), _clean(group.version, separators, 12)
    )
    if not group.codes:
        for one in group.transactions:
            set_id, number = _clean(one.set_id, separators, 3), _clean(one.control_number, separators, 9)
            yield line(
                "AK2",
                set_id if len(set_id) == 3 else "000",  # 999 wants three characters and four, whatever came
                number if len(number) >= 4 else number.rjust(4, "0"),
                _clean(one.version, separators, 35),
            )
            for segment in _notes(one, policy):
                yield line(*segment)
            yield line("IK5", *_verdict(one))
    received = len(group.transactions)
    declared = group.declared if group.declared.isdecimal() and len(group.declared) <= 6 else str(received)
    letter = {"accepted": "A", "accepted_with_errors": "E", "partially_accepted": "P", "rejected": "R"}[group.outcome]
    accepted = 0 if letter == "R" else group.accepted
    yield line("AK9", letter, declared, str(received), str(accepted), *dict.fromkeys(group.codes[:5]))


def _verdict(one: TransactionReport) -> list[str]:
    letter = {"accepted": "A", "accepted_with_errors": "E"}.get(one.outcome, "R")
    codes = list(dict.fromkeys(one.codes))
    if any(fault.effect != "report" for fault in one.faults):
        codes.append("5")
    return [letter, *codes[:5]]


def _notes(one: TransactionReport, policy: AckPolicy) -> Iterator[list[str]]:
    """IK3, CTX, IK4 in document order."""
    shown = [fault for fault in one.faults if fault.effect != "report"]
    for (position, name, loop), faults in groupby(shown, key=lambda f: (f.segment_position, f.segment, f.loop)):
        members = list(faults)
        start = [_clean(name, policy.separators, 3), str(position), loop[:LOOP_LENGTH]]
        for fault in members:
            if fault.level == "segment":
                yield ["IK3", *start, fault.code]
                yield from _trigger(fault)
                yield from _business_unit(fault, policy)
        elements = [fault for fault in members if fault.level == "element"]
        if elements:
            yield ["IK3", *start, "8"]
            yield from _business_unit(elements[0], policy)
            said: set[tuple[str, ...]] = set()
            for fault in elements:
                line = ("IK4", _place(fault, policy.separators), fault.data_element, fault.code, *_value(fault, policy))
                if line not in said:
                    said.add(line)
                    yield list(line)
                    yield from _trigger(fault)


def _trigger(fault: Fault) -> Iterator[list[str]]:
    """What made a situational rule apply: after IK3 for a segment, after IK4 for an element."""
    if fault.trigger is not None:
        name, position, loop = fault.trigger
        yield ["CTX", "SITUATIONAL TRIGGER", name, str(position), loop[:LOOP_LENGTH]]


def _business_unit(fault: Fault, policy: AckPolicy) -> Iterator[list[str]]:
    if fault.business_unit is not None and policy.business_units:
        name, value = fault.business_unit
        clean = _clean(value, policy.separators, 35)
        if clean == value[:35]:
            yield ["CTX", f"{name}{policy.separators.component}{clean}"]


def _place(fault: Fault, separators: Separators) -> str:
    parts = [str(fault.element)]
    if fault.component or fault.repetition:
        parts.append(str(fault.component) if fault.component else "")
    if fault.repetition:
        parts.append(str(fault.repetition))
    return separators.component.join(parts)


def _value(fault: Fault, policy: AckPolicy) -> list[str]:
    if not policy.copy_values or not fault.value:
        return []
    return [_clean(fault.value, policy.separators, 99)]


def _clean(value: str, separators: Separators, longest: int) -> str:
    """A received value fit to be sent back: printable, without separators, not too long."""
    marks = {separators.element, separators.component, separators.repetition, separators.segment}
    return "".join(letter for letter in value[:longest] if " " <= letter <= "~" and letter not in marks).rstrip()


def _number(value: str) -> str:
    return value if value.isdecimal() and value.isascii() and len(value) <= 9 else "0"


def _code(value: str) -> str:
    return value if value in QUALIFIERS else "ZZ"
