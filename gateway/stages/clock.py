"""The legal clock of a decision: which line of business has one, how long it is, and by how much it may be extended.

A definition's `sla` is the rule: seventy-two hours or seven calendar days from our receipt (42 CFR 422.568, 422.572,
438.210(d), 431.80). A line of business may have other hours, or no legal clock at all (issuers of qualified health
plans on the federal exchange, CMS-0057-F): its cases keep their due date as a target of our own, because every case
ends, but are never late and never extended. A clock may be extended by up to fourteen calendar days in all (42 CFR
438.210(d)(1)(ii) and (d)(2)(ii), 422.568(b), 422.572(b), 440.230(e)), before it has run out. Pure.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from gateway.core.envelope import Envelope
from gateway.core.errors import ConfigurationError, Issue
from gateway.core.ports import Decision
from gateway.rules.catalogue import Catalogue
from gateway.rules.language.predicates import compile_condition
from gateway.rules.release import Predicate
from gateway.stages.decide import PENDED

LONGEST_EXTENSION = 14
"""Calendar days, all extensions of a clock together."""
REQUESTERS = ("member", "provider", "plan")
"""Who may want more time; the plan only for information it needs, in the member's interest."""


class Coverages(BaseModel):
    """Coverages of one payer, by what any rail carries of them: Coverage.class, IN1-2 and IN1-8, REF of 2010C."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    payer: str = Field(min_length=1, description="As the fact coverage.payer names it; `*`: every payer.")
    plans: frozenset[str] = Field(frozenset(), description="Plan identifiers.")
    groups: frozenset[str] = Field(frozenset(), description="Group numbers; with neither: every coverage of the payer.")

    def cover(self, facts: Mapping[str, Any]) -> bool:
        """Whether a message's coverage is one of these. What a message does not say fits no list."""
        if self.payer not in ("*", facts.get("coverage.payer")):
            return False
        if not self.plans and not self.groups:
            return True
        return facts.get("coverage.plan") in self.plans or facts.get("coverage.group") in self.groups


class Line(BaseModel):
    """A line of business: which messages belong to it, and what its clock is."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9-]{0,62}$", description="Name; the public metrics are counted by it.")
    tenant: str = Field("", description="Only messages of this tenant; empty: of every tenant.")
    sources: tuple[str, ...] = Field((), description="Only messages of these sources, e.g. `fhir/ehr-a`; empty: all.")
    when: tuple[str, ...] = Field((), description="Conditions in the rule language over the facts; all must hold.")
    coverages: tuple[Coverages, ...] = Field((), description="Only messages with one of these coverages; empty: any.")
    legal_clock: bool = Field(True, description="False: no decision time is prescribed by law for this line.")
    hours: dict[str, float] = Field(
        default_factory=dict, description="Hours by priority, `standard` and `expedited`, instead of the definition's."
    )
    extension_days: int = Field(
        LONGEST_EXTENSION, ge=0, le=LONGEST_EXTENSION, description="Calendar days a clock may be extended by in all."
    )

    @field_validator("hours")
    @classmethod
    def _known_priorities(cls, hours: dict[str, float]) -> dict[str, float]:
        if unknown := set(hours) - {"standard", "expedited"}:
            raise ValueError(f"no such priorities: {', '.join(sorted(unknown))}")
        if any(not 0 < value <= 24 * 365 for value in hours.values()):
            raise ValueError("hours are between 0 and a year")
        return hours


REST = Line(name="all")
"""The line of what belongs to no other: the definitions' clocks."""


@dataclass(frozen=True, slots=True)
class Lines:
    """All lines of business, in order: the first that fits takes a message."""

    rows: Sequence[tuple[Line, tuple[Predicate, ...]]] = ()

    @classmethod
    def load(cls, document: Any, catalogue: Catalogue) -> Lines:
        """Read `lines: […]`. Raises ConfigurationError that names each fault."""
        given = document.get("lines") if isinstance(document, Mapping) else None
        if not isinstance(given, list):
            raise ConfigurationError("a list `lines` expected", location="lines")
        rows = [_row(entry, f"lines[{number}]", catalogue) for number, entry in enumerate(given)]
        names = [line.name for line, _ in rows]
        if len({*names, REST.name}) != len(names) + 1:
            raise ConfigurationError(f"names must be unique, and `{REST.name}` is taken", location="lines")
        return cls(rows)

    def of(self, envelope: Envelope) -> Line:
        """The line a message belongs to. A condition that is unknown does not hold."""
        facts = dict(envelope.facts)
        for line, conditions in self.rows:
            if line.tenant not in ("", envelope.tenant):
                continue
            if line.sources and not any(_below(envelope.source, source) for source in line.sources):
                continue
            if line.coverages and not any(one.cover(facts) for one in line.coverages):
                continue
            if all(condition(facts) is True for condition in conditions):
                return line
        return REST


NO_LINES = Lines()


def _row(entry: Any, location: str, catalogue: Catalogue) -> tuple[Line, tuple[Predicate, ...]]:
    try:
        line = Line.model_validate(entry)
    except ValidationError as error:
        issues = tuple(Issue("line", ".".join(map(str, fault["loc"])), fault["msg"]) for fault in error.errors())
        raise ConfigurationError("a line of business is not valid", location=location, issues=issues) from error
    return line, tuple(compile_condition(text, catalogue) for text in line.when)


def _below(source: str, wanted: str) -> bool:
    return source == wanted or source.startswith(f"{wanted}/")


@dataclass(frozen=True, slots=True, kw_only=True)
class Clock:
    """A case's clock as its event log tells it."""

    due_at: datetime
    legal: bool = True
    allowed_days: int = LONGEST_EXTENSION
    extended_days: int = 0


def refusal(clock: Clock, *, days: int, action: str, ended: bool, now: datetime) -> str:
    """Why a clock cannot be extended by so many days, in words for the person who asked; empty when it can."""
    if ended or action not in ("", PENDED):
        return "the case is decided: its clock has stopped"
    if not clock.legal:
        return "this line of business has no legal clock: there is nothing to extend"
    if now >= clock.due_at:
        return "the clock has run out: an extension must be made known before it does"
    left = clock.allowed_days - clock.extended_days
    if days < 1 or days > left:
        return f"at most {left} more calendar days are allowed ({clock.extended_days} used)"
    return ""


def extended(clock: Clock, days: int) -> datetime:
    """The due moment after an extension."""
    return clock.due_at + timedelta(days=days)


def notice(decision: Decision, *, version: int, now: datetime, due_at: datetime, reason: str) -> Decision:
    """The pended decision as it is told again after an extension: until when now, and why."""
    day = due_at.date().isoformat()
    said = f"The time for this decision was extended to {day}. {reason}"
    items = [
        replace(item, note=f"{item.note} {said}".strip()) if item.action == PENDED else item for item in decision.items
    ]
    asked = [{**row, "due": day} for row in decision.requested_information]
    return replace(decision, version=version, decided_at=now, items=items, requested_information=asked)
