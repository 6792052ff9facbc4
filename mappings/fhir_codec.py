"""FHIR bytes → business messages (gateway.core.ports.Codec): PAS `$submit`, CDex `$submit-attachment`, plain R4.

Never raises on bad input: the answer is one OperationOutcome. The positive answer of `$submit` is the pended Bundle:
what the caller gets when accept is done and no decision has come yet; the edge renders the decision when one has.
`reply` carries what the way back and the store need: `rail`, `version`, `client`, `aliases` and `parents` (lookup
keys; PHI, stored as tokens only), and the priority rule.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from adapters.fhir.wire import (
    FHIR_JSON,
    LIMITS,
    BundleIndex,
    Limits,
    closure,
    entries,
    media_form,
    operation_outcome,
    outcome_of,
    parse,
    serialize,
    validate_attachment,
    validate_resource,
    validate_submit,
)
from gateway.core.envelope import Intake, Raw, Reception
from gateway.core.errors import GatewayError, InvalidMessage, Issue, UnsupportedMessage
from gateway.core.ledger import Ledger
from gateway.core.ports import Reading
from mappings.attachments import read_attachment
from mappings.decision_to_claimresponse import pended, render
from mappings.fhir_ledger import trace_leaves
from mappings.fhir_pas import content_hash, read_request
from mappings.fhir_r4 import REQUEST, authorization_keys, facts_of_bundle, message_type, patient_key, prior_claims

MAPPING_R4 = "fhir_r4@1"
LEADING = ("Claim", "CoverageEligibilityRequest")
"""Resources of an R4 Bundle that are messages of their own, each with what it references."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FhirCodec:
    """One FHIR endpoint's way of reading: `operation` is `submit`, `submit-attachment` or `intake` (plain R4)."""

    operation: str = "submit"
    version: str = "2.2.1"
    strict: bool = True
    """False: profile violations are warnings (per partner; decision 0041)."""
    limits: Limits = LIMITS
    base_url: str = "https://localhost/fhir/pas/2.2.1"
    accept: str = FHIR_JSON
    """Media type of the answers."""

    def read(self, raw: Raw, reception: Reception) -> Reading:
        """Parse, validate and map one body; the answer says what is wrong, or that it is accepted."""
        try:
            resource = parse(raw.data or b"", raw.media_type, self.limits)
            read = {"submit": self._submit, "submit-attachment": self._attachment, "intake": self._intake}
            return read[self.operation](resource, raw, reception)
        except GatewayError as error:
            answer = serialize(outcome_of(error), self._answer_type())
            return Reading(answer=lambda _late: answer, refused=True, issues=error.issues or (_issue(error),))

    def _submit(self, bundle: dict[str, Any], raw: Raw, reception: Reception) -> Reading:
        issues = _checked(validate_submit(bundle, version=self.version, strict=self.strict))
        facts, ledger, keys = read_request(bundle, reception, body_sha256=raw.sha256)
        intake = Intake(
            type=keys.type,
            format="fhir-r4",
            natural_key=keys.natural_key,
            case_key=keys.case_key,
            ordering_key=keys.ordering_key,
            raw=raw,
            resource=bundle,
            facts=facts,
            ledger=ledger,
            reply={
                "rail": "fhir-pas",
                "lane": "fast",
                "version": self.version,
                "client": reception.client,
                "aliases": [list(key) for key in keys.aliases],
                "parents": [list(key) for key in keys.parents],
                "npis": list(keys.npis),
                "priorityRule": facts.get("request.priorityRule", ""),
            },
        )
        waiting = pended(keys.content_hash, 0, bundle, reception.received_at)

        def positive() -> dict[str, Any]:
            return render(bundle, waiting, version=self.version, base_url=self.base_url)

        return Reading(intakes=(intake,), answer=self._answer(positive), issues=issues)

    def _attachment(self, parameters: dict[str, Any], raw: Raw, reception: Reception) -> Reading:
        issues = _checked(validate_attachment(parameters))
        found = read_attachment(parameters)
        ledger = Ledger("cdex_attachment@1")
        trace_leaves(parameters, ledger)
        intake = Intake(
            type="authorization.attachment" if found.attach_to == "preauthorization" else "claim.attachment",
            format="fhir-r4",
            natural_key=("cdex", reception.client, found.tracking_id, raw.sha256),
            case_key=found.lookup[0],
            ordering_key=found.lookup[0],
            raw=raw,
            resource=parameters,
            facts=found.facts(reception.received_at),
            ledger=ledger,
            reply={"rail": "cdex", "client": reception.client, "parents": [list(key) for key in found.lookup]},
        )
        return Reading(intakes=(intake,), answer=self._answer(_accepted), issues=issues)

    def _intake(self, resource: dict[str, Any], raw: Raw, reception: Reception) -> Reading:
        issues = _checked(validate_resource(resource))
        bundle = resource if resource["resourceType"] == "Bundle" else _wrapped(resource)
        intakes = tuple(self._message(part, number, raw, reception) for number, part in enumerate(_messages(bundle)))
        return Reading(intakes=intakes, answer=self._answer(_accepted), issues=issues)

    def _message(self, bundle: dict[str, Any], number: int, raw: Raw, reception: Reception) -> Intake:
        kind = message_type(bundle)
        if kind is None:
            raise UnsupportedMessage("no resource of this Bundle is served here", location="Bundle.entry")
        ledger = Ledger(MAPPING_R4)
        trace_leaves(bundle, ledger)
        patient = patient_key(bundle)
        content = content_hash(bundle.get("entry"))
        case: tuple[str, ...] = () if kind.startswith("clinical.") else ("fhir-r4", reception.client, kind, content)
        reply: dict[str, Any] = {"rail": "fhir-r4", "client": reception.client}
        if kind == REQUEST:
            kind, aliases, parents = authorization_keys(bundle, reception.client)
            reply |= {"aliases": [list(key) for key in aliases], "parents": [list(key) for key in parents]}
            case = next((("fhir-r4", *key) for key in aliases if key[0] == "claim-address"), case)
        request = reception.attributes.get("idempotency-key") or raw.sha256
        return Intake(
            type=kind,
            format="fhir-r4",
            natural_key=("fhir-r4", reception.client, request, str(number)),
            case_key=case,
            ordering_key=("patient", *patient) if patient else (case or ("fhir-r4", reception.client, content)),
            raw=raw,
            resource=bundle,
            facts=facts_of_bundle(bundle, reception),
            ledger=ledger,
            reply=reply,
        )

    def _answer(self, positive: Callable[[], dict[str, Any]]) -> Callable[[GatewayError | None], bytes]:
        form = self._answer_type()
        return lambda error: serialize(positive() if error is None else outcome_of(error), form)

    def _answer_type(self) -> str:
        try:
            return media_form(self.accept)
        except UnsupportedMessage:
            return FHIR_JSON


def _checked(issues: list[Issue]) -> list[Issue]:
    """The warnings; raises InvalidMessage with every issue when one is an error."""
    if any(issue.severity in ("error", "fatal") for issue in issues):
        raise InvalidMessage("the resource breaks its profile", issues=tuple(issues))
    return issues


def _issue(error: GatewayError) -> Issue:
    return Issue(error.code, error.location, error.message)


def _accepted() -> dict[str, Any]:
    return operation_outcome([Issue("informational", "", "Accepted", "information")])


def _wrapped(resource: dict[str, Any]) -> dict[str, Any]:
    return {"resourceType": "Bundle", "type": "collection", "entry": [{"resource": resource}]}


def _messages(bundle: dict[str, Any]) -> list[dict[str, Any]]:
    """The business messages of an R4 Bundle: each leading resource first in a Bundle with all it refers to.

    A Claim that another one names as its prior is no message: it comes along to say what is revised.
    """
    all_entries, index = entries(bundle), BundleIndex(bundle)
    leading = [n for n, e in enumerate(all_entries) if (e.get("resource") or {}).get("resourceType") in LEADING]
    named = {
        prior
        for number in leading
        for one in prior_claims(all_entries[number]["resource"])
        if (prior := index.entry_number(one, number)) != number
    }
    # Claims that name each other are a fault of the sender's; each is looked at, none is lost.
    leading = [n for n in leading if n not in named] or leading
    if not leading:
        return [bundle]
    found = []
    for number in leading:
        rest = sorted(closure(bundle, number, index=index).reached - {number})
        found.append(bundle | {"entry": [all_entries[number], *(all_entries[other] for other in rest)]})
    return found
