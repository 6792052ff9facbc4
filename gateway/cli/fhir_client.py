"""`gateway fhir submit|inquire|subscribe`: talk to a PAS endpoint, ours or a payer's.

Secrets are never arguments, which other users of the machine can read: a bearer token comes from the environment
variable `GATEWAY_TOKEN`, a receiver's headers from `GATEWAY_HOOK_HEADERS`, a signing key from the file `--key` names.

What the other side says is shown to the person at the terminal as it is; nothing of it is logged.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import sys
import time
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, TypeVar

import httpx
import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from adapters.fhir import wire
from adapters.fhir.wire.answers import claim_responses
from adapters.fhir.wire.terms import FILTER_CRITERIA, PAYLOAD_CONTENT, SUBSCRIPTION_TOPIC
from gateway.core.errors import ConfigurationError, EndpointRefused, EndpointUnavailable, GatewayError, Issue
from gateway.infra.http import ClientSettings, TlsSettings, client
from gateway.security.client_auth import ClientCredentials, TokenSource

T = TypeVar("T")

MEANINGS = {
    "A1": "approved",
    "A2": "approved in part",
    "A3": "denied",
    "A4": "pended",
    "A6": "approved with changes",
    "C": "cancelled",
    "CT": "contact the payer",
    "NA": "no authorization needed",
}
POLL_SECONDS = 0.5
HOOK_HEADERS = "GATEWAY_HOOK_HEADERS"
"""Lines `Name: value`."""


def _http(url: str) -> str:
    if not url.startswith(("http://", "https://")):
        raise typer.BadParameter("an address http://… or https://… expected")
    return url


Url = Annotated[
    str,
    typer.Option(
        "--url",
        envvar="GATEWAY_FHIR_URL",
        help="Base URL with the version's path.",
        callback=_http,
    ),
]
ClientId = Annotated[str, typer.Option("--client-id", help="SMART Backend Services: our client id.")]
Key = Annotated[Path | None, typer.Option("--key", help="… the PEM private key we sign with (RSA or P-384).")]
KeyId = Annotated[str, typer.Option("--key-id", help="… the key's id in our key set.")]
Scope = Annotated[str, typer.Option("--scope", help="… the scopes to ask for.")]
Authorities = Annotated[Path | None, typer.Option("--ca", help="PEM authorities to trust instead of the public ones.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print the answer as JSON.")]
File = Annotated[str, typer.Argument(help="A Bundle in FHIR JSON or XML; - reads standard input.")]

HERE = "http://127.0.0.1:8080/fhir/pas/2.2.1"
PAYER = "https://payer.example/pas/2.2.1"
REACH = "check --url, and that the server runs (`gateway run --profile demo` prints its address and token)"
HINTS = {
    401: ": set GATEWAY_TOKEN to a bearer token, or give --client-id, --key and --key-id",
    403: ": ask for other scopes with --scope, or subscribe for systems of your own",
    404: ": is --url the FHIR base, with the version's path?",
}
"""What a person can do about an answer."""
DEFAULT_SCOPE = "system/*.rs"


@dataclass(frozen=True, slots=True)
class Access:
    """Where and as whom."""

    url: str
    client_id: str
    key: Path | None
    key_id: str
    scope: str
    authorities: Path | None


def join(app: typer.Typer) -> None:
    """Add the verbs to the group."""
    submit = _asking("$submit", "Submit an authorization request and show the decision on each line.")
    inquire = _asking("$inquire", "Ask for the current state of authorizations by example.")
    smart = f"request.xml --url {PAYER} --client-id us --key key.pem --key-id k1"
    app.command("submit", epilog=_examples("submit", "request.json", smart))(submit)
    app.command("inquire", epilog=_examples("inquire", "inquiry.json", "- --json < inquiry.json"))(inquire)
    hook = "https://ehr.example/hook --organization 1234567893"
    app.command(epilog=_examples("subscribe", hook, f"{hook} --wait 30 --json"))(subscribe)


def _asking(operation: str, purpose: str) -> Callable[..., None]:
    """The verb that posts a Bundle to one of Claim's operations and shows the answer."""

    def ask(
        file: File,
        url: Url = HERE,
        client_id: ClientId = "",
        key: Key = None,
        key_id: KeyId = "",
        scope: Scope = DEFAULT_SCOPE,
        authorities: Authorities = None,
        as_json: AsJson = False,
    ) -> None:
        body, form = read_file(file)
        access = access_of(url, client_id, key, key_id, scope, authorities)
        with _refusals(as_json):
            _answered(_run(_post(access, f"Claim/{operation}", body, form)), as_json)

    ask.__doc__ = purpose
    return ask


def subscribe(
    endpoint: Annotated[str, typer.Argument(help="The rest-hook address that notifications go to.")],
    organization: Annotated[list[str], typer.Option("--organization", help="Sending system to watch; repeatable.")],
    wait: Annotated[float, typer.Option(min=0, help="Seconds to wait for the handshake's outcome.")] = 10.0,
    url: Url = HERE,
    client_id: ClientId = "",
    key: Key = None,
    key_id: KeyId = "",
    scope: Scope = DEFAULT_SCOPE,
    authorities: Authorities = None,
    as_json: AsJson = False,
) -> None:
    """Create a Subscription and wait until its handshake is done; exit 1 when it does not become active.

    Headers that each notification must carry (the receiver's token) are read from GATEWAY_HOOK_HEADERS, one line each.
    """
    access = access_of(url, client_id, key, key_id, scope, authorities)
    headers = [line.strip() for line in os.environ.get(HOOK_HEADERS, "").splitlines() if line.strip()]
    with _refusals(as_json):
        created = _run(_subscribe(access, subscription(endpoint, organization, headers), wait))
    status, why = str(created.get("status", "")), str(created.get("error", ""))
    if as_json:
        print(json.dumps(created, indent=2))
    else:
        shown = f"Subscription {created.get('id', '')}: {status}{f', {why}' if why else ''}"
        Console().print(escape(shown), highlight=False, soft_wrap=True)
    if status == "requested":
        Console(stderr=True).print("the handshake has not been answered yet: wait longer with --wait")
    if status != "active":
        raise typer.Exit(1)


def access_of(url: str, client_id: str, key: Path | None, key_id: str, scope: str, authorities: Path | None) -> Access:
    """Where and as whom. Raises BadParameter: the three options of a client go together."""
    given = {"--client-id": client_id, "--key": key, "--key-id": key_id}
    if (missing := [name for name, value in given.items() if not value]) and len(missing) < len(given):
        raise typer.BadParameter(f"{' and '.join(missing)} too: SMART Backend Services need all of {', '.join(given)}")
    return Access(url, client_id, key, key_id, scope, authorities)


@contextlib.contextmanager
def _refusals(as_json: bool) -> Iterator[None]:
    """With `--json`, a refusal is an OperationOutcome on standard output, too; the exit code stays 1."""
    try:
        yield
    except EndpointRefused as error:
        if not as_json:
            raise
        issues = error.issues or (Issue("invalid", "", str(error)),)
        print(json.dumps(wire.operation_outcome(issues), indent=2))
        raise typer.Exit(1) from None


def subscription(endpoint: str, organizations: list[str], headers: list[str]) -> dict[str, Any]:
    """A PAS Subscription with whole resources over rest-hook."""
    filter_text = f"org-identifier={','.join(organizations)}"
    channel: dict[str, Any] = {
        "type": "rest-hook",
        "endpoint": endpoint,
        "payload": wire.FHIR_JSON,
        "_payload": {"extension": [{"url": PAYLOAD_CONTENT, "valueCode": "full-resource"}]},
    }
    return {
        "resourceType": "Subscription",
        "status": "requested",
        "reason": "Answers to our authorization requests",
        "criteria": SUBSCRIPTION_TOPIC,
        "_criteria": {"extension": [{"url": FILTER_CRITERIA, "valueString": filter_text}]},
        "channel": {**channel, **({"header": headers} if headers else {})},
    }


def decisions(bundle: dict[str, Any]) -> list[dict[str, str]]:
    """The decision on each line of a PAS Response Bundle: line, action, number, reasons, note."""
    resources = [entry.get("resource") or {} for entry in bundle["entry"]]
    response: dict[str, Any] = next(row for row in resources if row.get("resourceType") == "ClaimResponse")
    notes = {note.get("number"): str(note.get("text", "")) for note in response.get("processNote", ())}
    rows = [("", item) for item in response.get("item", ())] + [("+", item) for item in response.get("addItem", ())]
    return [_decision(mark, item, notes) for mark, item in rows]


def _decision(mark: str, item: dict[str, Any], notes: dict[Any, str]) -> dict[str, str]:
    sequence = item.get("itemSequence", "")
    found = {"line": f"{mark}{sequence[0] if isinstance(sequence, list) and sequence else sequence}"}
    found |= {"action": "", "number": "", "reasons": ""}
    for adjudication in item.get("adjudication", ()):
        for review in adjudication.get("extension", ()):
            for part in review.get("extension", ()):
                name = str(part.get("url", "")).rsplit("/", 1)[-1].removeprefix("extension-")
                codes = [row.get("code", "") for row in (part.get("valueCodeableConcept") or {}).get("coding", ())]
                if name == "reviewActionCode":
                    found["action"] = " ".join(codes)
                elif name == "number":
                    found["number"] = str(part.get("valueString", ""))
                elif name == "reasonCode":
                    found["reasons"] = " ".join(codes)
    found["note"] = " ".join(notes.get(number, "") for number in item.get("noteNumber", ())).strip()
    return found


def _answered(answer: bytes, as_json: bool) -> None:
    bundles = claim_responses(answer)
    if as_json:
        print(json.dumps(json.loads(answer), indent=2))
    elif not bundles:
        Console().print("No authorization matches.")
    for bundle in [] if as_json else bundles:
        table = Table("line", "decision", "number", "reasons", "note")
        for row in decisions(bundle):
            meaning = MEANINGS.get(row["action"], "")
            cells = (row["line"], f"{row['action']} {meaning}".strip(), row["number"], row["reasons"], row["note"])
            table.add_row(*(escape(cell) for cell in cells))
        Console().print(table)


async def _post(access: Access, path: str, body: bytes, form: str) -> bytes:
    async with client(_settings(access)) as http:
        response = await _call(http, access, "POST", path, body, form)
        return response.content


async def _subscribe(access: Access, resource: dict[str, Any], wait: float) -> dict[str, Any]:
    async with client(_settings(access)) as http:
        created = (await _call(http, access, "POST", "Subscription", wire.serialize(resource), wire.FHIR_JSON)).json()
        until = time.monotonic() + wait
        while created.get("status") == "requested" and time.monotonic() < until:
            await asyncio.sleep(POLL_SECONDS)
            created = (await _call(http, access, "GET", f"Subscription/{created['id']}")).json()
        return dict(created)


async def _call(
    http: httpx.AsyncClient, access: Access, method: str, path: str, body: bytes = b"", form: str = ""
) -> httpx.Response:
    """One request. Raises EndpointUnavailable; EndpointRefused with what the OperationOutcome says."""
    headers = {"accept": wire.FHIR_JSON, **({"content-type": form} if form else {})}
    if authorization := await _authorization(http, access):
        headers["authorization"] = authorization
    try:
        response = await http.request(method, f"{access.url.rstrip('/')}/{path}", content=body, headers=headers)
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise EndpointUnavailable(f"no answer ({type(error).__name__}); {REACH}", location=access.url) from error
    if response.is_success:
        return response
    hint = HINTS.get(response.status_code, "")
    refused = EndpointRefused(f"the server answered {response.status_code}{hint}", location=path)
    refused.issues = _issues(response.content)
    raise refused


async def _authorization(http: httpx.AsyncClient, access: Access) -> str:
    if access.key is None:
        token = os.environ.get("GATEWAY_TOKEN", "")
        return f"Bearer {token}" if token else ""
    configuration = f"{access.url.rstrip('/')}/.well-known/smart-configuration"
    try:
        pem = access.key.read_bytes()
        found = (await http.get(configuration)).json()
        token_url = str(found["token_endpoint"])
    except httpx.HTTPError as error:
        raise EndpointUnavailable(f"no answer ({type(error).__name__}); {REACH}", location=configuration) from error
    except (ValueError, KeyError, TypeError) as error:
        raise EndpointUnavailable("no SMART configuration: is --url the FHIR base?", location=configuration) from error
    except OSError as error:
        raise ConfigurationError(f"cannot read the key: {error.strerror}", location=str(access.key)) from error
    credentials = ClientCredentials.load(
        token_url=token_url, client_id=access.client_id, scope=access.scope, key_id=access.key_id, pem=pem
    )
    return await TokenSource(http, credentials, lambda: datetime.now(UTC)).header()


def _settings(access: Access) -> ClientSettings:
    return ClientSettings(tls=TlsSettings(authorities=access.authorities), read_seconds=30)


def _issues(body: bytes) -> tuple[Issue, ...]:
    try:
        outcome = wire.parse(body, wire.FHIR_JSON)
    except GatewayError:
        return ()
    rows = outcome.get("issue") if outcome.get("resourceType") == "OperationOutcome" else None
    found = [row for row in rows if isinstance(row, dict)] if isinstance(rows, list) else []
    return tuple(
        Issue(
            str(row.get("code", "")), " ".join(map(str, row.get("expression") or ())), str(row.get("diagnostics", ""))
        )
        for row in found
    )


def read_file(file: str) -> tuple[bytes, str]:
    """A file's bytes (`-`: standard input) and its form, by how it begins."""
    try:
        body = sys.stdin.buffer.read() if file == "-" else Path(file).read_bytes()
    except OSError as error:
        raise typer.BadParameter(f"cannot read the file: {error.strerror}", param_hint="FILE") from None
    return body, wire.FHIR_XML if body.lstrip()[:1] == b"<" else wire.FHIR_JSON


def _run(work: Coroutine[Any, Any, T]) -> T:
    with Console(stderr=True, quiet=not os.isatty(2)).status("waiting for the answer"):
        return asyncio.run(work)


def _examples(verb: str, *lines: str) -> str:
    calls = "\n\n".join(f"gateway fhir {verb} {line}" for line in lines)
    return (
        f"Examples:\n\n{calls}\n\nA bearer token is read from the environment variable GATEWAY_TOKEN; the demo "
        "profile's is in .gateway/secrets/bearer.token. Exit codes: 0 answered, 1 refused or no answer, 2 wrong usage."
    )
