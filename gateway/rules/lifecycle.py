"""The life of a rule set version: draft → in review → approved → active → retired, by two people, never rewritten.

A version's bytes are its canonical document; its hash is over them, so a file in git and a row in the store are the
same thing. Two time axes: the *valid* one (effective/expiration of the version: which day's requests it decides) and
the *recorded* one (when it was activated or retired: what was known at a time). An appeal asks both: what held then,
as known then, and what holds now. Nothing here stores: `RuleStore` is the port, the caller keeps what it is given.
A version that supersedes another leaves it as it is: of two that cover a day, the greater number decides it, from the
moment it became active. So nothing recorded is ever rewritten.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime
from typing import Protocol

import orjson

from gateway.core.errors import ConfigurationError, MessageConflict
from gateway.rules.catalogue import Catalogue
from gateway.rules.documents import read_ruleset, write_ruleset
from gateway.rules.model import RuleSet
from gateway.rules.release import Release, canonical, digest, release

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
    earlier: tuple[tuple[datetime, datetime], ...] = ()
    """When it was active before the last activation: [from, until)."""

    def rules(self) -> RuleSet:
        """The rule set. Raises ConfigurationError when the bytes are not what was approved."""
        if digest(orjson.loads(self.content)) != self.hash:
            raise ConfigurationError(
                "the stored rule set does not have its hash", location=f"{self.ruleset} v{self.version}"
            )
        return read_ruleset(orjson.loads(self.content))


def pinned(version: Version, catalogue: Catalogue) -> Release:
    """The release a version stands for.

    Raises ConfigurationError when it would not be the one that was approved: other bytes, or a catalogue in which the
    facts it uses mean something else.
    """
    found = release(version.rules(), catalogue)
    if found.hash != version.release_hash:
        raise ConfigurationError(
            "the catalogue gives this version another meaning than was approved",
            location=f"{version.ruleset} v{version.version}",
        )
    return found


Step = Callable[[Sequence[Version]], Sequence[Version]]
"""From all versions of a rule set to those that are new or changed. Pure; raises to change nothing."""


class RuleStore(Protocol):
    """Where versions live, per tenant. Contents are immutable, states move by steps, one step at a time."""

    async def versions(self, tenant: str, ruleset: str) -> Sequence[Version]:
        """All versions of a rule set, by number."""
        ...

    async def apply(self, tenant: str, ruleset: str, step: Step) -> Sequence[Version]:
        """Apply a step to the versions as they stand, with no other step between, and keep what it returns.

        Raises what the step raises, MessageConflict for another content under a known number; then nothing is kept.
        """
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


def advance(
    version: Version,
    state: str,
    *,
    by: str,
    now: datetime,
    others: Iterable[Version] = (),
    supersede: bool = False,
) -> Version:
    """The version in its next state.

    Raises ConfigurationError for a step that is not allowed: an approver who is the author, an activation whose valid
    time overlaps that of another active version, unless it is to `supersede` those with smaller numbers.
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
        clash = next(
            (each for each in _clashes(version, others) if not supersede or each.version > version.version), None
        )
        if clash is not None:
            raise ConfigurationError(f"overlaps active version {clash.version}", location=where)
        return replace(version, state=state, activated_at=now, retired_at=None, earlier=_spans(version))
    if state == "retired":
        return replace(version, state=state, retired_at=now)
    return replace(version, state=state)


def _clashes(version: Version, others: Iterable[Version]) -> list[Version]:
    active = [each for each in others if each.state == "active" and each.version != version.version]
    return [each for each in active if _overlap(each, version)]


def _spans(version: Version) -> tuple[tuple[datetime, datetime], ...]:
    """The finished times of being active."""
    if version.activated_at is None or version.retired_at is None:
        return version.earlier
    return (*version.earlier, (version.activated_at, version.retired_at))


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
    if any(start <= known_at < end for start, end in version.earlier):
        return True
    started = version.activated_at is not None and version.activated_at <= known_at
    return started and (version.retired_at is None or known_at < version.retired_at)


def published(version: Version, *, approver: str, now: datetime, supersede: bool = False) -> Step:
    """The step that takes a draft through review and approval to being active; published once, it changes nothing."""

    def step(known: Sequence[Version]) -> Sequence[Version]:
        same = next((each for each in known if each.version == version.version), None)
        same_content(same, version)
        if same is not None and same.state == "active":
            return ()
        found = version if same is None else same
        if found.state == "draft":
            found = advance(found, "in_review", by=found.author, now=now)
        if found.state == "in_review":
            found = advance(found, "approved", by=approver, now=now)
        return (advance(found, "active", by=approver, now=now, others=known, supersede=supersede),)

    return step


def roll_back(versions: Sequence[Version], current: Version, *, by: str, now: datetime) -> tuple[Version, ...]:
    """Retire the active version and let the one before it decide again; all to be stored together.

    A version it superseded decides by itself; one that was retired is activated once more. Raises ConfigurationError
    when there is none to go back to.
    """
    earlier = [each for each in versions if each.version < current.version]
    retired = advance(current, "retired", by=by, now=now)
    if any(each.state == "active" and _overlap(each, current) for each in earlier):
        return (retired,)
    last = max((each for each in earlier if each.state == "retired"), key=lambda each: each.version, default=None)
    if last is None:
        raise ConfigurationError("no earlier version to go back to", location=f"{current.ruleset} v{current.version}")
    others = [each for each in versions if each.version not in (current.version, last.version)]
    return retired, advance(last, "active", by=by, now=now, others=others)


def rolled_back(*, by: str, now: datetime) -> Step:
    """The step of `roll_back` from the greatest active number. Raises ConfigurationError when none is active."""

    def step(known: Sequence[Version]) -> Sequence[Version]:
        current = max((each for each in known if each.state == "active"), key=lambda each: each.version, default=None)
        if current is None:
            raise ConfigurationError("no version is active")
        return roll_back(known, current, by=by, now=now)

    return step
