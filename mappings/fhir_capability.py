"""CapabilityStatements (PAS 2.2.1, PAS 2.0.1, plain R4) and the FHIR paths of the OpenAPI document, as data.

PAS spec-55: the Subscription topic is named by extension, with create, update and delete.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from adapters.fhir.wire.terms import PAS, SUBSCRIPTION_TOPIC, TOPIC_CANONICAL

Element = dict[str, Any]

READ_TYPES = ("Bundle", "ClaimResponse", "CommunicationRequest", "Task")
"""What we issue and serve to its receiver by read."""
INTAKE_TYPES = (
    "Bundle",
    "Claim",
    "Communication",
    "CoverageEligibilityRequest",
    "DocumentReference",
    "Encounter",
    "Patient",
    "ServiceRequest",
    "Task",
)
"""What the plain R4 intake takes by create."""
MEDIA_TYPES = ("application/fhir+json", "application/fhir+xml")
FORMATS = ["json", "xml", *MEDIA_TYPES]


def pas_capability(*, base_url: str, now: datetime, version: str = "2.2.1", software: str = "0.1.0") -> Element:
    """The CapabilityStatement of one PAS endpoint."""
    operations = [
        {"name": "submit", "definition": f"{PAS}/OperationDefinition/Claim-submit|{version}"},
        {"name": "inquire", "definition": f"{PAS}/OperationDefinition/Claim-inquiry|{version}"},
    ]
    subscription = {
        "extension": [{"url": TOPIC_CANONICAL, "valueCanonical": SUBSCRIPTION_TOPIC}],
        "type": "Subscription",
        "interaction": [{"code": code} for code in ("create", "read", "update", "delete")],
        "operation": [
            {
                "name": "status",
                "definition": "http://hl7.org/fhir/uv/subscriptions-backport/OperationDefinition/"
                "backport-subscription-status",
            }
        ],
    }
    resources: list[Element] = [{"type": "Claim", "operation": operations}, subscription]
    resources += [{"type": name, "interaction": [{"code": "read"}]} for name in READ_TYPES]
    rest: Element = {"mode": "server", "security": _security(), "resource": resources}
    if version != "2.0.1":
        definition = "http://hl7.org/fhir/us/davinci-cdex/OperationDefinition/submit-attachment"
        rest["operation"] = [{"name": "submit-attachment", "definition": definition}]
    statement = _statement(f"Da Vinci PAS {version}", base_url, now, software)
    implemented = [f"{PAS}/CapabilityStatement/IntermediaryCapabilities|{version}"]
    guide = [f"{PAS}/ImplementationGuide/hl7.fhir.us.davinci-pas|{version}"]
    return statement | {"instantiates": implemented, "implementationGuide": guide, "rest": [rest]}


def r4_capability(*, base_url: str, now: datetime, software: str = "0.1.0") -> Element:
    """The CapabilityStatement of the plain R4 intake: create only."""
    resources = [{"type": name, "interaction": [{"code": "create"}]} for name in INTAKE_TYPES]
    rest = {"mode": "server", "security": _security(), "resource": resources, "interaction": [{"code": "batch"}]}
    return _statement("FHIR R4 intake", base_url, now, software) | {"rest": [rest]}


def _statement(title: str, base_url: str, now: datetime, software: str) -> Element:
    return {
        "resourceType": "CapabilityStatement",
        "status": "active",
        "date": now.date().isoformat(),
        "kind": "instance",
        "software": {"name": "authorization-gateway", "version": software},
        "implementation": {"description": title, "url": base_url},
        "fhirVersion": "4.0.1",
        "format": FORMATS,
    }


def _security() -> Element:
    service = {"system": "http://terminology.hl7.org/CodeSystem/restful-security-service", "code": "SMART-on-FHIR"}
    return {
        "service": [{"coding": [service], "text": "SMART Backend Services"}],
        "description": "OAuth 2.0 client credentials with private_key_jwt (RS384, ES384)",
    }


def openapi_paths(*, version: str = "2.2.1") -> Element:
    """The OpenAPI 3.1 path items of one PAS endpoint, relative to its base."""
    bundle = _body("A Bundle; see the guide's profiles")
    paths: Element = {
        "/metadata": {"get": _operation("The CapabilityStatement", secured=False)},
        "/Claim/$submit": {"post": _operation("Submit, update or cancel a prior authorization", bundle)},
        "/Claim/$inquire": {"post": _operation("Ask for prior authorizations", bundle)},
        "/Subscription": {"post": _operation("Subscribe to answers", _body("A Subscription"), success="201")},
        "/Subscription/{id}": {
            "parameters": [_identifier()],
            "get": _operation("Read a subscription"),
            "put": _operation("Change a subscription", _body("A Subscription")),
            "delete": _operation("End a subscription", success="204"),
        },
        "/Subscription/{id}/$status": {"parameters": [_identifier()], "get": _operation("Status and event count")},
    }
    for name in READ_TYPES:
        paths[f"/{name}/{{id}}"] = {"parameters": [_identifier()], "get": _operation(f"Read a {name} we issued")}
    if version != "2.0.1":
        attachment = _body("CDex Parameters")
        paths["/$submit-attachment"] = {"post": _operation("Send attachments", attachment)}
    return paths


def openapi_intake_paths() -> Element:
    """The OpenAPI 3.1 path items of the plain R4 intake."""
    paths: Element = {"/metadata": {"get": _operation("The CapabilityStatement", secured=False)}}
    paths["/"] = {"post": _operation("Take in a Bundle", _body("A Bundle"), success="202")}
    for name in INTAKE_TYPES[1:]:
        paths[f"/{name}"] = {"post": _operation(f"Take in a {name}", _body(f"A {name}"), success="201")}
    return paths


def _operation(summary: str, body: Element | None = None, *, success: str = "200", secured: bool = True) -> Element:
    responses: Element = {success: _response("Done") if success != "204" else {"description": "Done"}}
    statuses = ("400", "404", "406", "413", "415", "422", "429", "503") if body else ("404", "406", "429")
    for status in (*statuses, *(("401", "403") if secured else ())):
        responses[status] = _response("One OperationOutcome")
    operation: Element = {"summary": summary, "responses": responses}
    if body:
        operation["requestBody"] = body
    return operation | ({} if secured else {"security": []})


def _body(description: str) -> Element:
    schema = {"type": "object", "required": ["resourceType"], "properties": {"resourceType": {"type": "string"}}}
    content = {"application/fhir+json": {"schema": schema}, "application/json": {"schema": schema}}
    return {"description": description, "required": True, "content": content}


def _response(description: str) -> Element:
    schema = {"type": "object", "required": ["resourceType"]}
    return {"description": description, "content": {"application/fhir+json": {"schema": schema}}}


def _identifier() -> Element:
    schema = {"type": "string", "pattern": "^[A-Za-z0-9\\-.]{1,64}$"}
    return {"name": "id", "in": "path", "required": True, "schema": schema}
