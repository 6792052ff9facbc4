"""The one table: which message type goes to which topic and definition, which format has which codec and renderer,
which endpoint has which sender. Rows, no discovery, no side effects of imports."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

TOPICS: Final[Mapping[str, str]] = {
    "authorization": "intake.authorization.v1",
    "eligibility": "intake.eligibility.v1",
    "clinical": "intake.clinical.v1",
    "claim": "intake.claim.v1",
    "claimstatus": "intake.claimstatus.v1",
    "attachment": "intake.attachment.v1",
    "acknowledgement": "intake.acknowledgement.v1",
    "provider": "intake.credentialing.v1",
}
"""Intake topic by message type, or by its first word."""

PARKED: Final = "intake.parked.v1"
DEAD_LETTERS: Final = "intake.deadletter.v1"
EVENTS: Final = "workflow.events.v1"
DECISIONS: Final = "decisions.authorization.v1"

STARTER_GROUP: Final = "gateway.starter"
JOURNAL_GROUP: Final = "gateway.journal"
STARTED_TOPICS: Final = (
    "intake.authorization.v1",
    "intake.eligibility.v1",
    "intake.clinical.v1",
    "intake.claim.v1",
    "intake.claimstatus.v1",
    "intake.attachment.v1",
    "intake.credentialing.v1",
)
JOURNALED_TOPICS: Final = (*STARTED_TOPICS, "intake.acknowledgement.v1", PARKED)

DEFINITIONS: Final[Mapping[str, str]] = {
    "authorization": "prior_authorization",
    "eligibility": "eligibility",
    "provider": "provider_credentialing",
}
"""Workflow definition by message type, or by its first word."""

ASKING: Final[Mapping[str, str]] = {"authorization": "payer_authorization"}
"""Definition of the same types where a partner decides for the payer (`ask` in its profile)."""

OPENING: Final = frozenset({"authorization.request", "authorization.update", "eligibility.request", "provider.change"})
"""Message types that may open a case; others join one. An update carries the whole request (PAS spec-68): where the
prior one is unknown here, it is a request, so that it is decided and does not wait for ever. A provider's change joins
the case that is open on the provider, else it opens one."""


def definition_of(message_type: str) -> str | None:
    """The definition a message type belongs to, or None: it is journaled only."""
    return DEFINITIONS.get(message_type) or DEFINITIONS.get(message_type.split(".", 1)[0])


RULE_SETS: Final[Mapping[str, str]] = {
    "prior-authorization": "demo",
    "eligibility": "eligibility",
    "credentials": "credentials",
}
"""Shipped rule set by the name that definitions use; a folder of policies in the settings takes their place."""
