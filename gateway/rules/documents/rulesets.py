"""Rule sets and value sets: document → model, as strictly as the rules in them (reading.py)."""

from __future__ import annotations

import re

from gateway.rules import model
from gateway.rules.documents.reading import (
    day,
    fail,
    identifier,
    integer,
    mapping,
    one_of,
    optional,
    read_action,
    read_rule,
    sequence,
    text,
)
from gateway.rules.documents.writing import SAID
from gateway.rules.model import RuleSet, ValueSet

_HASH = re.compile(r"sha256:[0-9a-f]{64}", re.ASCII)


def read_value_set(name: str, value: object, location: str = "valueSets") -> ValueSet:
    """A value set: a list of codes, or `{codes, version, title, system, unit, question, loinc, source …}`.

    `reportType`, `modifier` and `questionnaire` say more of how a record is asked for (model.ValueSet). A set that was
    taken from a published file has `fileHash`, `effectiveDate`, `expirationDate` too.
    """
    where = f"{location}.{name}"
    body = mapping({"codes": value} if isinstance(value, list) else value, where, frozenset(
        {"codes", "version", *SAID.values(), "fileHash", "effectiveDate", "expirationDate"}
    ))  # fmt: skip
    codes = sequence(body.get("codes"), where)
    if len(codes) > model.MAX_VALUE_SET:
        raise fail(f"more than {model.MAX_VALUE_SET} codes", where)
    extra = {
        name: text(str(body[key]), where, 500) for name, key in (("version", "version"), *SAID.items()) if key in body
    }
    file_hash = text(body.get("fileHash", ""), where, 71)
    if file_hash and not _HASH.fullmatch(file_hash):
        raise fail("a hash sha256:… is needed here", f"{where}.fileHash")
    return ValueSet(
        name=identifier(name, where),
        codes=frozenset(text(str(code), where, 64) for code in codes),
        file_hash=file_hash,
        effective=optional(body, "effectiveDate", day, where),
        expiration=optional(body, "expirationDate", day, where),
        **extra,
    )


_RULESET = frozenset(
    {"id", "version", "name", "combine", "order", "automaticDenials", "default", "asOf", "zone", "effectiveDate",
     "expirationDate", "facts", "valueSets", "rules", "citation"}
)  # fmt: skip


def read_ruleset(value: object, location: str = "ruleset") -> RuleSet:
    """A whole rule set document."""
    body = mapping(value, location, _RULESET)
    rules = sequence(body.get("rules", []), f"{location}.rules")
    if len(rules) > model.MAX_RULES:
        raise fail(f"more than {model.MAX_RULES} rules", f"{location}.rules")
    sets = mapping(body.get("valueSets", {}), f"{location}.valueSets")
    default = {"default": read_action(body["default"], f"{location}.default")} if "default" in body else {}
    denials = sequence(body.get("automaticDenials", []), location)
    return RuleSet(
        id=identifier(body.get("id"), f"{location}.id"),
        version=integer(body.get("version", 1), f"{location}.version"),
        name=text(body.get("name", ""), f"{location}.name", 200),
        combine=one_of(body.get("combine", "staged"), model.STRATEGIES, f"{location}.combine"),
        order=tuple(identifier(each, f"{location}.order") for each in sequence(body.get("order", []), location)),
        automatic_denials=tuple(one_of(each, model.CATEGORIES, f"{location}.automaticDenials") for each in denials),
        as_of=text(body.get("asOf", "request.receivedAt"), location, 120),
        zone=text(body.get("zone", "UTC"), location, 64),
        value_sets={name: read_value_set(name, each) for name, each in sets.items()},
        facts=mapping(body.get("facts", {}), f"{location}.facts"),
        effective=optional(body, "effectiveDate", day, location),
        expiration=optional(body, "expirationDate", day, location),
        citation=text(body.get("citation", ""), location, 300),
        rules=tuple(read_rule(each, f"{location}.rules[{index}]") for index, each in enumerate(rules)),
        **default,
    )
