"""Faults: everything found wrong with an interchange, as data. Acknowledgements and reports are written from them.

Source: ASC X12 005010 interchange acknowledgement (TA1) and implementation acknowledgement (999): code values only,
the words are ours. A fault never repeats what the sender sent except in `value` and `business_unit`, which are
hidden from `repr` and leave only in a 999 (the business unit always, the value by the partner's policy).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

Effect = Literal["reject", "error", "report"]
"""What a fault does to its transaction set: refuse it, accept it with errors, or only be shown."""

SEGMENT_CODES = {
    "1": "segment identifier is not known",
    "2": "segment is not expected here",
    "3": "required segment is missing",
    "4": "loop occurs too often",
    "5": "segment occurs too often",
    "6": "segment does not belong to this transaction set",
    "7": "segment is out of sequence",
    "8": "segment has element errors",
    "I4": "segment is not used by the guide",
    "I6": "segment is missing that other data calls for",
    "I7": "loop occurs too seldom",
    "I8": "segment occurs too seldom",
    "I9": "segment is present that other data rules out",
}
"""IK304."""

ELEMENT_CODES = {
    "1": "required element is missing",
    "2": "element is missing that its companions call for",
    "3": "too many elements",
    "4": "value is too short",
    "5": "value is too long",
    "6": "value has a character that is not allowed",
    "7": "value is not allowed here",
    "8": "not a valid date",
    "9": "not a valid time",
    "10": "element excludes another one that is present",
    "12": "too many repetitions",
    "13": "too many components",
    "I6": "code is not used by the guide",
    "I9": "element is missing that other data calls for",
    "I10": "element is not used by the guide",
    "I11": "too few repetitions",
    "I12": "value does not agree with the pattern or the other values",
    "I13": "element is present that other data rules out",
}
"""IK403."""

TRANSACTION_CODES = {
    "1": "transaction set is not supported",
    "2": "SE is missing",
    "3": "SE02 is not ST02",
    "4": "SE01 is not the number of segments",
    "5": "segments are in error",
    "6": "ST01 is missing or invalid",
    "7": "ST02 is missing or invalid",
    "23": "ST02 is not unique in its group",
    "I5": "ST03 is missing or invalid",
    "I6": "guide in ST03 is not supported or not that of the group",
}
"""IK502."""

GROUP_CODES = {
    "1": "functional group is not supported",
    "2": "version is not supported",
    "3": "GE is missing",
    "4": "GE02 is not GS06",
    "5": "GE01 is not the number of transaction sets",
    "6": "GS06 is missing or invalid",
    "19": "GS06 is not unique in its interchange",
}
"""AK905."""

INTERCHANGE_CODES = {
    "000": "no error",
    "001": "IEA02 is not ISA13",
    "002": "standard in ISA11 is not supported",
    "003": "version of the controls is not supported",
    "004": "segment terminator is invalid",
    "005": "sender qualifier is invalid",
    "006": "sender is invalid",
    "007": "receiver qualifier is invalid",
    "008": "receiver is invalid",
    "009": "receiver is not known here",
    "010": "authorization qualifier is invalid",
    "012": "security qualifier is invalid",
    "014": "interchange date is invalid",
    "015": "interchange time is invalid",
    "017": "version is invalid",
    "018": "control number is invalid",
    "019": "acknowledgement request is invalid",
    "020": "usage indicator is invalid or not for this endpoint",
    "021": "IEA01 is not the number of groups",
    "022": "control structure is invalid",
    "023": "file ends before the interchange does",
    "024": "content of the interchange is invalid",
    "025": "control number was used before",
    "026": "element separator is invalid",
    "027": "component separator is invalid",
}
"""TA105."""


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault. `segment_position` counts from ST = 1 inside a transaction set, else from ISA = 1."""

    level: Literal["interchange", "group", "transaction", "segment", "element"]
    code: str
    """TA105, AK905, IK502, IK304 or IK403, by level."""
    segment: str = ""
    segment_position: int = 0
    loop: str = ""
    element: int = 0
    component: int = 0
    repetition: int = 0
    data_element: str = ""
    """Number of the data element in the X12 dictionary."""
    expected: str = ""
    """What the guide asks for, in our words."""
    snip: int = 1
    """WEDI SNIP type: 1 syntax, 2 guide, 3 balance, 4 situation, 5 code set, 7 partner or check digit."""
    effect: Effect = "reject"
    value: str = field(default="", repr=False)
    business_unit: tuple[str, str] | None = field(default=None, repr=False)
    """What the 999 names the business unit by, e.g. `("CLM01", …)`."""
    trigger: tuple[str, int, str] | None = None
    """The segment that made a situational rule apply: (id, position, loop)."""

    @property
    def message(self) -> str:
        """One readable sentence, without the sender's content."""
        codes = {
            "interchange": INTERCHANGE_CODES,
            "group": GROUP_CODES,
            "transaction": TRANSACTION_CODES,
            "segment": SEGMENT_CODES,
            "element": ELEMENT_CODES,
        }[self.level]
        where = f"{self.segment}{self.element:02d}" if self.element else self.segment
        where += f"-{self.component}" if self.component else ""
        text = codes.get(self.code, "invalid")
        return (f"{where}: " if where else "") + text + (f"; expected {self.expected}" if self.expected else "")

    def as_json(self) -> dict[str, object]:
        """The public form of an error."""
        return {
            "segment_position": self.segment_position,
            "loop": self.loop,
            "segment": self.segment,
            "element": self.element or None,
            "component": self.component or None,
            "repetition": self.repetition or None,
            "data_element": self.data_element or None,
            "code": self.code,
            "level": self.level,
            "snip": self.snip,
            "effect": self.effect,
            "message": self.message,
        }
