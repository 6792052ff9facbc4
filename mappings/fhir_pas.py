"""A PAS request Bundle → facts, ledger and keys (PAS 2.2.1 and 2.0.1; mappings/facts.yaml).

The Bundle itself is the canonical resource, so every leaf is kept; the ledger says which became facts, and names
extensions nobody here knows. Keys: what makes a resend the same message, which case it belongs to, under which
numbers the case can be found from any rail, and which prior Claim an update continues.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from adapters.fhir.wire import BundleIndex, entries
from adapters.fhir.wire.elements import extension_value, identifier, rows
from adapters.fhir.wire.references import closure
from adapters.fhir.wire.submission import Submission
from adapters.fhir.wire.terms import ADMINISTRATION_REFERENCE, AUTHORIZATION_NUMBER, NPI
from gateway.core.envelope import Reception
from gateway.core.ledger import Ledger
from mappings.claim_model import ClaimView
from mappings.fhir_claim import member_id, party, view_claim
from mappings.fhir_facts import facts_of
from mappings.fhir_ledger import trace_leaves
from mappings.patients import patient_keys

MAPPING = "fhir_pas@1"
IDEMPOTENCY_KEY = "idempotency-key"
"""Reception attribute with the client's own key. X-Request-Id is not one: proxies write it anew on every retry."""

VOLATILE = frozenset({"timestamp", "id", "meta", "text", "language"})
"""Elements of the Bundle that a client makes anew when it builds the same request again."""
NARRATIVE = frozenset({"text", "meta"})

LookupKey = tuple[str, ...]
"""(kind, value …): a number under which a case can be found. Kinds: trace, item-trace, authorization,
administrative-reference, claim, claim-content, person. PHI: to be stored as tokens (promise 5)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestKeys:
    """What identifies a PAS request."""

    type: str
    natural_key: tuple[str, ...]
    case_key: tuple[str, ...]
    """The case's business key: client, member and content of the first Claim. An update's is that of its prior Claim:
    equal to the case's own when that was the first request, else the edge or store resolves it by `parents`."""
    ordering_key: tuple[str, ...]
    """Client and member: constant over a whole chain of updates, whatever its length."""
    parents: tuple[LookupKey, ...] = ()
    """Keys of the prior Claim an update or cancel continues, strongest first; the newest case that has one wins."""
    aliases: tuple[LookupKey, ...] = ()
    """Keys under which later updates and other rails find this request."""
    member_id: str = ""
    npis: tuple[str, ...] = ()
    """Requesting, ordering and performing providers: who may inquire (spec-53)."""
    content_hash: str = ""
    """SHA-256 of the canonical content, without what a rebuilt request makes anew."""


def read_request(
    bundle: dict[str, Any], reception: Reception, *, body_sha256: str = ""
) -> tuple[dict[str, Any], Ledger, RequestKeys]:
    """Facts, ledger and keys of a validated PAS request Bundle.

    `body_sha256` (hexadecimal, of the received bytes) makes a byte-identical resend the same message; without it the
    content hash does. Bundle.identifier alone never does: clients reuse it.
    """
    view = view_claim(bundle)
    ledger = Ledger(MAPPING)
    trace_leaves(bundle, ledger)
    return facts_of(bundle, view, reception), ledger, request_keys(bundle, view, reception, body_sha256)


def request_keys(bundle: dict[str, Any], view: ClaimView, reception: Reception, body_sha256: str = "") -> RequestKeys:
    """The keys of a request; see `RequestKeys`."""
    claim: dict[str, Any] = entries(bundle)[0]["resource"]
    content = content_hash({name: value for name, value in bundle.items() if name not in VOLATILE})
    submitted = reception.attributes.get(IDEMPOTENCY_KEY, "")
    identifier_of_bundle = "|".join(view.bundle_identifier)
    natural = ("key", submitted) if submitted else ("body", identifier_of_bundle, body_sha256 or content)
    parents = parent_keys(bundle, view, reception.client) if view.kind != "authorization.request" else ()
    aliases = aliases_of(bundle, claim, view, reception.client)
    return RequestKeys(
        type=view.kind,
        natural_key=("fhir-pas", reception.client, *natural),
        case_key=("fhir-pas", *(parents or aliases)[0]),
        ordering_key=("fhir-pas", reception.client, subject_of(bundle, view)),
        parents=parents,
        aliases=aliases,
        member_id=view.member_id,
        npis=provider_npis(bundle),
        content_hash=content,
    )


def content_hash(value: Any) -> str:
    """SHA-256 over sorted JSON without narratives and meta; decimals as written."""
    plain = json.dumps(_without_narrative(value), sort_keys=True, separators=(",", ":"), default=_digits)
    return hashlib.sha256(plain.encode()).hexdigest()


def subject_of(bundle: dict[str, Any], view: ClaimView) -> str:
    """The member number; without one, a hash of the Patient: two people must never share a case."""
    patient = BundleIndex(bundle).resource(entries(bundle)[0]["resource"].get("patient"))
    return view.member_id or content_hash(patient or {})


def claim_keys(claim: dict[str, Any], full_url: str, member: str, client: str) -> tuple[LookupKey, ...]:
    """How a later update may mean this Claim: by its whole content, then by its address."""
    by_content: LookupKey = ("claim-content", client, member, content_hash(claim))
    by_address: LookupKey = ("claim", client, member, full_url or f"Claim/{claim.get('id', '')}")
    return (by_content, by_address)


def parent_keys(bundle: dict[str, Any], view: ClaimView, client: str) -> tuple[LookupKey, ...]:
    """Keys of the prior Claim, strongest first; authorization numbers last (cancel without a prior Claim)."""
    index = BundleIndex(bundle)
    claim = entries(bundle)[0]["resource"]
    parent = Submission(bundle, claim, index, "", closure(bundle)).parent()
    found: list[LookupKey] = []
    subject = subject_of(bundle, view)
    for related in rows(claim, "related"):
        number = index.entry_number(related.get("claim"))
        url = entries(bundle)[number].get("fullUrl", "") if number is not None else ""
        if parent is not None and number is not None:
            found += claim_keys(parent, url, subject, client)
        elif isinstance(related.get("claim"), dict) and related["claim"].get("reference"):
            found.append(("claim", client, subject, str(related["claim"]["reference"])))
    return tuple(found) + number_keys(claim, view)


def aliases_of(bundle: dict[str, Any], claim: dict[str, Any], view: ClaimView, client: str) -> tuple[LookupKey, ...]:
    """All keys under which this request can be found later."""
    keys = list(claim_keys(claim, entries(bundle)[0].get("fullUrl", ""), subject_of(bundle, view), client))
    if view.trace[1]:
        keys.append(("trace", *view.trace))
    keys += [("item-trace", *trace) for line in view.lines for trace in line.traces]
    keys += patient_keys(BundleIndex(bundle).resource(claim.get("patient")) or {})
    return tuple(keys) + number_keys(claim, view)


def number_keys(claim: dict[str, Any], view: ClaimView) -> tuple[LookupKey, ...]:
    """Authorization numbers (REF-BB) and administrative references (REF-NT) the request names, Claim level first."""
    kinds = (("authorization", AUTHORIZATION_NUMBER), ("administrative-reference", ADMINISTRATION_REFERENCE))
    found = [
        (kind, str(extension_value(element, url)))
        for element in [claim, *(line.element for line in view.lines)]
        for kind, url in kinds
        if extension_value(element, url)
    ]
    return tuple(dict.fromkeys(found))


def provider_npis(bundle: dict[str, Any]) -> tuple[str, ...]:
    """NPIs of the requester, the care team and every practitioner in the Bundle, each once."""
    index = BundleIndex(bundle)
    claim = entries(bundle)[0]["resource"]
    found = [party(index, claim.get("provider")).npi]
    found += [party(index, row.get("provider")).npi for row in rows(claim, "careTeam")]
    for entry in entries(bundle):
        resource = entry.get("resource") or {}
        if resource.get("resourceType") in ("Practitioner", "PractitionerRole"):
            found.append(identifier(resource, system=NPI))
    return tuple(dict.fromkeys(value for value in found if value))


def member_of(bundle: dict[str, Any]) -> str:
    """The member number of the first Claim's patient."""
    return member_id(BundleIndex(bundle), entries(bundle)[0]["resource"])


def _without_narrative(value: Any) -> Any:
    if isinstance(value, dict):
        left_out = NARRATIVE if "resourceType" in value else ()
        return {
            name: _without_narrative(child) if isinstance(child, dict | list) else child
            for name, child in value.items()
            if name not in left_out
        }
    if isinstance(value, list):
        return [_without_narrative(child) if isinstance(child, dict | list) else child for child in value]
    return value


def _digits(value: object) -> str:
    if isinstance(value, Decimal):
        return f"decimal:{value}"
    raise TypeError(f"no JSON form for {type(value).__name__}")
