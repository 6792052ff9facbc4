"""The parts of a rule around its condition: identity, validity, action, notifications."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from decimal import Decimal
from typing import Any

from gateway.rules.documents.reading import decimal
from gateway.rules.language.lexer import place
from gateway.rules.language.reader import Reader
from gateway.rules.model import Action, Condition, Notification, Rule

KINDS: tuple[tuple[tuple[str, ...], str], ...] = (
    (("approve", "in", "part"), "partial"),
    (("approve",), "approve"),
    (("modify",), "modify"),
    (("deny",), "deny"),
    (("pend",), "pend"),
    (("request", "information"), "request_info"),
    (("escalate",), "escalate"),
    (("require", "no", "authorization"), "not_required"),
    (("contact",), "contact"),
    (("reject",), "error"),
)
CATEGORY_WORDS = {
    "eligibility": ("eligibility",), "network": ("network",), "compliance": ("compliance",), "fraud": ("fraud",),
    "medical_necessity": ("medical", "necessity"),
}  # fmt: skip


def read_rule(reader: Reader, condition: Callable[[Reader], Condition]) -> Rule:
    """One rule from `rule` to its last notification."""
    reader.expect("rule")
    name_token = reader.token
    rule_id = reader.next("word", "the rule's id")
    if len(rule_id) > 64 or not all(letter.isalnum() or letter in "_.-" for letter in rule_id):
        raise reader.fail("an id is letters, digits, '_', '.', '-'", name_token)
    version = reader.whole() if reader.take("version") else 1
    name = reader.string() if reader.token.kind == "string" else ""
    reader.expect("category")
    category = _category(reader)
    priority = reader.whole() if reader.take("priority") else 0
    effective, expiration = _validity(reader)
    author = reader.string() if reader.take("author") else ""
    source = reader.string() if reader.take("source") else ""
    reader.expect("when")
    when = condition(reader)
    reader.expect("then")
    action = read_action(reader)
    notifications = []
    while reader.take("notify"):
        to = reader.next("word", "a role")
        reader.expect("with")
        notifications.append(Notification(to, reader.string()))
    return Rule(
        id=rule_id,
        name=name,
        category=category,
        condition=when,
        action=action,
        version=version,
        priority=priority,
        effective=effective,
        expiration=expiration,
        author=author,
        source=source,
        notifications=tuple(notifications),
    )


def _category(reader: Reader) -> str:
    for category, words in CATEGORY_WORDS.items():
        if reader.take(*words):
            return category
    known = ", ".join(" ".join(words) for words in CATEGORY_WORDS.values())
    raise reader.fail(f"expected one of {known}, found {reader.token.text[:40]!r}")


def _validity(reader: Reader) -> tuple[date | None, date | None]:
    if not reader.take("in", "force"):
        return None, None
    effective = reader.day() if reader.take("from") else None
    expiration = reader.day() if reader.take("until") else None
    return effective, expiration


def read_action(reader: Reader) -> Action:
    """The action with its clauses in their order."""
    for words, found in KINDS:
        if reader.take(*words):
            kind = found
            break
    else:
        known = ", ".join(" ".join(words) for words, _ in KINDS)
        raise reader.fail(f"expected one of {known}, found {reader.token.text[:40]!r}")
    values: dict[str, Any] = {}
    if reader.take("for"):
        values["duration"] = reader.duration()
    if reader.take("quantity"):
        values["quantity"] = _number(reader)
        values["unit"] = reader.unit()
    for word, key in (("unit", "unit"), ("code", "code"), ("to", "role"), ("error", "error_code")):
        if reader.take(word):
            values[key] = reader.string()
    if reader.take("follow-up"):
        values["follow_up"] = reader.string()
    if reader.take("asking", "for"):
        values["request"] = _requests(reader)
    if reader.take("because"):
        values["reason"] = reader.string()
    if reader.sees("("):
        values["citation"] = _citation(reader)
    elif reader.take("citing"):
        values["citation"] = reader.string()
    if reader.take("reason"):
        values["reason_codes"] = _strings(reader)
    return Action(kind, **values)


def _number(reader: Reader) -> Decimal:
    token = reader.token
    return decimal(reader.next("number", "a number"), place(reader.text, token.start))


def _requests(reader: Reader) -> tuple[str, ...]:
    found = [reader.fact().path]
    while reader.take(","):
        found.append(reader.fact().path)
    return tuple(found)


def _strings(reader: Reader) -> tuple[str, ...]:
    found = [reader.string()]
    while reader.take(","):
        found.append(reader.string())
    return tuple(found)


def _citation(reader: Reader) -> str:
    """Everything between the brackets, as it stands: citations are full of dots, dashes and section signs."""
    opening = reader.token
    end = reader.text.find(")", opening.end)
    if end < 0:
        raise reader.fail("expected ')'", opening)
    while reader.token.kind != "end" and reader.token.start <= end:
        reader.at += 1
    return reader.text[opening.end : end].strip()
