"""Document → model, strictly: an unknown key, a wrong type or a bad code is refused with its location."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import date, datetime
from decimal import Decimal, InvalidOperation
from typing import Any, cast

from gateway.core.errors import ConfigurationError
from gateway.rules import model, units
from gateway.rules.calendar import parse_duration
from gateway.rules.documents.writing import OPERATORS
from gateway.rules.model import (
    Action,
    AllOf,
    AnyOf,
    Choice,
    Compare,
    Condition,
    Duration,
    Fact,
    Known,
    Literal,
    Not,
    Notification,
    Operand,
    Plus,
    Quantified,
    Rule,
    SetName,
    Shifted,
    Span,
    Total,
    Window,
    Within,
)

_BACK = {key: operator for operator, key in OPERATORS.items()}
_IDENTIFIER = re.compile(r"[A-Za-z][A-Za-z0-9_.-]{0,63}", re.ASCII)
_QUANTIFIERS = ("any", "every", "no", "latest", "at least", "at most", "exactly")


def fail(text: str, location: str) -> ConfigurationError:
    """The one error of a document: what is wrong, and where."""
    return ConfigurationError(text, location=location)


def mapping(value: object, location: str, allowed: frozenset[str] | None = None) -> Mapping[str, Any]:
    """A mapping whose keys are all known."""
    if not isinstance(value, Mapping) or not all(isinstance(key, str) for key in value):
        raise fail("a mapping is needed here", location)
    if allowed is not None and (extra := sorted(value.keys() - allowed)):
        raise fail(f"unknown key {extra[0][:40]!r}", location)
    return cast(Mapping[str, Any], value)


def sequence(value: object, location: str) -> list[Any]:
    """A list, bounded."""
    if not isinstance(value, list):
        raise fail("a list is needed here", location)
    return value


def text(value: object, location: str, limit: int = 2_000) -> str:
    """A string, bounded."""
    if not isinstance(value, str) or len(value) > limit:
        raise fail(f"text of at most {limit} characters is needed here", location)
    return value


def identifier(value: object, location: str) -> str:
    """A name: a letter, then letters, digits, `_`, `.`, `-`."""
    if not isinstance(value, str) or not _IDENTIFIER.fullmatch(value):
        raise fail("a name of letters, digits, '_', '.', '-' is needed here", location)
    return value


def integer(value: object, location: str) -> int:
    """A whole number, not a truth value."""
    if not isinstance(value, int) or isinstance(value, bool) or abs(value) > 10**9:
        raise fail("a whole number is needed here", location)
    return value


def one_of(value: object, choices: tuple[str, ...], location: str) -> Any:
    """One of a fixed vocabulary."""
    if value not in choices:
        raise fail(f"one of {', '.join(choices)} is needed here", location)
    return value


def decimal(value: object, location: str) -> Decimal:
    """A finite decimal of at most 15 significant digits (see leaves.py)."""
    try:
        number = Decimal(repr(value) if isinstance(value, float) else str(value))
    except InvalidOperation as error:
        raise fail("a number is needed here", location) from error
    if not number.is_finite() or len(number.normalize().as_tuple().digits) > 15 or abs(number.adjusted()) > 15:
        raise fail("a number of at most 15 digits is needed here", location)
    return number


def day(value: object, location: str) -> date:
    """An ISO date (YAML may have read it already)."""
    if isinstance(value, date) and not isinstance(value, datetime):
        return value
    try:
        return date.fromisoformat(text(value, location, 10))
    except ValueError as error:
        raise fail("a date YYYY-MM-DD is needed here", location) from error


def duration(value: object, location: str) -> Duration:
    """An ISO duration of one unit."""
    found = parse_duration(text(value, location, 8))
    if found is None:
        raise fail("a duration such as P30D, P6W, P12M or P1Y is needed here", location)
    return found


def read_literal(value: object, unit: str, location: str) -> Literal:
    """A value written in a rule."""
    if isinstance(value, bool):
        return Literal("boolean", value)
    if isinstance(value, int | float | Decimal):
        return Literal("number", decimal(value, location), unit)
    if isinstance(value, date) and not isinstance(value, datetime):
        return Literal("date", value)
    if isinstance(value, Mapping):
        body = mapping(value, location, frozenset({"number", "date", "dateTime"}))
        if len(body) != 1:
            raise fail("one of number, date, dateTime is needed here", location)
        if "number" in body:
            return Literal("number", decimal(body["number"], location), unit)
        if "date" in body:
            return Literal("date", day(body["date"], location))
        try:
            instant = datetime.fromisoformat(text(body["dateTime"], location, 40))
        except ValueError as error:
            raise fail("an instant with its offset is needed here", location) from error
        if instant.tzinfo is None:
            raise fail("an instant with its offset is needed here", location)
        return Literal("dateTime", instant)
    return Literal("string", text(value, location))


def _fact(value: object, location: str) -> Fact:
    return Fact(text(value, location, 120))


def read_window(value: object, location: str) -> Window:
    """`{duration, direction, anchor}`; the last two have defaults."""
    body = mapping(value, location, frozenset({"duration", "direction", "anchor"}))
    return Window(
        duration(body.get("duration"), f"{location}.duration"),
        one_of(body.get("direction", "before"), ("before", "after"), f"{location}.direction"),
        _fact(body.get("anchor", "request.receivedAt"), f"{location}.anchor"),
    )


def read_operand(body: Mapping[str, Any], location: str) -> tuple[Operand, frozenset[str]]:
    """The left or right side in a mapping, and the keys it used."""
    if "fact" in body:
        base = _fact(body["fact"], f"{location}.fact")
        for direction in ("after", "before"):
            if direction in body:
                by = duration(body[direction], f"{location}.{direction}")
                return Shifted(base, by, direction), frozenset({"fact", direction})
        return base, frozenset({"fact"})
    if "total" in body:
        where = f"{location}.total"
        part = mapping(body["total"], where, frozenset({"list", "field", "concept", "within"}))
        window = read_window(part["within"], where) if "within" in part else None
        concept = text(part.get("concept", ""), where, 64)
        return Total(text(part.get("list"), where, 64), text(part.get("field"), where, 64), concept, window), frozenset(
            {"total"}
        )
    if "span" in body:
        where = f"{location}.span"
        part = mapping(body["span"], where, frozenset({"unit", "start", "end"}))
        unit = one_of(part.get("unit"), ("day", "week", "month", "year"), where)
        return Span(unit, _fact(part.get("start"), where), _fact(part.get("end"), where)), frozenset({"span"})
    if "plus" in body:
        where = f"{location}.plus"
        terms = tuple(
            read_whole_operand(term, f"{where}[{index}]") for index, term in enumerate(sequence(body["plus"], where))
        )
        if len(terms) < 2:
            raise fail("a sum needs two terms", where)
        return Plus(terms), frozenset({"plus"})
    if "literal" in body:
        unit = units.canonical(text(body.get("unit", ""), location, 20))
        return read_literal(body["literal"], unit, location), frozenset({"literal", "unit"})
    raise fail("fact, total, span, plus, all, any, not or quantifier is needed here", location)


def read_whole_operand(value: object, location: str) -> Operand:
    """An operand with no key left over."""
    body = mapping(value, location)
    operand, used = read_operand(body, location)
    mapping(body, location, used)
    return operand


def read_condition(value: object, location: str = "condition", depth: int = 0) -> Condition:
    """A condition document. Raises ConfigurationError with the location of what is wrong."""
    if depth > model.MAX_DEPTH:
        raise fail(f"deeper than {model.MAX_DEPTH}", location.split(".all[", maxsplit=1)[0][:200])
    body = mapping(value, location)
    for key, join in (("all", AllOf), ("any", AnyOf)):
        if key in body:
            mapping(body, location, frozenset({key}))
            parts = sequence(body[key], location)
            if not parts or len(parts) > model.MAX_NODES:
                raise fail("one or more conditions are needed here", f"{location}.{key}")
            read = [read_condition(part, f"{location}.{key}[{n}]", depth + 1) for n, part in enumerate(parts)]
            return read[0] if len(read) == 1 else join(tuple(read))
    if "not" in body:
        mapping(body, location, frozenset({"not"}))
        return Not(read_condition(body["not"], f"{location}.not", depth + 1))
    if "quantifier" in body:
        return _quantified(body, location, depth)
    if "anyIn" in body:
        mapping(body, location, frozenset({"fact", "anyIn"}))
        name = mapping(body["anyIn"], location, frozenset({"valueSet"})).get("valueSet")
        return Quantified("any", text(body.get("fact"), location, 64), text(name, location, 64))
    return _leaf(body, location)


def _leaf(body: Mapping[str, Any], location: str) -> Condition:
    if "known" in body:
        mapping(body, location, frozenset({"fact", "known"}))
        if body["known"] is not True:
            raise fail("known is true or absent: what is missing may still come", location)
        return Known(_fact(body.get("fact"), location))
    if "within" in body:
        mapping(body, location, frozenset({"fact", "within"}))
        return Within(_fact(body.get("fact"), location), read_window(body["within"], f"{location}.within"))
    operators = [key for key in body if key in _BACK]
    if len(operators) != 1:
        raise fail(f"one comparison is needed here: {', '.join(_BACK)}", location)
    key = operators[0]
    left, used = read_operand(body, location)
    mapping(body, location, used | {key, "unit"})
    unit = units.canonical(text(body.get("unit", ""), location, 20)) if "literal" not in body else ""
    return Compare(left, _BACK[key], _right(body[key], unit, f"{location}.{key}"))  # type: ignore[arg-type]


def _right(value: object, unit: str, location: str) -> Operand | SetName | Choice:
    if isinstance(value, list):
        if not 0 < len(value) <= model.MAX_VALUE_SET:
            raise fail("one or more values are needed here", location)
        return Choice(tuple(read_literal(each, unit, f"{location}[{index}]") for index, each in enumerate(value)))
    if isinstance(value, Mapping) and "valueSet" in value:
        body = mapping(value, location, frozenset({"valueSet"}))
        return SetName(text(body["valueSet"], location, 64))
    if isinstance(value, Mapping) and not value.keys() & {"number", "date", "dateTime"}:
        return read_whole_operand(value, location)
    return read_literal(value, unit, location)


def _quantified(body: Mapping[str, Any], location: str, depth: int) -> Quantified:
    mapping(body, location, frozenset({"quantifier", "list", "concept", "test", "within", "count", "other"}))
    quantifier = one_of(body["quantifier"], _QUANTIFIERS, f"{location}.quantifier")
    counted = quantifier in ("at least", "at most", "exactly")
    return Quantified(
        quantifier,
        text(body.get("list"), f"{location}.list", 64),
        text(body.get("concept", ""), f"{location}.concept", 64),
        read_condition(body["test"], f"{location}.test", depth + 1) if "test" in body else None,
        read_window(body["within"], f"{location}.within") if "within" in body else None,
        integer(body.get("count"), f"{location}.count") if counted else 0,
        body.get("other", False) is True,
    )


_PARAMETERS = frozenset({"duration", "quantity", "unit", "code", "role", "errorCode", "followUp", "request"})


def read_action(value: object, location: str = "action") -> Action:
    """`{type, params, reason: {text, codes, citation}}`."""
    body = mapping(value, location, frozenset({"type", "params", "reason"}))
    params = mapping(body.get("params", {}), f"{location}.params", _PARAMETERS)
    reason = mapping(body.get("reason", {}), f"{location}.reason", frozenset({"text", "codes", "citation"}))
    where = f"{location}.params"
    return Action(
        one_of(body.get("type"), model.ACTIONS, f"{location}.type"),
        duration(params["duration"], where) if "duration" in params else None,
        decimal(params["quantity"], where) if "quantity" in params else None,
        units.canonical(text(params.get("unit", ""), where, 20)),
        text(params.get("code", ""), where, 40),
        text(params.get("role", ""), where, 64),
        text(params.get("errorCode", ""), where, 8),
        text(params.get("followUp", ""), where, 8),
        text(reason.get("text", ""), f"{location}.reason"),
        tuple(text(code, f"{location}.reason", 20) for code in sequence(reason.get("codes", []), location)),
        text(reason.get("citation", ""), f"{location}.reason", 300),
        tuple(text(path, where, 120) for path in sequence(params.get("request", []), where)),
    )


_RULE = frozenset(
    {"id", "name", "category", "version", "priority", "effectiveDate", "expirationDate", "author", "source",
     "condition", "action", "notifications"}
)  # fmt: skip


def read_rule(value: object, location: str = "rule") -> Rule:
    """One rule document."""
    body = mapping(value, location, _RULE)
    name = identifier(body.get("id"), f"{location}.id")
    where = f"{location} {name}"
    notices = sequence(body.get("notifications", []), where)
    return Rule(
        id=name,
        name=text(body.get("name", ""), f"{where}.name", 200),
        category=one_of(body.get("category"), model.CATEGORIES, f"{where}.category"),
        condition=read_condition(body.get("condition"), f"{where}.condition"),
        action=read_action(body.get("action"), f"{where}.action"),
        version=integer(body.get("version", 1), f"{where}.version"),
        priority=integer(body.get("priority", 0), f"{where}.priority"),
        effective=optional(body, "effectiveDate", day, where),
        expiration=optional(body, "expirationDate", day, where),
        author=text(body.get("author", ""), where, 100),
        source=text(body.get("source", ""), where, 300),
        notifications=tuple(_notification(each, f"{where}.notifications[{i}]") for i, each in enumerate(notices)),
    )


def optional(body: Mapping[str, Any], key: str, read: Callable[[object, str], date], location: str) -> date | None:
    """A date that may be absent."""
    return read(body[key], f"{location}.{key}") if body.get(key) is not None else None


def _notification(value: object, location: str) -> Notification:
    body = mapping(value, location, frozenset({"to", "template"}))
    return Notification(identifier(body.get("to"), location), text(body.get("template"), location, 64))
