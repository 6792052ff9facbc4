"""One `Decision` on a Claim of an EHR's feed → the ClaimResponse that is written to that EHR (R4 ClaimResponse).

It is the ClaimResponse of the PAS answer with its codes, but it stands alone among the EHR's own resources: every
reference leads to a resource there, at the address the EHR has named it by; what has no address is meant by its
identifier; what the payer asks for is contained. The profile is not claimed: the Claim did not follow it either.

One Claim has one ClaimResponse: a later decision replaces an earlier one, and the EHR keeps its versions. The rejection
of a message (AAA) is a resource of its own, because what was decided before stands.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from adapters.fhir.wire import BundleIndex, entries, terms
from adapters.fhir.wire.elements import code, rows
from adapters.fhir.wire.references import ABSOLUTE, references_in
from gateway.core.ports import Decision
from mappings import decision_to_claimresponse
from mappings.bundle_echo import derived_uuid
from mappings.fhir_pas import content_hash
from mappings.own_addresses import address, meant

Element = dict[str, Any]

IN_BUNDLE = "Bundle.entry[0].resource"
"""Where a business rejection of a PAS request points to; here the Claim stands alone."""


def render(message: Element, decision: Decision, *, base_url: str, pas_url: str) -> Element:
    """The ClaimResponse, byte-equal for the same decision.

    `message`: the R4 Bundle, its Claim first; `base_url`: of the EHR's FHIR server; `pas_url`: our PAS endpoint, which
    takes what is asked for. Raises Unmappable as the PAS answer does.
    """
    answer = decision_to_claimresponse.render(_at_home(message, base_url), decision, base_url=pas_url)
    response, others = entries(answer)[0]["resource"], entries(answer)[1:]
    inside = {f"#{row.get('id')}": row for row in rows(entries(message)[0]["resource"], "contained")}
    own = _Own(base=f"{base_url}/", meant=inside | {str(row["fullUrl"]): row["resource"] for row in others})
    asked = [own.kept(row["resource"]) for row in others if row["resource"]["resourceType"] == "CommunicationRequest"]
    head: Element = {"resourceType": "ClaimResponse", "id": identity(message, decision)}
    if asked:
        head["contained"] = [{name: value for name, value in row.items() if name != "meta"} for row in asked]
    rest = {name: own.kept(value) for name, value in response.items() if name not in ("resourceType", "id", "meta")}
    for error in rest.get("error", ()):
        for row in rows(error, "extension"):
            if row.get("url") == terms.ERROR_PATH:
                row["valueString"] = str(row["valueString"]).replace(IN_BUNDLE, "Claim")
    return head | rest


def identity(message: Element, decision: Decision) -> str:
    """The id we give it: one for each Claim of a case, and one for each rejection."""
    first = entries(message)[0]
    claim = address(first) or content_hash(first["resource"])
    rejection = str(decision.version) if decision.errors and not decision.items else ""
    return derived_uuid(decision.case_id, "ehr", claim, rejection)


def _at_home(message: Element, base_url: str) -> Element:
    """The message with all addresses of its sender absolute; what it only refers to stands in by its address."""
    index = BundleIndex(message)
    listed: list[Element] = []
    outside: set[str] = set()
    for number, entry in enumerate(index.rows):
        where = address(entry)
        listed.append({**entry, "fullUrl": _absolute(where, base_url)} if where else entry)
        for reference in references_in(entry.get("resource"), ""):
            if not index.find(reference.value, number):
                outside.add(_absolute(meant(index, {"reference": reference.value}, number), base_url))
    for url in sorted(outside):
        if found := ABSOLUTE.match(url):
            listed.append({"fullUrl": url, "resource": {"resourceType": found[2], "id": found[3]}})
    return message | {"entry": listed}


def _absolute(where: str, base_url: str) -> str:
    return where if not where or "://" in where else f"{base_url}/{where}"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Own:
    """References as the EHR understands them."""

    base: str
    meant: dict[str, Element]
    """What has no address there, by the reference that means it."""

    def kept(self, value: Any) -> Any:
        """A copy whose references lead to resources of the EHR, or say by which identifier they mean one."""
        if isinstance(value, list):
            return [self.kept(child) for child in value]
        if not isinstance(value, dict):
            return value
        copy = {name: self.kept(child) for name, child in value.items()}
        reference = value.get("reference")
        if not isinstance(reference, str):
            return copy
        if reference.startswith(self.base):
            return copy | {"reference": reference.removeprefix(self.base)}
        if "://" in reference:
            return copy
        resource = self.meant.get(reference, {})
        if resource.get("resourceType") == "CommunicationRequest":
            return copy | {"reference": f"#{resource['id']}"}
        del copy["reference"]
        return _logical(copy, resource)


def _logical(reference: Element, resource: Element) -> Element:
    """A Reference by identifier (R4 2.3.0.1): the medical record number before others; else said to be unknown."""
    named = [row for row in rows(resource, "identifier") if row.get("value")]
    first = next((row for row in named if code(row.get("type")) == "MR"), next(iter(named), None))
    if "identifier" not in reference and first is not None:
        reference["identifier"] = first
    if "identifier" in reference and resource.get("resourceType"):
        reference.setdefault("type", resource["resourceType"])
    return reference or {"extension": [{"url": terms.DATA_ABSENT, "valueCode": "unknown"}]}
