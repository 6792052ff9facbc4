"""Acknowledgements in original and enhanced mode (chapter 2, processing rules; tables 0008, 0155, 0357).

Enhanced mode is on as soon as MSH-15 or MSH-16 is valued; a blank one then means NE. By mode and outcome:

    MSH-15     MSH-16     on this connection       second phase
    blank      blank      AA / AE / AR             –
    NE         NE         –                        –
    asked      NE         CA / CE / CR             –
    NE         asked      AA / AE / AR             –
    asked      asked      CA / CE / CR             AA, as a message of its own

An accept acknowledgement says whether the message is safely ours. A message we refuse is not ours: it gets CE (its
content) or CR (its header) and no second phase. AE/CE: content or processing; AR/CR: type, version, sender, size.
An acknowledgement is never acknowledged; an application answer (RPA, RRI …) gets an accept acknowledgement if it asks.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache

from gateway.core.errors import (
    GatewayError,
    InvalidMessage,
    Issue,
    LimitExceeded,
    MalformedMessage,
    MessageConflict,
    UnauthorizedSender,
    UnsupportedMessage,
)
from gateway.core.record import record

from .build import Value, segment, timestamp
from .charsets import encode
from .message import Segment, parse_path, pick
from .mllp import FS, VT
from .structures import RESPONSES
from .syntax import Syntax, escape

CONDITIONS = {
    "0": "Message accepted",
    "100": "Segment sequence error",
    "101": "Required field missing",
    "102": "Data type error",
    "103": "Table value not found",
    "200": "Unsupported message type",
    "201": "Unsupported event code",
    "202": "Unsupported processing id",
    "203": "Unsupported version id",
    "204": "Unknown key identifier",
    "205": "Duplicate key identifier",
    "206": "Application record locked",
    "207": "Application internal error",
}
"""Table 0357, message error condition codes."""

_VERDICTS: tuple[tuple[type[GatewayError], str, str], ...] = (
    (MessageConflict, "E", "205"),
    (UnsupportedMessage, "R", "200"),
    (UnauthorizedSender, "R", "103"),
    (LimitExceeded, "R", "207"),
    (InvalidMessage, "E", "101"),
    (MalformedMessage, "E", "100"),
    (GatewayError, "E", "207"),
)
"""Our error → second letter of MSA-1 (Error, Reject) and table 0357. The first row that fits holds."""

_UNSUPPORTED = {"MSH-9": "200", "MSH-9.2": "201", "MSH-11": "202", "MSH-12": "203"}
"""Where an unsupported message is unsupported → table 0357."""

_FRAMING = VT + FS
_ORDINARY = 512
"""Characters of an ordinary header; what is longer is not remembered."""
_ANSWERS = frozenset({"ACK", "MCF", *RESPONSES.values()})

DEFAULT_VERSION = "2.5.1"
"""Written where the sender names no version."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What the sender asked for: MSH-15 and MSH-16 as table 0155 (AL, NE, ER, SU)."""

    enhanced: bool
    accept: str
    application: str


_ORIGINAL = Plan(enhanced=False, accept="NE", application="AL")


def plan(header: Segment) -> Plan:
    """Read MSH-15 and MSH-16; both blank is original mode."""
    accept, application = header.raw(15), header.raw(16)
    if not accept and not application:
        return _ORIGINAL
    accept, application = header.get(15).upper(), header.get(16).upper()
    return Plan(enhanced=True, accept=accept or "NE", application=application or "NE")


def wanted(condition: str, *, good: bool) -> bool:
    """Whether table 0155 asks for an acknowledgement of this outcome. Unknown codes ask always."""
    return {"NE": False, "ER": not good, "SU": good}.get(condition, True)


@record
class Answers:
    """The acknowledgements of one message; None where the protocol is silent."""

    immediate: bytes | None
    """For the connection the message came on."""
    application: bytes | None = None
    """Enhanced mode, both asked: follows the accept acknowledgement, there or on our own connection."""

    def together(self) -> bytes | None:
        """Both, one after the other: a listener sends each message of an answer in its own frame."""
        return (self.immediate or b"") + (self.application or b"") or None


def acknowledge(
    header: Segment,
    error: GatewayError | None,
    *,
    identify: Callable[[], str],
    at: datetime,
    answered: Segment | None = None,
    warnings: Sequence[Issue] = (),
    application: bytes | None = None,
) -> Answers:
    """The acknowledgements for a message with this MSH: positive when `error` is None.

    `identify` makes control ids (MSH-10), `at` is the time of the answer (aware), `answered` is the message's own
    MSA where it has one. `warnings` with a code of table 0357 become ERR segments of severity W, release 2.5 on.
    `application` is the positive application answer where that is a message of its own (RPA, RRI …): for such requests
    no plain AA is built, and without `application` the answer comes later.
    """
    asker = _asker(header)
    asked, kind = asker.plan, asker.kind
    good = error is None
    if answered is not None or kind in _ANSWERS:
        if not asked.enhanced or not _may_accept(header, answered):
            return Answers(None)
        asked = Plan(enhanced=True, accept=asked.accept, application="NE")

    def build(level: str) -> bytes:
        return _build(header, asker, level, error, warnings, identify(), at)

    application_wanted = wanted(asked.application, good=good)
    ours = good and (application is not None or kind in RESPONSES)
    if asked.accept == "NE":
        if not application_wanted:
            return Answers(None)
        return Answers(application if ours else build("A"))
    immediate = build("C") if wanted(asked.accept, good=good) else None
    if not good or not application_wanted:
        return Answers(immediate)
    return Answers(immediate, application if ours else build("A"))


def refuse(error: GatewayError, *, identify: Callable[[], str], at: datetime) -> bytes:
    """AR for bytes without a readable header: no control id to refer to, but the sender need not wait."""
    header = segment("MSH", {11: "P", 12: DEFAULT_VERSION})
    return _build(header, _asker(header), "A", error, (), identify(), at, verdict="R")


def is_answer(header: Segment, answered: Segment | None = None) -> bool:
    """Whether the message answers another one: it has an MSA, or a type that always has."""
    return answered is not None or header.get(9) in _ANSWERS


def _may_accept(header: Segment, answered: Segment | None) -> bool:
    """Accept acknowledgements end there; plain ACKs too, unless they are known to be application answers."""
    if answered is None:
        return header.get(9) not in ("ACK", "MCF")
    return answered.get(1).startswith("A")


def verdict_of(error: GatewayError | None) -> tuple[str, str]:
    """Second letter of MSA-1 and code of table 0357 for an outcome."""
    if error is None:
        return "A", "0"
    letter, code = next((letter, code) for kind, letter, code in _VERDICTS if isinstance(error, kind))
    if isinstance(error, UnsupportedMessage):
        code = _UNSUPPORTED.get(error.location, code)
    if isinstance(error, MalformedMessage | InvalidMessage) and error.location.startswith("MSH"):
        # What is wrong with the header is no matter of content.
        return "R", "102" if isinstance(error, MalformedMessage) else code
    return letter, code


def release(header: Segment) -> tuple[int, ...]:
    """MSH-12 as numbers, (2, 5, 1); the default where it is missing or no number."""
    return _numbers((header.get(12) or DEFAULT_VERSION)[:16])


@lru_cache(maxsize=64)
def _numbers(text: str) -> tuple[int, ...]:
    numbers = tuple(int(part) for part in text.split(".") if part.isascii() and part.isdigit())
    return numbers or (2, 5, 1)


def _build(
    header: Segment,
    asker: _Asker,
    level: str,
    error: GatewayError | None,
    warnings: Sequence[Issue],
    control_id: str,
    at: datetime,
    *,
    verdict: str = "",
) -> bytes:
    letter, code = verdict_of(error)
    version, separator = asker.version, header.syntax.field
    told = f"MSA{separator}{level}{verdict or letter}{separator}{header.raw(10)}"
    errors: list[str] = []
    if error is not None:
        issues = error.issues or (Issue(code, error.location, error.message),)
        if version < (2, 7):
            told += separator + escape(issues[0].text[:80], header.syntax)
        errors = [_error(issue, code, header, version) for issue in issues[:20]]
    elif warnings and version >= (2, 5):
        errors = [_error(issue, "0", header, version) for issue in warnings if issue.code in CONDITIONS][:20]
    header_line = f"{asker.before}{timestamp(at)}{asker.between}{escape(control_id, header.syntax)}{asker.after}"
    data = encode("\r".join((header_line, told.rstrip(separator), *errors, "")), header.syntax.encoding)
    # What is turned round may hold the bytes it was refused for; in our frame they would do the same harm.
    return data.translate(None, _FRAMING)


@dataclass(frozen=True, slots=True)
class _Asker:
    """What follows from a header but for MSH-7 and MSH-10: the same for all messages of one type from one sender."""

    plan: Plan
    kind: str
    """MSH-9.1."""
    version: tuple[int, ...]
    before: str
    """The answer's header up to its time."""
    between: str
    """From there to its control id."""
    after: str


def _asker(header: Segment) -> _Asker:
    parts = header.parts
    same = (*parts[:6], "", *parts[7:9], "", *parts[10:])  # all but MSH-7 and MSH-10
    ordinary = len("|".join(same)) < _ORDINARY
    return (_known if ordinary else _known.__wrapped__)(same, header.syntax)


@lru_cache(maxsize=256)
def _known(parts: tuple[str, ...], syntax: Syntax) -> _Asker:
    """Most of an answer's header is the sender's own text, turned round: nothing is unescaped on the way."""
    header = Segment(parts[0], 1, parts, syntax)
    separator, raw = syntax.field, header.raw
    asked, version = plan(header), release(header)
    conditions = "NE" if asked.enhanced else ""
    before = ("MSH", syntax.encoding_characters, raw(5), raw(6), raw(3), raw(4), "")
    between = ("", "", _kind(raw(9), syntax, version), "")
    after = ("", raw(11) or "P", raw(12) or DEFAULT_VERSION, "", "", conditions, conditions, "", raw(18))
    start, middle, end = map(separator.join, (before, between, after))
    return _Asker(asked, header.get(9), version, start, middle, end.rstrip(separator))


def _kind(asked: str, syntax: Syntax, version: tuple[int, ...]) -> str:
    """MSH-9 of the answer to a message with this MSH-9."""
    trigger = pick(pick(asked, syntax.repetition, 1), syntax.component, 2)
    if trigger and version >= (2, 3, 1):
        return syntax.component.join(("ACK", trigger, "ACK"))
    if trigger and version >= (2, 3):
        return syntax.component.join(("ACK", trigger))
    return "ACK"


def _error(issue: Issue, fallback: str, header: Segment, version: tuple[int, ...]) -> str:
    """ERR: fields 2, 3, 4 and 8 from release 2.5 on; before it field 1 (ELD) holds place and code together."""
    code = issue.code if issue.code in CONDITIONS else fallback
    place = _location(issue.location)
    if version < (2, 5):
        spot = (*place, "", "", "")[:3]
        return segment("ERR", {1: (*spot, (code, CONDITIONS[code], "HL70357"))}, syntax=header.syntax).text
    severity = {"error": "E", "warning": "W", "information": "I"}.get(issue.severity, "E")
    fields: dict[int, Value] = {
        2: place or None,
        3: (code, CONDITIONS[code], "HL70357"),
        4: severity if code != "0" or severity != "E" else "I",
        8: issue.text[:250],
    }
    return segment("ERR", fields, syntax=header.syntax).text


def _location(location: str) -> tuple[str, ...]:
    """ERL: segment, its number, field; repetition, component, sub-component where the path names them."""
    place = parse_path(location)
    if place is None:
        return ()
    numbers = [place.index]
    if place.field:
        numbers.append(place.field)
        if "." in location or place.repetition > 1:
            numbers.append(place.repetition)
        if "." in location:
            numbers.append(place.component)
        if place.sub > 1:
            numbers.append(place.sub)
    return (place.segment, *map(str, numbers))
