"""A FHIR server that we call: payers' PAS endpoints (`Claim/$submit`, `Claim/$inquire`) and EHRs we write to.

`Outbound.attributes`: `path` below the base URL (default `Claim/$submit`), `method` (default POST), `if-none-exist`
(conditional create: a resend after an ambiguous answer finds what the first attempt made).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import httpx

from adapters.fhir.outbound.attempt import SILENCE, Answered, attempt
from adapters.fhir.wire import FHIR_JSON
from gateway.core.errors import EndpointRefused, EndpointUnavailable
from gateway.core.ports import Outbound, Receipt

MAX_ANSWER = 16 * 1024 * 1024
METHODS = frozenset({"POST", "PUT", "GET", "DELETE"})


class Authorize(Protocol):
    """Where our access tokens come from (`gateway.security.client_auth.TokenSource`)."""

    async def header(self) -> str:
        """The Authorization header's value. Raises EndpointUnavailable, EndpointRefused."""
        ...

    def forget(self) -> None:
        """The endpoint did not accept the last one."""
        ...


@dataclass(frozen=True, slots=True)
class FhirEndpoint:
    """One server."""

    base_url: str
    """For PAS up to and with the version's path, without a slash at the end."""
    seconds: float = 20.0
    """Deadline of an attempt: PAS allows a payer 15 s, door to door."""
    repeat_seconds: float | None = None
    """Pause before the same is sent again where no answer came: it may have arrived, and be worked on."""


@dataclass(frozen=True, slots=True)
class FhirSender:
    """The Sender port for a FHIR server."""

    http: httpx.AsyncClient
    endpoint: FhirEndpoint
    authorize: Authorize | None = None

    async def send(self, outbound: Outbound) -> Receipt:
        """Send once; the receipt holds the answer. Raises EndpointUnavailable, EndpointRefused."""
        attributes = outbound.attributes
        headers = {"content-type": outbound.media_type, "idempotency-key": outbound.idempotency_key}
        if condition := attributes.get("if-none-exist"):
            headers["if-none-exist"] = condition
        answered = await self.call(
            attributes.get("method", "POST"), attributes.get("path", "Claim/$submit"), outbound.data, headers
        )
        reference = answered.headers.get("location", f"HTTP {answered.status}")
        return Receipt(accepted=True, reference=reference[:200], data=answered.data)

    async def call(self, method: str, path: str, data: bytes = b"", headers: dict[str, str] | None = None) -> Answered:
        """One request below the base URL. Raises EndpointUnavailable, EndpointRefused."""
        if method not in METHODS or path.startswith("/") or "://" in path or ".." in path:
            raise EndpointRefused("not a path below the endpoint", location="path")
        sent = {"accept": FHIR_JSON, **(headers or {})}
        if self.authorize is not None:
            sent["authorization"] = await self.authorize.header()
        try:
            return await attempt(
                self.http,
                method,
                f"{self.endpoint.base_url}/{path}",
                data=data,
                headers=sent,
                seconds=self.endpoint.seconds,
                max_answer=MAX_ANSWER,
            )
        except EndpointUnavailable as error:
            if error.location == "HTTP 401":
                if self.authorize is None:
                    raise EndpointRefused("the endpoint answered 401", location="HTTP 401") from None
                self.authorize.forget()
            if error.location == SILENCE and error.retry_after is None:
                error.retry_after = self.endpoint.repeat_seconds
            raise
