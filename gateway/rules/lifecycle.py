"""The life of a rule set version: draft → in review → approved → active → retired, by two people, never rewritten.

A version's bytes are its canonical document; its hash is over them, so a file in git and a row in the store are the
same thing. Two time axes: the *valid* one (effective/expiration of the version: which day's requests it decides) and
the *recorded* one (when it was activated or retired: what was known at a time). An appeal asks both: what held then,
as known then, and what holds now. Nothing here stores: `RuleStore` is the port, the caller keeps what it is given.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime
from typing import Protocol

import orjson

from gateway.core.errors import ConfigurationError, MessageConflict
from gateway.rules.documents import read_ruleset, write_ruleset
from gateway.rules.model import RuleSet
from gateway.rules.release import canonical, digest

STATES = ("draft", "in_review", "approved", "active", "retired")
_NEXT = {
    "draft": ("in_review",), "in_review": ("draft", "approved"), "approved": ("active", "retired"),
    "active": ("retired",), "retired": ("active",),
}  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Version:
    """One version of a rule set as it is kept. `release_hash` is what decisions name; `content` never changes."""

    ruleset: str
    version: int
    content: bytes
    hash: str
    release_hash: str
    state: str
    author: str
    approver: str = ""
    effective: date | None = None
    expiration: date | None = None
    activated_at: datetime | None = None
    retired_at: datetime | None = None

    def rules(self) -> RuleSet:
        """The rule set. Raises ConfigurationError when the bytes are not what was approved."""
        if digest(orjson.loads(self.content)) != self.hash:
            raise ConfigurationError(
                "the stored rule set does not have its hash", location=f"{self.ruleset} v{self.version}"
            )
        return read_ruleset(orjson.loads(self.content))


class RuleStore(Protocol):
    """Where versions live (files in git, or a table). `put` refuses another content under a known number."""

    def versions(self, ruleset: str) -> Sequence[Version]:
        """All versions of a rule set, in any order."""
        ...

    def put(self, version: Version) -> None:
        """Keep a version, or the new state of a known one."""
        ...


def draft(ruleset: RuleSet, release_hash: str, author: str) -> Version:
    """A new version. Raises ConfigurationError without an author."""
    if not author.strip():
        raise ConfigurationError("a version needs an author")
    document = write_ruleset(ruleset)
    return Version(
        ruleset=ruleset.id,
        version=ruleset.version,
        content=canonical(document),
        hash=digest(document),
        release_hash=release_hash,
        state="draft",
        author=author.strip(),
        effective=ruleset.effective,
        expiration=ruleset.expiration,
    )


def advance(version: Version, state: str, *, by: str, now: datetime, others: Iterable[Version] = ()) -> Version:
    """The version in its next state.

    Raises ConfigurationError for a step that is not allowed: an approver who is the author, an activation whose valid
    time overlaps that of another active version (retire or bound that one first).
    """
    where = f"{version.ruleset} v{version.version}"
    if state not in _NEXT[version.state]:
        raise ConfigurationError(f"{version.state} cannot become {state}", location=where)
    if not by.strip():
        raise ConfigurationError("a step needs a person", location=where)
    if state == "approved":
        if by.strip().casefold() == version.author.casefold():
            raise ConfigurationError("the author cannot approve", location=where)
        return replace(version, state=state, approver=by.strip())
    if state == "active":
        clash = next((each for each in others if each.state == "active" and _overlap(each, version)), None)
        if clash is not None and clash.version != version.version:
            raise ConfigurationError(f"overlaps active version {clash.version}", location=where)
        return replace(version, state=state, activated_at=now, retired_at=None)
    if state == "retired":
        return replace(version, state=state, retired_at=now)
    return replace(version, state=state)


def _overlap(first: Version, second: Version) -> bool:
    starts = first.effective is None or second.expiration is None or first.effective < second.expiration
    ends = second.effective is None or first.expiration is None or second.effective < first.expiration
    return starts and ends


def same_content(known: Version | None, version: Version) -> None:
    """Raise MessageConflict when a known number comes with other bytes: versions are immutable."""
    if known is not None and known.hash != version.hash:
        raise MessageConflict(
            "this version exists with another content", location=f"{version.ruleset} v{version.version}"
        )


def in_force(versions: Iterable[Version], day: date, known_at: datetime | None = None) -> Version | None:
    """The version that decides a day's requests, as was known at an instant (None: as is known now)."""
    found = [
        each
        for each in versions
        if (each.effective is None or each.effective <= day)
        and (each.expiration is None or day < each.expiration)
        and _recorded(each, known_at)
    ]
    return max(found, key=lambda each: each.version, default=None)


def _recorded(version: Version, known_at: datetime | None) -> bool:
    if known_at is None:
        return version.state == "active"
    started = version.activated_at is not None and version.activated_at <= known_at
    return started and (version.retired_at is None or known_at < version.retired_at)


def roll_back(versions: Sequence[Version], current: Version, *, by: str, now: datetime) -> tuple[Version, Version]:
    """Retire the active version and activate the one retired last before it; both to be stored together.

    Raises ConfigurationError when there is none to go back to.
    """
    earlier = [each for each in versions if each.state == "retired" and each.version < current.version]
    if not earlier:
        raise ConfigurationError("no earlier version to go back to", location=f"{current.ruleset} v{current.version}")
    last = max(earlier, key=lambda each: each.version)
    retired = advance(current, "retired", by=by, now=now)
    others = [each for each in versions if each.version not in (current.version, last.version)]
    return retired, advance(last, "active", by=by, now=now, others=others)
