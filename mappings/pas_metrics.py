"""What the event log keeps of each decided line for the public metrics of CMS-0057-F. Codes only: no PHI.

Standard or expedited, and when it was received, the case's first event says; the time of the decision is the event's.
"""

from __future__ import annotations

import re
from typing import Any

from gateway.core.ports import Decision

APPEALS = frozenset({"1", "2"})
"""UM02: appeal, immediate and standard."""
DRUG_SYSTEMS = frozenset({"http://hl7.org/fhir/sid/ndc", "http://www.nlm.nih.gov/research/umls/rxnorm"})
DRUG_LETTER = "J"
"""HCPCS level II: drugs other than oral ones. The metrics exclude drugs of any kind."""

_CODE = re.compile(r"[A-Z]?[0-9]{3,5}[A-Z]?|[0-9]{4,5}-[0-9]{3,4}-[0-9]{1,2}|[0-9]{1,8}|[0-9]{11}", re.ASCII)
"""HCPCS, CPT, DRG, revenue, NDC and RxNorm codes. Senders type anything there, and what is no code may be a name."""


def decided_lines(facts: dict[str, Any], decision: Decision) -> list[dict[str, Any]]:
    """A row for each decided line: sequence, action, service code; `appeal` and `drug` where they are so."""
    services = {row.get("sequence"): row for row in facts.get("services", [])}
    whole = str(facts.get("request.certificationType", ""))
    return [_line(item.sequence, item.action, services.get(item.sequence, {}), whole) for item in decision.items]


def _line(sequence: int, action: str, service: dict[str, Any], whole: str) -> dict[str, Any]:
    code = str(service.get("code", ""))
    code = code if _CODE.fullmatch(code) else ""
    row: dict[str, Any] = {"sequence": sequence, "action": action, "service": code}
    if str(service.get("certificationType") or whole) in APPEALS or whole in APPEALS:
        row["appeal"] = True
    if service.get("system") in DRUG_SYSTEMS or (len(code) == 5 and code.startswith(DRUG_LETTER)):
        row["drug"] = True
    return row
