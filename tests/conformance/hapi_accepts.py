"""Does HAPI FHIR accept every resource we emit? Run: `make conformance`.

HAPI's strict JSON and XML parsers read each sample answer and must agree on it; its R4 instance validator must find no
error. Unknown extensions and profiles are allowed: the guide's own profiles bind to X12 value sets that nobody may
ship. Needs the package `jpype1` and, on the first run, Maven Central (90 jars, 195 MB, checked against committed sums).
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

from adapters.fhir import wire
from adapters.fhir.inbound.metadata import pas_statement
from adapters.fhir.wire.outcome import ISSUE_TYPES
from gateway.core.errors import Issue
from gateway.stack.cache import cache_folder
from gateway.stack.java import jars, java
from gateway.stages.clock import notice
from mappings.decision_to_claimresponse import pended, render
from mappings.inquire import render_inquiry_response
from mappings.review_actions import ACTIONS
from mappings.subscription_notification import events_bundle, status_bundle
from mappings.subscription_notification import render as notify
from tests.mappings.fhir import samples
from tests.mappings.fhir.test_inquire import case
from tests.mappings.fhir.test_response import ASKED, session
from tests.mappings.fhir.test_subscription import BASE, event, subscription

VERSION = "8.4.0"
COORDINATE = "+".join(
    f"ca.uhn.hapi.fhir:{name}:{VERSION}"
    for name in (
        "hapi-fhir-structures-r4",
        "hapi-fhir-validation",
        "hapi-fhir-validation-resources-r4",
        "hapi-fhir-caching-caffeine",
    )
)
SUPPORT = "org.hl7.fhir.common.hapi.validation.support"
Resource = dict[str, Any]


def emitted() -> Iterator[tuple[str, Resource]]:
    """Everything we send, by name."""
    for scheme in ("http", "urn"):
        request, change = samples.request(scheme), samples.update(scheme)
        for version in ("2.2.1", "2.0.1"):
            for action in ACTIONS:
                asked = ASKED if action == "A4" else ()
                decision = samples.decide(action, request, requested_information=asked)
                yield f"answer {action} {version} {scheme}", render(request, decision, version=version)
            waiting = samples.decide("A4", request, requested_information=ASKED)
            later = notice(waiting, version=9, now=samples.DECIDED, due_at=samples.DECIDED, reason="More is needed.")
            yield f"extended {version} {scheme}", render(request, later, version=version)
            yield (
                f"update {version} {scheme}",
                render(change, pended("c", 1, change, samples.RECEIVED), version=version),
            )
    yield from ((f"session {number}", answer) for number, answer in enumerate(session()))
    for version in ("2.2.1", "2.0.1"):
        for found in ([], [case()]):
            answer = render_inquiry_response(
                samples.inquiry(), found, now=samples.DECIDED, version=version, withheld="call 555 0199"
            )
            yield f"inquiry {version} {len(found)}", answer
        yield f"capability {version}", pas_statement("https://payer.test", version, "Sample Health Plan")
    for content in ("full-resource", "id-only"):
        told = notify(
            "event-notification", subscription(content), now=samples.DECIDED, base_url=BASE, events=[event(1)]
        )
        yield f"event {content}", told
    yield "handshake", notify("handshake", subscription(), now=samples.DECIDED, base_url=BASE)
    yield "heartbeat", notify("heartbeat", subscription(), now=samples.DECIDED, base_url=BASE)
    for several in ([], [(subscription(), 2)], [(subscription(), 2), ({**subscription(), "id": "s2"}, 0)]):
        asked = {"now": samples.DECIDED, "base_url": BASE, "address": "Subscription/$status?status=active"}
        yield f"status of {len(several)}", status_bundle(several, **asked)
    for content in ("empty", "id-only", "full-resource"):
        told = [
            notify("event-notification", subscription(), now=samples.DECIDED, base_url=BASE, events=[event(number)])
            for number in (1, 2)
        ]
        yield (
            f"events {content}",
            events_bundle(
                subscription(), told, content=content, now=samples.DECIDED, base_url=BASE, events_since_start=2
            ),
        )
    issues = [Issue(code, "Bundle.entry[0]", "words", "error") for code in ISSUE_TYPES]
    yield "outcome", wire.operation_outcome(issues)
    yield "outcome of nothing", wire.operation_outcome([])


def without_profiles(value: Any) -> Any:
    """A copy without meta.profile: the validator would look for profiles it does not have."""
    if isinstance(value, list):
        return [without_profiles(child) for child in value]
    if not isinstance(value, dict):
        return value
    copy = {name: without_profiles(child) for name, child in value.items()}
    if isinstance(copy.get("meta"), dict):
        copy["meta"] = {name: child for name, child in copy["meta"].items() if name != "profile"}
        if not copy["meta"]:
            del copy["meta"]
    return copy


class Hapi:
    """HAPI's parsers and validator in a Java machine inside this process."""

    def __init__(self) -> None:
        import jpype

        folder = jars(cache_folder(), COORDINATE, lambda words: print(words, file=sys.stderr), "nothing")
        library = java().parent.parent / "lib" / "server" / "libjvm.so"
        jpype.startJVM(str(library), "-Xmx1g", classpath=[str(path) for path in sorted(folder.glob("*.jar"))])
        java_class = jpype.JClass
        context = java_class("ca.uhn.fhir.context.FhirContext").forR4()
        context.setParserErrorHandler(java_class("ca.uhn.fhir.parser.StrictErrorHandler")())
        chain = java_class(f"{SUPPORT}.ValidationSupportChain")(
            java_class("ca.uhn.fhir.context.support.DefaultProfileValidationSupport")(context),
            java_class(f"{SUPPORT}.CommonCodeSystemsTerminologyService")(context),
            java_class(f"{SUPPORT}.InMemoryTerminologyServerValidationSupport")(context),
        )
        module = java_class("org.hl7.fhir.common.hapi.validation.validator.FhirInstanceValidator")(chain)
        module.setAnyExtensionsAllowed(True)
        module.setAssumeValidRestReferences(True)
        self.context = context
        self.validator = context.newValidator().registerValidatorModule(module)

    def problems(self, resource: Resource) -> Iterator[str]:
        """What HAPI says against a resource; nothing when it accepts it."""
        plain = without_profiles(resource)
        text, markup = wire.serialize(plain).decode(), wire.to_xml(plain).decode()
        encoder = self.context.newJsonParser()
        from_json = encoder.encodeResourceToString(self.context.newJsonParser().parseResource(text))
        from_xml = encoder.encodeResourceToString(self.context.newXmlParser().parseResource(markup))
        if str(from_json) != str(from_xml):
            yield "our JSON and our XML say different things"
        for message in self.validator.validateWithResult(text).getMessages():
            if str(message.getSeverity()) in ("ERROR", "FATAL"):
                yield f"{message.getLocationString()}: {message.getMessage()}"


def main() -> int:
    """Check everything; exit status 1 when HAPI objects, 2 when it cannot be run."""
    try:
        hapi = Hapi()
    except ImportError:
        print("jpype1 is not installed: the Java machine runs in this process by it", file=sys.stderr)
        return 2
    # The check can fail: what is no R4 must be refused before anything is believed.
    broken = samples.request("urn")
    del broken["entry"][0]["resource"]["use"]
    if not list(hapi.problems(broken)):
        print("the validator accepts a Claim without use: it checks nothing", file=sys.stderr)
        return 2
    count = failures = 0
    for name, resource in emitted():
        count += 1
        for problem in hapi.problems(resource):
            failures += 1
            print(f"{name}: {problem}")
    print(f"{count} resources, {failures} objections", file=sys.stderr)
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
