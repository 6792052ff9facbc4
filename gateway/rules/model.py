"""The rule model: policy as typed, immutable documents.

A rule is `condition → action` with an identity, a category, a priority and a validity period. Conditions are a small
algebra over the fact catalogue (mappings/facts.yaml): leaves (`Compare`, `Known`, `Within`, `Quantified`) joined by
`AllOf`, `AnyOf`, `Not`. There are no variables, no loops and no functions of the host language, so a rule cannot reach
a file, the network, an attribute or an import. Every value of this module is hashable: equal conditions are one leaf.

Two surfaces write the same model: typed documents (documents.py) and readable text (language/).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from decimal import Decimal
from typing import Literal as OneOf

MAX_DEPTH = 32
"""Nesting of a condition: deeper than any policy we have read, far below Python's recursion limit."""
MAX_NODES = 2_000
"""Nodes of one condition: keeps the cost of one rule bounded."""
MAX_RULES = 20_000
MAX_VALUE_SET = 100_000
"""Codes in one value set: ICD-10-CM as a whole fits."""
MAX_CONDITION_TEXT = 100_000
"""Characters of one condition: MAX_NODES with a sentence each."""
MAX_TEXT = 1_000_000
"""Characters of one rule file."""
MAX_RECORDS = 10_000
"""Records of one list in one request; the quantifiers are linear in it."""

CATEGORIES = ("eligibility", "network", "compliance", "fraud", "medical_necessity")
"""In the order of the staged strategy."""
ACTIONS = (
    "approve", "modify", "partial", "deny", "pend", "request_info", "escalate", "not_required", "contact", "error",
)  # fmt: skip
ADVERSE = frozenset({"deny", "modify", "partial"})
"""Actions that give less than was asked: in medical necessity only a clinician may make them final."""
STRATEGIES = (
    "staged", "priority-first", "deny-overrides", "approve-overrides", "first-applicable", "only-one-applicable",
    "collect",
)  # fmt: skip

Truth = bool | None
"""Kleene: True, False, or None = unknown."""
ValueType = OneOf["number", "string", "boolean", "date", "dateTime"]


@dataclass(frozen=True, slots=True)
class Literal:
    """A value written in a rule. Numbers are Decimal; `unit` is a UCUM code or empty."""

    type: ValueType
    value: Decimal | str | bool | date | datetime
    unit: str = ""


@dataclass(frozen=True, slots=True)
class Duration:
    """A calendar duration: `count` of `unit` (day, week, month, year)."""

    count: int
    unit: OneOf["day", "week", "month", "year"]


@dataclass(frozen=True, slots=True)
class Fact:
    """A fact by its catalogue path: `patient.age`, `service.code`; `this.code` is the line being decided."""

    path: str


@dataclass(frozen=True, slots=True)
class Shifted:
    """A date moved by a duration: `12 months after first day of service`."""

    base: Fact
    by: Duration
    direction: OneOf["after", "before"]


@dataclass(frozen=True, slots=True)
class Window:
    """A stretch of time that ends (`before`) or begins (`after`) at an anchor date, both ends included."""

    length: Duration
    direction: OneOf["before", "after"] = "before"
    anchor: Fact = Fact("request.receivedAt")


@dataclass(frozen=True, slots=True)
class Total:
    """The sum of one numeric field over the records of a list that belong to a concept and a window."""

    list: str
    field: str
    concept: str = ""
    window: Window | None = None


@dataclass(frozen=True, slots=True)
class Span:
    """Whole days, weeks, months or years from one date to another (negative when the second is earlier)."""

    unit: OneOf["day", "week", "month", "year"]
    start: Fact
    end: Fact


@dataclass(frozen=True, slots=True)
class Plus:
    """The sum of operands."""

    terms: tuple[Operand, ...]


Operand = Fact | Shifted | Total | Span | Plus | Literal


@dataclass(frozen=True, slots=True)
class SetName:
    """A value set by name; pinned by the release."""

    name: str


@dataclass(frozen=True, slots=True)
class Choice:
    """Values written out."""

    values: tuple[Literal, ...]


Comparison = OneOf["eq", "ne", "lt", "le", "gt", "ge", "in", "notin", "under", "between"]


@dataclass(frozen=True, slots=True)
class Compare:
    """`left operator right`. `under` walks a code hierarchy (E11 covers E11.9); `between` includes both ends."""

    left: Operand
    operator: Comparison
    right: Operand | SetName | Choice


@dataclass(frozen=True, slots=True)
class Known:
    """True when the fact is present, else unknown (never false: what is missing may still come)."""

    fact: Fact


@dataclass(frozen=True, slots=True)
class Within:
    """The date lies in a window."""

    fact: Fact
    window: Window


Quantifier = OneOf["any", "every", "no", "latest", "at least", "at most", "exactly"]


@dataclass(frozen=True, slots=True)
class Quantified:
    """A test over the records of a list.

    `concept` (a value set over the list's code or type) and `window` (over its date) choose the records in question;
    `test` is asked of those. `other` leaves out the line being decided. No record that certainly is in question
    means unknown, except in a list the catalogue declares complete (diagnoses, services).
    """

    quantifier: Quantifier
    list: str
    concept: str = ""
    test: Condition | None = None
    window: Window | None = None
    count: int = 0
    other: bool = False


@dataclass(frozen=True, slots=True)
class AllOf:
    """Kleene and."""

    parts: tuple[Condition, ...]


@dataclass(frozen=True, slots=True)
class AnyOf:
    """Kleene or."""

    parts: tuple[Condition, ...]


@dataclass(frozen=True, slots=True)
class Not:
    """Kleene not."""

    part: Condition


Leaf = Compare | Known | Within | Quantified
Condition = Leaf | AllOf | AnyOf | Not


@dataclass(frozen=True, slots=True)
class Notification:
    """Who is told what: a role and a template id. Sending is the workflow's business."""

    to: str
    template: str


@dataclass(frozen=True, slots=True)
class Action:
    """What a rule decides.

    `duration` limits an approval; `quantity`, `unit`, `code` say what is authorized instead (modify, partial);
    `role` names who gets an escalation; `reason_codes` are X12 external list 886, `error_code` list 901.
    """

    type: str
    duration: Duration | None = None
    quantity: Decimal | None = None
    unit: str = ""
    code: str = ""
    role: str = ""
    error_code: str = ""
    follow_up: str = ""
    reason: str = ""
    reason_codes: tuple[str, ...] = ()
    citation: str = ""
    request: tuple[str, ...] = ()
    """Facts asked for by a request_info action."""

    @property
    def effect(self) -> tuple[object, ...]:
        """What must be equal for two actions to decide the same, whatever their wording."""
        return (self.type, self.duration, self.quantity, self.unit, self.code, self.role, self.error_code)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """One business rule. `expiration` is exclusive; None leaves the end open."""

    id: str
    name: str
    category: str
    condition: Condition
    action: Action
    version: int = 1
    priority: int = 0
    effective: date | None = None
    expiration: date | None = None
    author: str = ""
    source: str = ""
    notifications: tuple[Notification, ...] = ()

    def applies_on(self, day: date) -> bool:
        """Whether the rule is in force on a day."""
        return (self.effective is None or self.effective <= day) and (self.expiration is None or day < self.expiration)


@dataclass(frozen=True, slots=True, kw_only=True)
class ValueSet:
    """A named set of codes. `question`, `loinc` and what follows it say how a record of this concept is asked for."""

    name: str
    codes: frozenset[str]
    version: str = "1"
    title: str = ""
    system: str = ""
    unit: str = ""
    """The unit observations of this concept are given in; a comparison must use a commensurable one."""
    question: str = ""
    loinc: str = ""
    report_type: str = ""
    """Attachment report type (X12 755), where no LOINC code names what is asked for."""
    modifier: str = ""
    """LOINC code that narrows it: which part, or of which time."""
    questionnaire: str = ""
    """Context by which the provider's system fetches the questionnaire to fill in (DTR)."""
    source: str = ""
    file_hash: str = ""
    """Of the published file the codes were taken from: `sha256:…`."""
    effective: date | None = None
    expiration: date | None = None
    """The days the publisher gives the list for; the end is exclusive."""

    @property
    def origin(self) -> str:
        """Where a set that was taken from a file comes from, in one line; empty for one that was written."""
        if not self.file_hash:
            return ""
        days = f"{self.effective or '…'} to {self.expiration or '…'}"
        return f"{self.system} {self.version}, {days}, {self.file_hash}"


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleSet:
    """Rules that decide together, with the strategy that joins them.

    `automatic_denials` names the categories whose denials need no person; medical necessity can never be among them.
    `as_of` is the fact whose date chooses the rules in force when the caller gives none.
    """

    id: str
    version: int
    rules: tuple[Rule, ...]
    name: str = ""
    combine: str = "staged"
    order: tuple[str, ...] = ()
    """Rule ids, for first-applicable: the order is declared, not an accident of files."""
    automatic_denials: tuple[str, ...] = ()
    default: Action = Action("pend", reason="No rule decided this request.")
    as_of: str = "request.receivedAt"
    zone: str = "UTC"
    """The payer's time zone: instants become days there."""
    value_sets: Mapping[str, ValueSet] = field(default_factory=dict)
    facts: Mapping[str, object] = field(default_factory=dict)
    """Facts this policy asks for beyond the catalogue, in the catalogue's form."""
    effective: date | None = None
    expiration: date | None = None
    citation: str = ""


def walk(condition: Condition) -> list[Condition]:
    """All nodes of a condition, parents first; quantified tests included. Iterative: depth cannot hurt it."""
    found: list[Condition] = []
    pending: list[Condition] = [condition]
    while pending:
        node = pending.pop()
        found.append(node)
        if isinstance(node, AllOf | AnyOf):
            pending.extend(reversed(node.parts))
        elif isinstance(node, Not):
            pending.append(node.part)
        elif isinstance(node, Quantified) and node.test is not None:
            pending.append(node.test)
    return found


def leaves(condition: Condition) -> list[Leaf]:
    """The outermost leaves in reading order; the test inside a quantifier belongs to its leaf."""
    if isinstance(condition, AllOf | AnyOf):
        return [leaf for part in condition.parts for leaf in leaves(part)]
    if isinstance(condition, Not):
        return leaves(condition.part)
    return [condition]
