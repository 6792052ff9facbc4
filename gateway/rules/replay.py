"""A recorded decision made again: the release it names, on the facts it hashed, gives the same bytes.

The record says all but the facts, which are stored sealed with the case. Nothing of today enters: not the clock, not
the versions in force, not the order of files.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, datetime
from typing import Any

from gateway.core.errors import ConfigurationError
from gateway.core.exact_json import dumps
from gateway.rules.engine import Outcome, Reviewer, evaluate
from gateway.rules.record import facts_hash
from gateway.rules.release import ENGINE, Release


def stored(record: Mapping[str, Any]) -> bytes:
    """The canonical bytes of a record as it was stored."""
    return dumps(dict(record), sort_keys=True)


def replay(release: Release, record: Mapping[str, Any], facts: Mapping[str, Any]) -> Outcome:
    """Decide once more as it was decided then.

    Raises ConfigurationError for another release, engine or set of facts than the record names: what came out then
    would be no replay.
    """
    for what, given, wanted in (
        ("release", release.hash, record["release"]),
        ("engine", ENGINE, record["engine"]),
        ("set of facts", facts_hash(facts), record["factsHash"]),
    ):
        if given != wanted:
            raise ConfigurationError(f"the decision was made with another {what}", location=str(wanted)[:80])
    reviewer = record["reviewer"]
    return evaluate(
        release,
        facts,
        as_of=date.fromisoformat(record["asOf"]),
        now=datetime.fromisoformat(record["decidedAt"]),
        reviewer=Reviewer(**reviewer) if reviewer else None,
    )
