"""What was found in a file: per interchange, group and transaction set its identifiers, faults and outcome."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal

from adapters.x12.wire.faults import Fault
from adapters.x12.wire.splitter import Separators

Outcome = Literal["accepted", "accepted_with_errors", "partially_accepted", "rejected"]


_WIDTHS = (2, 10, 2, 10, 2, 15, 2, 15, 6, 4, 1, 5, 9, 1, 1, 1)
_STARTS = [4 + sum(_WIDTHS[:at]) + at for at in range(len(_WIDTHS))]
_FIELDS = tuple((start, start + width) for start, width in zip(_STARTS, _WIDTHS, strict=True))
"""Where ISA01 to ISA16 stand: by place, because a wrong separator must not hide who sent it."""


def addressable(identifier: str) -> bool:
    """Whether something can be sent under this ISA06 or ISA08: printable, and free of the usual separators."""
    return (
        0 < len(identifier) <= 15
        and identifier.isascii()
        and identifier.isprintable()
        and not set(identifier) & set("*:^~")
    )


@dataclass(frozen=True, slots=True)
class InterchangeHeader:
    """The ISA, blanks stripped."""

    sender_qualifier: str
    sender: str
    receiver_qualifier: str
    receiver: str
    date: str
    time: str
    version: str
    control_number: str
    acknowledgement_requested: str
    usage: str
    fields: tuple[str, ...] = field(repr=False, default=())

    @classmethod
    def parse(cls, text: str) -> InterchangeHeader:
        """From the 106 characters of an ISA."""
        fields = ("ISA", *(text[start:stop] for start, stop in _FIELDS))
        stripped = [value.strip() for value in fields]
        return cls(
            stripped[5], stripped[6], stripped[7], stripped[8], stripped[9], stripped[10], stripped[12],
            stripped[13], stripped[14], stripped[15], fields,
        )  # fmt: skip

    @property
    def key(self) -> tuple[str, str, str, str]:
        """What identifies it to the receiver: (ISA06, ISA08, ISA13, ISA15)."""
        return self.sender, self.receiver, self.control_number, self.usage


@dataclass(slots=True)
class TransactionReport:
    """One transaction set."""

    set_id: str
    control_number: str
    version: str
    guide: str
    offset: int
    ordinal: int
    """Its number in the group, from 1."""
    codes: list[str] = field(default_factory=list)
    """IK502 found in its envelope."""
    faults: list[Fault] = field(default_factory=list)
    segments: int = 0
    units: int = 0
    refused_units: frozenset[int] = frozenset()
    """Units with errors in a set that is accepted with errors: claims that a 277CA refuses."""
    refused_above: bool = False
    """Its group or interchange is refused as a whole."""

    @property
    def outcome(self) -> Outcome:
        """A, E or R, in words."""
        if self.refused_above or self.codes or any(fault.effect == "reject" for fault in self.faults):
            return "rejected"
        return "accepted_with_errors" if any(fault.effect == "error" for fault in self.faults) else "accepted"

    def as_json(self) -> dict[str, object]:
        """The public form."""
        envelope = [Fault("transaction", code, _where(code), self.segments).as_json() for code in self.codes]
        return {
            "st01": self.set_id,
            "st02": self.control_number,
            "st03": self.version,
            "guide": self.guide,
            "offset": self.offset,
            "segments": self.segments,
            "outcome": self.outcome,
            "errors": [*envelope, *(fault.as_json() for fault in self.faults if fault.effect != "report")],
            "warnings": [fault.as_json() for fault in self.faults if fault.effect == "report"],
        }


def _where(code: str) -> str:
    return "SE" if code in ("2", "3", "4") else "ST"


@dataclass(slots=True)
class GroupReport:
    """One functional group."""

    group: str
    sender: str
    receiver: str
    control_number: str
    version: str
    offset: int
    codes: list[str] = field(default_factory=list)
    """AK905 found."""
    transactions: list[TransactionReport] = field(default_factory=list)
    declared: str = ""
    """GE01."""
    refused_above: bool = False

    @property
    def accepted(self) -> int:
        """Transaction sets accepted, with or without errors."""
        return sum(one.outcome != "rejected" for one in self.transactions)

    @property
    def outcome(self) -> Outcome:
        """A, E, P or R, in words."""
        if self.refused_above or self.codes or not self.accepted:
            return "rejected"
        if self.accepted < len(self.transactions):
            return "partially_accepted"
        plain = all(one.outcome == "accepted" for one in self.transactions)
        return "accepted" if plain else "accepted_with_errors"

    def as_json(self) -> dict[str, object]:
        """The public form."""
        return {
            "gs01": self.group,
            "gs06": self.control_number,
            "gs08": self.version,
            "offset": self.offset,
            "outcome": self.outcome,
            "errors": [
                Fault("group", code, "GE" if code in ("3", "4", "5") else "GS").as_json() for code in self.codes
            ],
            "transactions": [one.as_json() for one in self.transactions],
        }


@dataclass(slots=True)
class InterchangeReport:
    """One interchange."""

    header: InterchangeHeader
    separators: Separators
    offset: int
    length: int = 0
    """Bytes from its ISA to the end of its IEA."""
    faults: list[Fault] = field(default_factory=list)
    groups: list[GroupReport] = field(default_factory=list)
    acknowledgements: int = 0
    """TA1 segments it carries."""
    refused_ours: list[tuple[str, str]] = field(default_factory=list)
    """(ISA13, TA105) of interchanges of ours that its TA1 segments refuse."""

    def told(self, ta1: list[str]) -> None:
        """Note a TA1 by its elements."""
        self.acknowledgements += 1
        if ta1[4] == "R":
            self.refused_ours.append((ta1[1], ta1[5]))

    @property
    def code(self) -> str:
        """TA105: the first thing wrong, or 000."""
        return self.faults[0].code if self.faults else "000"

    def refuse(self, code: str, segment: str, position: int = 1, element: int = 0) -> None:
        """Note a fault of the interchange itself, once per code: nothing inside counts then."""
        if all(fault.code != code for fault in self.faults):
            self.faults.append(Fault("interchange", code, segment, position, element=element))

    def settle(self) -> None:
        """Hand refusals down: interchange → groups → transaction sets."""
        for group in self.groups:
            group.refused_above = bool(self.faults)
            for one in group.transactions:
                one.refused_above = group.refused_above or bool(group.codes)

    @property
    def outcome(self) -> Outcome:
        """What became of it as a whole."""
        if self.faults:
            return "rejected"
        outcomes = {group.outcome for group in self.groups}
        if outcomes == {"rejected"}:
            return "rejected"
        if outcomes & {"rejected", "partially_accepted"}:
            return "partially_accepted"
        return "accepted_with_errors" if "accepted_with_errors" in outcomes else "accepted"

    def transactions(self) -> Iterator[tuple[GroupReport, TransactionReport]]:
        """All transaction sets with their groups."""
        for group in self.groups:
            for one in group.transactions:
                yield group, one

    def as_json(self) -> dict[str, object]:
        """The public form. Identifiers of trading partners are no content of people."""
        return {
            "isa06": self.header.sender,
            "isa08": self.header.receiver,
            "isa13": self.header.control_number,
            "isa15": self.header.usage,
            "offset": self.offset,
            "length": self.length,
            "outcome": self.outcome,
            "ta1": self.code,
            "errors": [fault.as_json() for fault in self.faults],
            "groups": [group.as_json() for group in self.groups],
        }


@dataclass(frozen=True, slots=True)
class Quarantined:
    """Bytes that are no interchange: nothing can be answered, a person has to look."""

    offset: int
    length: int
    reason: str

    def as_json(self) -> dict[str, object]:
        """The public form."""
        return {"offset": self.offset, "length": self.length, "reason": self.reason}
