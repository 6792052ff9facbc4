"""OBX → Observation (or DocumentReference for embedded and referenced documents); the value by its type (OBX-2)."""

from __future__ import annotations

import base64
from typing import Any

from adapters.hl7.wire import NULL

from . import primitives
from .actors import organization, practitioner
from .contacts import xad
from .cursor import LEAF, PAIR, Components, Cursor
from .datatypes import REGISTRY, cwe, unit
from .environment import Parts, bare, part
from .graph import Resource, absent, reference
from .job import Job, Scope, concept, handles

_TEXT = frozenset({"ST", "TX", "FT", "ID", "IS", "SI", "", "NULL"})
_CODED = frozenset({"CE", "CF", "CNE", "CWE"})
_DATED = frozenset({"DT", "DTM", "TS"})
_UNITS = Components({1: "code", 2: "unit", 3: "system"})
_LABORATORY = Components(
    {1: "name", 2: "name", 3: "identifier", 6: "identifier", 7: "identifier", 8: "identifier", 10: "identifier"}
)
_DOCUMENTS = frozenset({"ED", "RP"})


@handles("OBX")
def observation(cursor: Cursor, scope: Scope) -> None:
    """OBX → Observation, result of the report at hand, or content of the document at hand."""
    kind = cursor.get(2).strip().upper()
    cursor.mark(2, "Observation.value[x] type", LEAF, 1)
    if scope.document is not None and scope.group.name == "OBSERVATION":
        _content(cursor, kind, scope.document, scope)
        return
    resource = scope.make("Observation", scope.local_key(cursor), cursor)
    resource.setdefault("code", absent())
    _status(cursor, resource, scope)
    if kind in _DOCUMENTS and cursor.raw(5):
        document = _document(cursor, kind, resource, scope)
        resource["derivedFrom"] = [reference(document)]
    else:
        put_value(resource, kind, cursor, 5, scope)
    _performers(cursor, resource, scope)
    scope.link(resource)
    scope.at_visit(resource)
    if scope.specimen is not None and scope.job.code != "RQA":
        resource["specimen"] = reference(scope.specimen)
    if scope.report is not None:
        cursor.mark(1, "DiagnosticReport.result (order)", LEAF, 1)
        scope.report.setdefault("result", []).append(reference(resource))
    if scope.order is not None:
        resource["basedOn"] = [reference(scope.order)]
    scope.observation = resource


_STATUSES = {"F": "final", "C": "corrected", "P": "preliminary", "R": "registered", "I": "registered",
             "S": "preliminary", "A": "amended", "D": "entered-in-error", "W": "entered-in-error", "X": "cancelled",
             "U": "final", "B": "final", "V": "final", "O": "registered", "N": "cancelled"}  # fmt: skip
"""Table 0085."""


def _status(cursor: Cursor, resource: Resource, scope: Scope) -> None:
    """Observation.status."""
    code = cursor.get(11).strip().upper()
    status = _STATUSES.get(code)
    if code:
        cursor.mark(11, "Observation.status", None, 1)
        if status is None:
            scope.env.unmapped.append(("ObservationResultStatusCodesInterpretation", code))
    resource["status"] = status or ("unknown" if code else "final")
    if code == "N":
        resource["dataAbsentReason"] = concept("http://terminology.hl7.org/CodeSystem/data-absent-reason", "not-asked")


def put_value(resource: Resource, kind: str, cursor: Cursor, number: int, scope: Scope) -> None:
    """Set value[x] from a field of the type `kind`; what does not fit its type stays as text."""
    if not cursor.raw(number):
        return
    repetitions = [parts for parts in cursor.repetitions(number) if not bare(parts, "")]
    if not repetitions or (len(repetitions) == 1 and bare(repetitions[0], NULL)):
        resource["dataAbsentReason"] = concept("http://terminology.hl7.org/CodeSystem/data-absent-reason", "unknown")
        cursor.mark(number, "Observation.dataAbsentReason")
        return
    first = repetitions[0]
    element, value = _typed(kind, first, cursor, scope)
    if value is None or (len(repetitions) > 1 and kind not in _CODED):
        _text(resource, cursor, number)
        return
    resource[element] = value
    cursor.mark(number, f"Observation.{element}", None, 1)
    for more in repetitions[1:]:
        _, other = _typed(kind, more, cursor, scope)
        if other is not None:
            component = {"code": resource.get("code") or absent(), element: other}
            resource.setdefault("component", []).append(component)
    cursor.mark(number, f"Observation.component.{element}")


def _text(resource: Resource, cursor: Cursor, number: int) -> None:
    """All repetitions as lines of text."""
    lines = []
    for repetition in cursor.segment.field(number):
        words = [sub for component in repetition.components for sub in component if sub.strip() and sub != NULL]
        lines.append(repetition.plain() if len(words) < 2 else " ".join(words))
    if text := primitives.string("\n".join(lines)):
        resource["valueString"] = text
        cursor.mark(number, "Observation.valueString")


def _typed(kind: str, parts: Parts, cursor: Cursor, scope: Scope) -> tuple[str, Any]:
    """(value[x] element, value); value None where text must do."""
    text = part(parts, 1)
    if kind in _TEXT:
        return "valueString", None
    if kind == "NM":
        value = primitives.number(text)
        return "valueQuantity", None if value is None else {"value": value} | _units(cursor)
    if kind == "SN":
        return _structured(parts, cursor)
    if kind in _CODED:
        return "valueCodeableConcept", cwe(parts, scope.env, None)
    if kind in _DATED:
        return "valueDateTime", primitives.date_time(text, scope.env.zone)
    if kind == "TM":
        digits = text.strip()
        ready = len(digits) in {4, 6} and digits.isdigit() and int(digits[:2]) < 24 and int(digits[2:4]) < 60
        return "valueTime", f"{digits[:2]}:{digits[2:4]}:{digits[4:6] or '00'}" if ready else None
    if kind == "DR":
        return "valuePeriod", REGISTRY["DR"].convert(parts, scope.env, None)
    if kind == "CQ":
        return "valueQuantity", REGISTRY["CQ"].convert(parts, scope.env, None)
    return "valueString", None


def _units(cursor: Cursor) -> dict[str, Any]:
    if not cursor.raw(6) or cursor.name != "OBX":
        return {}
    cursor.mark(6, "Observation.valueQuantity", _UNITS, 1)
    return unit(cursor.first(6))


_COMPARATORS = {"<": "<", "<=": "<=", ">": ">", ">=": ">=", "=": None, "": None}


def _structured(parts: Parts, cursor: Cursor) -> tuple[str, Any]:
    """SN → Quantity, Range or Ratio."""
    comparator, low, separator, high = (part(parts, number).strip() for number in (1, 2, 3, 4))
    first, second = primitives.number(low), primitives.number(high)
    if first is None or comparator not in _COMPARATORS:
        return "valueString", None
    units = _units(cursor)
    if separator == "-" and second is not None:
        return "valueRange", {"low": {"value": first} | units, "high": {"value": second} | units}
    if separator in {":", "/"} and second is not None:
        return "valueRatio", {"numerator": {"value": first} | units, "denominator": {"value": second}}
    quantity = {"value": first} | units
    if sign := _COMPARATORS[comparator]:
        quantity["comparator"] = sign
    if separator == "+":
        quantity["comparator"] = ">="
    return "valueQuantity", quantity


def _performers(cursor: Cursor, resource: Resource, scope: Scope) -> None:
    """OBX-23, 24, 25: the performing organization, its address, its medical director."""
    found = organization(cursor.first(23), scope.env) if cursor.raw(23) else None
    if found is not None:
        cursor.mark(23, "Observation.performer", _LABORATORY)
        if cursor.raw(24) and (address := xad(cursor.first(24), scope.env, None)):
            if address not in found.setdefault("address", []):
                found["address"].append(address)
            cursor.mark(24, "Organization.address")
    director = practitioner(cursor.first(25), scope.env) if cursor.raw(25) else None
    if director is not None:
        role, new = scope.env.graph.resource(
            "PractitionerRole", f"MDIR|{director['id']}|{found['id'] if found else ''}"
        )
        if new:
            role["practitioner"] = reference(director)
            role["code"] = [concept("http://terminology.hl7.org/CodeSystem/v2-0912", "MDIR")]
            if found is not None:
                role["organization"] = reference(found)
        resource.setdefault("performer", []).append(reference(role))
        cursor.mark(25, "PractitionerRole.practitioner")
    elif found is not None:
        resource.setdefault("performer", []).append(reference(found))


def _attachment(cursor: Cursor, kind: str, scope: Scope) -> dict[str, Any] | None:
    parts = cursor.first(5)
    if kind in _DOCUMENTS:
        value: dict[str, Any] | None = REGISTRY[kind].convert(parts, scope.env, None)
        return value
    return None


def _document(cursor: Cursor, kind: str, observation_: Resource, scope: Scope) -> Resource:
    """An embedded or referenced document → DocumentReference."""
    document = scope.env.graph.add("DocumentReference", scope.local_key(cursor))
    document["status"] = "current"
    if observation_["code"].get("coding") or observation_["code"].get("text"):
        document["type"] = observation_["code"]
    document["content"] = [{"attachment": _attachment(cursor, kind, scope) or absent()}]
    cursor.mark(5, "DocumentReference.content.attachment")
    scope.link(document)
    scope.job.note(cursor, document)
    return document


def _content(cursor: Cursor, kind: str, document: Resource, scope: Scope) -> None:
    """OBX of a document message: its text or attachment becomes content."""
    attachment = _attachment(cursor, kind, scope)
    cursor.owner = document
    cursor.mark(1, "DocumentReference.content (order)", LEAF, 1)
    cursor.mark(5, "DocumentReference.content.attachment")
    text = ""
    if attachment is None:
        lines = []
        for repetition in cursor.segment.field(5):
            words = [sub for component in repetition.components for sub in component if sub.strip() and sub != NULL]
            lines.append(repetition.plain() if len(words) < 2 else " ".join(words))
        text = "\n".join(lines)
    if status := {"F": "final", "P": "preliminary", "C": "amended"}.get(cursor.get(11)):
        document.setdefault("docStatus", status)
        cursor.mark(11, "DocumentReference.docStatus", LEAF, 1)
    if attachment is None and not text.strip():
        return
    if meaning := cwe(cursor.first(3), scope.env, None):
        if meaning not in document.setdefault("category", []):
            document["category"].append(meaning)
        cursor.mark(3, "DocumentReference.category", None, 1)
    content = document.setdefault("content", [])
    if content and content[0]["attachment"].get("extension"):
        content.clear()
    texts = scope.job.texts
    if attachment is None and texts and content and content[-1]["attachment"] is texts[-1][0]:
        texts[-1][1].append(text)
        return
    if attachment is None:
        attachment = {"contentType": "text/plain"}
        texts.append((attachment, [text]))
    if title := cursor.get(3, 2) or cursor.get(3):
        attachment.setdefault("title", title)
        cursor.mark(3, "DocumentReference.content.attachment.title", PAIR, 1)
    content.append({"attachment": attachment})


def finish_documents(job: Job) -> None:
    """Lines of one report sent as several OBX become one text, encoded once."""
    for attachment, lines in job.texts:
        attachment["data"] = base64.b64encode("\n".join(lines).encode("utf-8", "replace")).decode("ascii")
