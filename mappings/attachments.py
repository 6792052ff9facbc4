"""CDex `$submit-attachment` → what was sent for which case (solicited: TrackingId = our attachment control number).

`Final` absent means final. An attachment belongs to a case by its control number, else by the administrative
reference; the MemberId must be the case's, which the edge checks before anything is stored.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from adapters.fhir.wire.elements import code, rows, value_of

SINGLE = (
    "TrackingId",
    "AdminRefNumber",
    "AttachTo",
    "PayerId",
    "OrganizationId",
    "ProviderId",
    "MemberId",
    "ServiceDate",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Attachment:
    """One attachment: the line it is for, its code and the resource that holds it."""

    line: str
    code: str
    content: dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class SubmittedAttachments:
    """One `$submit-attachment` call."""

    tracking_id: str
    admin_reference: str
    attach_to: str
    member_id: str
    payer: str
    organization: str
    provider: str
    service_date: str
    attachments: tuple[Attachment, ...]
    final: bool

    @property
    def lookup(self) -> tuple[tuple[str, ...], ...]:
        """Keys of the case it belongs to, strongest first."""
        keys: list[tuple[str, ...]] = [("attachment-control", self.tracking_id)]
        if self.admin_reference:
            keys.append(("administrative-reference", self.admin_reference))
        return tuple(keys)

    def facts(self, received_at: datetime) -> dict[str, Any]:
        """Facts: the documents, and who sent them for whom."""
        facts = {
            "request.receivedAt": received_at.astimezone(UTC).isoformat(),
            "request.traceNumber": self.tracking_id,
            "coverage.memberId": self.member_id,
            "coverage.payer": self.payer,
            "provider.npi": self.provider,
            "documents": [
                {"type": part.code or _kind(part.content), "controlNumber": self.tracking_id}
                for part in self.attachments
            ],
        }
        return {name: value for name, value in facts.items() if value}


def read_attachment(parameters: dict[str, Any]) -> SubmittedAttachments:
    """Read validated Parameters (adapters.fhir.wire.validate_attachment)."""
    single = {name: _text(parameters, name) for name in SINGLE}
    final = next((row.get("valueBoolean") for row in rows(parameters, "parameter") if row.get("name") == "Final"), True)
    return SubmittedAttachments(
        tracking_id=single["TrackingId"],
        admin_reference=single["AdminRefNumber"],
        attach_to=single["AttachTo"],
        member_id=single["MemberId"],
        payer=single["PayerId"],
        organization=single["OrganizationId"],
        provider=single["ProviderId"],
        service_date=single["ServiceDate"],
        attachments=tuple(_attachment(row) for row in rows(parameters, "parameter") if row.get("name") == "Attachment"),
        final=final is not False,
    )


def _attachment(row: dict[str, Any]) -> Attachment:
    parts = {str(part.get("name")): part for part in rows(row, "part")}
    return Attachment(
        line=str(value_of(parts.get("LineItem")) or ""),
        code=code(value_of(parts.get("Code"))),
        content=parts.get("Content", {}).get("resource") or {},
    )


def _kind(content: dict[str, Any]) -> str:
    return code(content.get("type")) or str(content.get("resourceType", ""))


def _text(parameters: dict[str, Any], name: str) -> str:
    found = next((row for row in rows(parameters, "parameter") if row.get("name") == name), None)
    value = value_of(found)
    return str(value.get("value", "")) if isinstance(value, dict) else str(value or "")
