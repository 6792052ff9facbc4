"""`gateway fhir`: look at FHIR files before they are sent."""

from __future__ import annotations

import json
from enum import StrEnum
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape

from adapters.fhir import wire
from gateway.cli import fhir_client
from gateway.core.errors import GatewayError, Issue

app = typer.Typer(no_args_is_help=True, help="FHIR R4 and Da Vinci PAS: check files, talk to payers.")


class Kind(StrEnum):
    """What a file is checked as."""

    auto = "auto"
    submit = "submit"
    inquire = "inquire"
    response = "response"
    subscription = "subscription"
    attachment = "attachment"
    resource = "resource"


class Version(StrEnum):
    """PAS versions."""

    current = "2.2.1"
    previous = "2.0.1"


INQUIRY = "inquiry"
"""Part of the profiles' names: profile-pas-inquiry-request-bundle, profile-claim-inquiry."""
EPILOG = """Examples:

gateway fhir validate request.json

gateway fhir validate request.xml --as submit --version 2.0.1 --lenient

cat bundle.json | gateway fhir validate - --json"""


@app.command(epilog=EPILOG)
def validate(
    file: Annotated[str, typer.Argument(help="A file in FHIR JSON or XML; - reads standard input.")],
    kind: Annotated[Kind, typer.Option("--as", help="What to check it as; auto looks at its content.")] = Kind.auto,
    version: Annotated[Version, typer.Option(help="The PAS version.")] = Version.current,
    lenient: Annotated[bool, typer.Option("--lenient", help="Profile violations are warnings.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one OperationOutcome.")] = False,
) -> None:
    """Check structure, PAS profile rules and references; exit 1 when something must be mended."""
    issues = _issues(file, kind, version, lenient)
    if as_json:
        print(json.dumps(wire.operation_outcome(issues), indent=2))
    else:
        _show(file, issues)
    if any(issue.severity in ("error", "fatal") for issue in issues):
        raise typer.Exit(1)


def _issues(file: str, kind: Kind, version: Version, lenient: bool) -> list[Issue]:
    body, form = fhir_client.read_file(file)
    try:
        return check(wire.parse(body, form), kind, version, strict=not lenient)
    except GatewayError as error:
        return list(error.issues) or [Issue(error.code, error.location, error.message)]


def check(resource: dict[str, Any], kind: Kind, version: Version, *, strict: bool) -> list[Issue]:
    """The issues of a resource, checked as `kind` (auto: by its content)."""
    chosen = guess(resource) if kind is Kind.auto else kind
    if chosen is Kind.submit:
        return wire.validate_submit(resource, version=version.value, strict=strict)
    if chosen is Kind.inquire:
        return wire.validate_inquire(resource, version=version.value, strict=strict)
    if chosen is Kind.response:
        return wire.validate_response(resource, strict=strict)
    if chosen is Kind.subscription:
        return wire.validate_subscription(resource, version=version.value)
    if chosen is Kind.attachment:
        return wire.validate_attachment(resource)
    return wire.validate_resource(resource)


def guess(resource: dict[str, Any]) -> Kind:
    """What a resource most likely is; an inquiry by its profiles, without which it looks like a request."""
    if resource.get("resourceType") == "Subscription":
        return Kind.subscription
    if resource.get("resourceType") == "Parameters":
        names = {row.get("name") for row in resource.get("parameter", []) if isinstance(row, dict)}
        return Kind.attachment if "TrackingId" in names else Kind.resource
    first = next(iter(wire.entries(resource)), {}).get("resource")
    leading = first.get("resourceType") if isinstance(first, dict) else None
    if leading == "Claim" and any(INQUIRY in profile for profile in (*_profiles(resource), *_profiles(first))):
        return Kind.inquire
    return {"Claim": Kind.submit, "ClaimResponse": Kind.response}.get(str(leading), Kind.resource)


def _profiles(resource: Any) -> list[str]:
    meta = resource.get("meta") if isinstance(resource, dict) else None
    found = meta.get("profile") if isinstance(meta, dict) else None
    return [profile for profile in found if isinstance(profile, str)] if isinstance(found, list) else []


def _show(file: str, issues: list[Issue]) -> None:
    console = Console(highlight=False)
    if not issues:
        console.print(f"[green]sound[/green] {escape(file)}", soft_wrap=True)
        return
    for issue in issues:
        colour = "yellow" if issue.severity == "warning" else "red"
        where = f"{escape(issue.location)}: " if issue.location else ""
        console.print(f"[{colour}]{issue.severity}[/{colour}] {where}{issue.text} \\[{issue.code}]", soft_wrap=True)


fhir_client.join(app)
