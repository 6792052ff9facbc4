"""SMART configuration and the token endpoint (SMART App Launch 2.2.0; RFC 6749 §5, RFC 7523).

Errors of the token endpoint are OAuth's JSON, not OperationOutcomes: 400 with `invalid_client`, `invalid_scope`,
`invalid_request` or `unsupported_grant_type`, the same words whatever was wrong inside the assertion. HTTP's own (405,
408, 413) say `invalid_request`, an outage of ours `temporarily_unavailable` (503).
"""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import parse_qsl

import structlog
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from adapters.fhir.inbound.answers import ALWAYS, Failure
from adapters.fhir.inbound.reading import Edge
from gateway.core.errors import UnauthorizedSender, Unavailable

log = structlog.get_logger("adapters.fhir")

MAX_FORM = 16 * 1024
TOKEN_PATH = "/fhir/token"  # noqa: S105 - a path
SCOPES = ("system/*.rs", "system/Claim.crus", "system/Subscription.cruds", "system/*.cruds")


async def configuration(edge: Edge, request: Request) -> Response:  # noqa: ARG001 - one shape for all handlers
    """`GET …/.well-known/smart-configuration`."""
    document = {
        "issuer": edge.settings.base_url,
        "token_endpoint": edge.settings.base_url + TOKEN_PATH,
        "grant_types_supported": ["client_credentials"],
        "token_endpoint_auth_methods_supported": ["private_key_jwt"],
        "token_endpoint_auth_signing_alg_values_supported": ["RS384", "ES384"],
        "scopes_supported": list(SCOPES),
        "code_challenge_methods_supported": ["S256"],
        "capabilities": ["client-confidential-asymmetric", "permission-v2"],
    }
    return JSONResponse(document, headers={"x-content-type-options": "nosniff"})


async def token(edge: Edge, request: Request) -> Response:
    """`POST /fhir/token`. Raises nothing: every answer of this endpoint is OAuth's JSON."""
    kind = request.headers.get("content-type", "").split(";")[0].strip().lower()
    try:
        data = await edge.body(request, MAX_FORM)  # anybody may knock here: small bodies only
    except Failure as failure:
        code = "temporarily_unavailable" if failure.status == 503 else "invalid_request"
        return error_answer(code, failure.status, failure.headers)
    if kind != "application/x-www-form-urlencoded":
        return error_answer("invalid_request")
    try:
        pairs = parse_qsl(data.decode("ascii"), strict_parsing=True, max_num_fields=20)
    except ValueError:
        return error_answer("invalid_request")
    form = dict(pairs)
    if len(form) != len(pairs):  # RFC 6749 §3.2: a parameter given twice is an error
        return error_answer("invalid_request")
    if form.get("grant_type") != "client_credentials":
        return error_answer("unsupported_grant_type" if "grant_type" in form else "invalid_request")
    if edge.services.tokens is None:
        return error_answer("invalid_client")  # no client is registered here, so this one is not
    try:
        answer = await edge.services.tokens.token(form)
    except UnauthorizedSender as error:
        # The caller learns nothing of it; whoever runs this must.
        log.warning("token refused", code=error.code, reason=getattr(error, "reason", ""))
        return error_answer(error.code if error.code in {"invalid_client", "invalid_scope"} else "invalid_client")
    except Unavailable as error:
        log.warning("not served", code=error.code, status=503)
        later = {"retry-after": str(edge.settings.retry_after)}
        return error_answer("temporarily_unavailable", 503, later)
    body = {
        "access_token": answer.token,
        "token_type": "bearer",
        "expires_in": answer.expires_in,
        "scope": answer.scope,
    }
    return JSONResponse(body, headers={**ALWAYS, "pragma": "no-cache"})


def error_answer(code: str, status: int = 400, headers: Mapping[str, str] | None = None) -> Response:
    """An error of the token endpoint (RFC 6749 §5.2)."""
    return JSONResponse({"error": code}, status, headers={**ALWAYS, "pragma": "no-cache", **(headers or {})})
