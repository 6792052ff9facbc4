"""Facts of a provider's master file entry (MFN^M02: MFE STF PRA CER): what credentialing asks of it.

Standard: HL7 v2.5.1 chapters 8 and 15. A licence is stated in PRA-6 (PLN: number, kind, state, expiration) or in CER;
only CER says whether it is in force (CER-31, table 0536). What is stated twice under one number is one credential.
Without a status it stays unknown, and a person looks.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import date
from typing import Any

from adapters.x12.wire.elements import is_npi

from .cursor import Cursor
from .datatypes import NPI
from .environment import part
from .graph import Resource

KINDS = {"SL": "STATE-LICENSE"}
"""Table 0338 (PLN-2) → the kinds that rules know; others stay as sent."""
STATUS = {"V": "active", "P": "provisional", "E": "expired", "I": "inactive", "R": "revoked"}
"""Table 0536 (CER-31)."""
ACTIVE = {"A": True, "I": False}
"""Table 0183 (STF-7)."""


def provider_facts(cursors: Sequence[Cursor], practitioner: Resource, received_on: date) -> dict[str, Any]:
    """Facts of the one entry these segments are of; the day is that from which the record is in force (MFE-3)."""
    entry = next((cursor for cursor in cursors if cursor.name == "MFE"), None)
    staff = next((cursor for cursor in cursors if cursor.name == "STF"), None)
    detail = [cursor for cursor in cursors if cursor.name == "PRA"]
    facts: dict[str, Any] = {
        "provider.npi": _npi(practitioner, entry),
        "provider.specialty": next((code for cursor in detail if (code := cursor.get(5))), ""),
        "credentials": _credentials(detail, [cursor for cursor in cursors if cursor.name == "CER"]),
        "request.serviceStart": received_on.isoformat(),
    }
    if entry is not None:
        facts["provider.change"] = entry.get(1)
        facts["request.serviceStart"] = _day(entry.get(3)) or received_on.isoformat()
    if staff is not None and staff.get(7) in ACTIVE:
        facts["provider.active"] = ACTIVE[staff.get(7)]
    return facts


def _npi(practitioner: Resource, entry: Cursor | None) -> str:
    for held in practitioner.get("identifier", ()):
        kinds = {coding.get("code") for coding in held.get("type", {}).get("coding", ())}
        if held.get("system") == NPI or "NPI" in kinds:
            return str(held["value"])
    key = entry.get(4) if entry is not None else ""
    return key if is_npi(key) else ""


def _credentials(detail: Iterable[Cursor], certificates: Iterable[Cursor]) -> list[dict[str, str]]:
    found: dict[str, dict[str, str]] = {}
    for cursor in detail:
        for parts in cursor.repetitions(6):
            number, kind, expires = part(parts, 1), part(parts, 2), part(parts, 4)
            found[number or f"{kind}{len(found)}"] = {"type": KINDS.get(kind, kind), "expires": _day(expires)}
    for cursor in certificates:
        held = found.setdefault(cursor.get(2) or str(len(found)), {})
        kind = cursor.get(10)
        held["type"] = KINDS.get(kind, kind) or held.get("type", "")
        held["expires"] = _day(cursor.get(27)) or held.get("expires", "")
        held["status"] = STATUS.get(cursor.get(31), cursor.get(31).lower())
    return [{name: value for name, value in held.items() if value} for held in found.values()]


def _day(text: str) -> str:
    """YYYYMMDD… → ISO; nothing where the day is not said or is none."""
    try:
        return date.fromisoformat(f"{text[:4]}-{text[4:6]}-{text[6:8]}").isoformat() if len(text) >= 8 else ""
    except ValueError:
        return ""
