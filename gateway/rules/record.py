"""The decision record: what was decided, by what, on what; canonical JSON that replay reproduces byte for byte.

It holds no fact, only the hash of all facts (the facts are stored under protection by the case), so it may be kept for
years and shown to an auditor. Reasons are the policy's own words; the rationale is the reviewer's.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from gateway.core.errors import InvalidMessage
from gateway.core.exact_json import dumps


@dataclass(frozen=True, slots=True, kw_only=True)
class DecisionRecord:
    """See the module. `items` carry the deciding rule, every matched rule with its version and the combining path."""

    ruleset: str
    version: int
    release: str
    engine: str
    as_of: str
    decided_at: str
    facts: str
    action: str
    items: tuple[dict[str, Any], ...]
    unknown: tuple[dict[str, str], ...]
    reviewer: dict[str, str]

    def as_json(self) -> dict[str, Any]:
        """The document."""
        return {
            "ruleset": self.ruleset,
            "version": self.version,
            "release": self.release,
            "engine": self.engine,
            "asOf": self.as_of,
            "decidedAt": self.decided_at,
            "factsHash": self.facts,
            "action": self.action,
            "items": list(self.items),
            "unknown": list(self.unknown),
            "reviewer": self.reviewer,
        }

    def canonical(self) -> bytes:
        """Canonical JSON: sorted keys, no spaces."""
        return dumps(self.as_json(), sort_keys=True)


def facts_hash(facts: Mapping[str, Any]) -> str:
    """SHA-256 of the facts' canonical JSON. Raises InvalidMessage when they are no JSON."""
    try:
        data = dumps(facts, sort_keys=True)
    except (TypeError, RecursionError) as error:
        raise InvalidMessage("facts are not JSON", location="facts") from error
    return "sha256:" + hashlib.sha256(data).hexdigest()
