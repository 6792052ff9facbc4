"""One HTTP attempt and what its outcome means: the table from answers and faults to our delivery errors.

    no connection, time-out, broken off, 408 425 429 500 502 503 504   EndpointUnavailable (Retry-After is passed on)
    401                                                                EndpointUnavailable once the token is forgotten
    3xx and every other 4xx, an answer that is too large               EndpointRefused
    2xx                                                                the answer

A read time-out does not stop a server that drips, so the whole attempt has a deadline of its own. Redirects are never
followed: the bytes and the token were meant for this address.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

import httpx

from adapters.fhir.wire.refusals import outcome_issues
from gateway.core.errors import EndpointRefused, EndpointUnavailable

TRY_LATER = frozenset({408, 425, 429, 500, 502, 503, 504})
MAX_WAIT = 3600.0
"""Longest wait an endpoint can ask for, in seconds: an absurd Retry-After must not park a decision for days."""


SILENCE = "answer"
"""Location of a fault after which the message may have arrived: it was sent, and no answer came."""


@dataclass(frozen=True, slots=True)
class Answered:
    """A 2xx answer."""

    status: int
    headers: Mapping[str, str]
    data: bytes


async def attempt(
    http: httpx.AsyncClient,
    method: str,
    url: str,
    *,
    data: bytes = b"",
    headers: Mapping[str, str],
    seconds: float,
    max_answer: int,
) -> Answered:
    """Send once. Raises EndpointUnavailable, EndpointRefused."""
    try:
        async with (
            asyncio.timeout(seconds),
            http.stream(method, url, content=data or None, headers=dict(headers), follow_redirects=False) as response,
        ):
            body = await _read(response, max_answer)
    except TimeoutError as error:
        raise EndpointUnavailable("no answer in time", location=SILENCE) from error
    except (httpx.InvalidURL, httpx.UnsupportedProtocol, httpx.LocalProtocolError) as error:
        raise EndpointRefused("the endpoint's address or headers cannot be used") from error
    except (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout) as error:
        raise EndpointUnavailable(f"the endpoint does not answer: {type(error).__name__}") from error
    except httpx.HTTPError as error:
        raise EndpointUnavailable(f"the endpoint does not answer: {type(error).__name__}", location=SILENCE) from error
    status = response.status_code
    if status in TRY_LATER or status == 401:
        wait = retry_after(response.headers.get("retry-after", ""), datetime.now(UTC))
        raise EndpointUnavailable(f"the endpoint answered {status}", retry_after=wait, location=f"HTTP {status}")
    if not 200 <= status < 300:
        issues = outcome_issues(body)
        raise EndpointRefused(f"the endpoint answered {status}", location=f"HTTP {status}", issues=issues)
    return Answered(status, response.headers, body)


def retry_after(value: str, now: datetime) -> float | None:
    """Seconds to wait, from either form of the header (RFC 9110 §10.2.3); None where it says nothing usable."""
    text = value.strip()
    if text.isascii() and text.isdigit():
        return min(MAX_WAIT, float(text[:9]))
    try:
        moment = parsedate_to_datetime(text)
    except (ValueError, TypeError, IndexError):
        return None
    aware = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return min(MAX_WAIT, max(0.0, (aware - now).total_seconds()))


async def _read(response: httpx.Response, limit: int) -> bytes:
    body = bytearray()
    async for chunk in response.aiter_bytes():
        body += chunk
        if len(body) > limit:
            raise EndpointRefused(f"the answer is larger than {limit} bytes", location=f"HTTP {response.status_code}")
    return bytes(body)
