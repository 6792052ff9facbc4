"""SMART configuration and the token endpoint (SMART App Launch 2.2.0; RFC 6749 §5, RFC 7523).

Errors of the token endpoint are OAuth's JSON, not OperationOutcomes: 400 with `invalid_client`, `invalid_scope`,
`invalid_request` or `unsupported_grant_type`, the same words whatever was wrong inside the assertion.
"""

from __future__ import annotations

from urllib.parse import parse_qsl

import structlog
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from adapters.fhir.inbound.answers import ALWAYS
from adapters.fhir.inbound.reading import Edge
from gateway.core.errors import UnauthorizedSender

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
    """`POST /fhir/token`. Raises Unavailable when the assertion's single use cannot be recorded."""
    kind = request.headers.get("content-type", "").split(";")[0].strip().lower()
    data = await edge.body(request, MAX_FORM)  # anybody may knock here: small bodies only
    if kind != "application/x-www-form-urlencoded":
        return _error("invalid_request")
    try:
        pairs = parse_qsl(data.decode("ascii"), strict_parsing=True, max_num_fields=20)
    except ValueError:
        return _error("invalid_request")
    form = dict(pairs)
    if len(form) != len(pairs):  # RFC 6749 §3.2: a parameter given twice is an error
        return _error("invalid_request")
    if form.get("grant_type") != "client_credentials":
        return _error("unsupported_grant_type" if "grant_type" in form else "invalid_request")
    if edge.services.tokens is None:
        return _error("invalid_client")  # no client is registered here, so this one is not
    try:
        answer = await edge.services.tokens.token(form)
    except UnauthorizedSender as error:
        # The caller learns nothing of it; whoever runs this must.
        log.warning("token refused", code=error.code, reason=getattr(error, "reason", ""))
        return _error(error.code if error.code in {"invalid_client", "invalid_scope"} else "invalid_client")
    body = {
        "access_token": answer.token,
        "token_type": "bearer",
        "expires_in": answer.expires_in,
        "scope": answer.scope,
    }
    return JSONResponse(body, headers={**ALWAYS, "pragma": "no-cache"})


def _error(code: str) -> Response:
    return JSONResponse({"error": code}, 400, headers={**ALWAYS, "pragma": "no-cache"})
