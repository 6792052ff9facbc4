"""What the FHIR edge needs of the world. The composition root fills `FhirServices`; tests fill it with fakes.

The edge itself knows HTTP and the wire; it does not know Kafka, PostgreSQL, Temporal or any mapping.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

from adapters.fhir.wire.notification import Notice
from gateway.core.envelope import Raw, Reception
from gateway.core.errors import Issue
from gateway.core.ports import Accept, Clock, Codec, Decide, Decision
from gateway.security.principal import Principal

Resource = dict[str, Any]


class Authenticate(Protocol):
    """Credentials to principal (`gateway.security.bearer.Authenticator`)."""

    def __call__(
        self, authorization: str | None, certificates: Sequence[str] = (), *, audience: str = ""
    ) -> Awaitable[Principal]:
        """`audience`: the URL of a CDS service, whose callers sign JWTs. Raises UnauthorizedSender, Unavailable."""
        ...


class TokenAnswer(Protocol):
    """An issued access token."""

    @property
    def token(self) -> str:
        """The bearer token."""
        ...

    @property
    def scope(self) -> str:
        """What it grants."""
        ...

    @property
    def expires_in(self) -> int:
        """Seconds."""
        ...


class Tokens(Protocol):
    """The token endpoint (`gateway.security.smart.Smart`)."""

    def token(self, form: dict[str, str]) -> Awaitable[TokenAnswer]:
        """Raises UnauthorizedSender with code `invalid_client` or `invalid_scope`, Unavailable."""
        ...


class Codecs(Protocol):
    """The codec of an operation (mappings.fhir_codec.FhirCodec): `submit`, `submit-attachment`, `intake`."""

    def __call__(self, operation: str, *, version: str, strict: bool, base_url: str) -> Codec:
        """Pure and cheap; called for each message."""
        ...


class Render(Protocol):
    """Request Bundle and decision to a PAS Response Bundle (mappings.decision_to_claimresponse.render)."""

    def __call__(self, request_bundle: Resource, decision: Decision, *, version: str, base_url: str) -> Resource:
        """Pure; the same arguments give the same bytes. Raises Unmappable for what must not be sent."""
        ...


class Pended(Protocol):
    """A4 for every requested item (mappings.decision_to_claimresponse.pended)."""

    def __call__(self, case_id: str, version: int, request_bundle: Resource, decided_at: datetime) -> Decision:
        """Pure."""
        ...


class RenderStatus(Protocol):
    """The answer of `$status` (mappings.subscription_notification.status_bundle)."""

    def __call__(
        self, subscriptions: Sequence[tuple[Resource, int]], *, now: datetime, base_url: str, address: str
    ) -> Resource:
        """Pure. Each Subscription with its events since the start."""
        ...


class RenderEvents(Protocol):
    """The answer of `$events` (mappings.subscription_notification.events_bundle)."""

    def __call__(
        self,
        subscription: Resource,
        told: Sequence[Resource],
        *,
        content: str,
        now: datetime,
        base_url: str,
        events_since_start: int,
    ) -> Resource:
        """Pure. `told`: the notifications as they were sent; `content`: empty, id-only, full-resource, or ""."""
        ...


class Query(Protocol):
    """What an inquiry asks for (mappings.inquire.InquiryQuery)."""

    @property
    def keys(self) -> Sequence[tuple[str, ...]]:
        """Lookup keys (kind, value …), strongest first. PHI."""
        ...


class Inquiry(Protocol):
    """Inquiries, both ways (the module mappings.inquire). A case is whatever that module and `Cases` agree on."""

    def match_query(self, bundle: Resource, /) -> Query:
        """Read a valid inquiry Bundle."""
        ...

    def matches(self, query: Any, case: Any, /) -> bool:
        """Whether a case answers the inquiry."""
        ...

    def render_inquiry_response(
        self, query_bundle: Resource, found: Sequence[Any], /, *, now: datetime, version: str, base_url: str
    ) -> Resource:
        """Parameters (2.2.1) or one Bundle (2.0.1). Raises Unmappable for what must not be sent."""
        ...


class Cases(Protocol):
    """Authorizations, whatever rail they came by. Both methods raise Unavailable."""

    def candidates(self, tenant: str, keys: Sequence[tuple[str, ...]], limit: int) -> Awaitable[Sequence[Any]]:
        """Cases under any of these keys in their current state (mappings.inquire.FoundCase), newest first.

        A number that was replaced finds the case it was replaced in (PAS spec-47).
        """
        ...

    def awaits(self, tenant: str, tracking_id: str, administrative_reference: str) -> Awaitable[bool]:
        """Whether a case asked for attachments under this tracking id (and reference, where one is given)."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Stored:
    """A resource that we keep for its owner, in one version."""

    resource: Resource
    version: int
    updated: datetime


class Issued(Protocol):
    """Resources we issued or created for a client; nobody else can read them."""

    def save(self, tenant: str, client: str, resources: Sequence[Resource]) -> Awaitable[None]:
        """Keep resources under their type and id; the same content again changes nothing. Raises Unavailable."""
        ...

    def read(self, tenant: str, client: str, resource_type: str, identity: str) -> Awaitable[Stored | None]:
        """The newest version; None for unknown ones and for other clients' ones alike."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Subscription:
    """A stored Subscription. `status`: requested, active, error, off."""

    id: str
    tenant: str
    client: str
    pas_version: str
    organizations: tuple[str, ...]
    """Values of the org-identifier filter."""
    resource: Resource
    """As the client sent it, with our id, without status."""
    status: str
    version: int
    """Grows with each change of the resource (ETag)."""
    events: int
    """Events since the subscription's start: the number of the last one."""
    updated: datetime
    error: str = ""


class Subscriptions(Protocol):
    """The Subscription store. All methods raise Unavailable when it does not answer."""

    def create(
        self, tenant: str, client: str, pas_version: str, organizations: Sequence[str], resource: Resource
    ) -> Awaitable[Subscription]:
        """A new one with status `requested`, version 1 and no events."""
        ...

    def update(
        self, tenant: str, client: str, identity: str, organizations: Sequence[str], resource: Resource
    ) -> Awaitable[Subscription | None]:
        """Replace the resource: version + 1, status `requested`; events keep counting. None: not this client's."""
        ...

    def read(self, tenant: str, client: str, identity: str) -> Awaitable[Subscription | None]:
        """None for unknown ones and for other clients' ones alike."""
        ...

    def owned(
        self, tenant: str, client: str, pas_version: str, identities: Sequence[str], limit: int
    ) -> Awaitable[Sequence[Subscription]]:
        """This client's at one PAS endpoint, by id; of those named, where any are named."""
        ...

    def told(
        self, tenant: str, client: str, identity: str, since: int, until: int, limit: int
    ) -> Awaitable[Sequence[Resource]]:
        """Event notifications of this client's subscription as they were sent, by number, both bounds included.

        An event whose notification is not stored yet is left out: it is about to be sent.
        """
        ...

    def delete(self, tenant: str, client: str, identity: str) -> Awaitable[bool]:
        """False: not this client's."""
        ...

    def mark(self, tenant: str, identity: str, status: str, error: str = "") -> Awaitable[None]:
        """Set the status after a handshake or a failed delivery; the version stays."""
        ...

    def next_event(self, tenant: str, identity: str, key: str) -> Awaitable[int]:
        """The event's number: 1, 2, 3 … without gaps; the same key gets the same number again."""
        ...

    def watching(self, tenant: str, organization: str) -> Awaitable[Sequence[Subscription]]:
        """Active subscriptions for a sending system."""
        ...


class Notifier(Protocol):
    """Hands notifications to the delivery stage."""

    def handshake(self, subscription: Subscription) -> Awaitable[None]:
        """Enqueue the handshake; its outcome marks the subscription active or error. Raises Unavailable."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Advice:
    """What the rules say about one order (CRD coverage-information)."""

    covered: str = "covered"
    """covered | not-covered | conditional"""
    authorization: str = "auth-needed"
    """no-auth | auth-needed | satisfied | performpa | conditional"""
    documentation: str = "no-doc"
    """no-doc | clinical | admin | patient | conditional"""
    information: Sequence[str] = ()
    """Codes of what else would be needed to say more."""
    questionnaires: Sequence[str] = ()
    """Canonical URLs of the questionnaires to fill in."""
    reasons: Sequence[str] = ()
    """Plain sentences for the ordering person."""
    assertion_id: str = ""
    """coverage-assertion-id, carried into the later request."""
    satisfied_id: str = ""
    """satisfied-pa-id, where an authorization exists already."""


class Advise(Protocol):
    """The same rules that decide cases, asked about a draft order."""

    def __call__(self, tenant: str, order: Resource, prefetch: dict[str, Resource]) -> Awaitable[Advice]:
        """Advice on one order; `prefetch` holds the resources the caller sent along."""
        ...


class PayerNotices(Protocol):
    """What payers tell us by our subscriptions at them."""

    def sender(self, partner: str, authorization: str | None, certificates: Sequence[str]) -> Principal | None:
        """Who shows the secret, or the certificate, of our subscription at this partner. None: nobody we know."""
        ...

    def take(self, notice: Notice, reception: Reception) -> Awaitable[None]:
        """Durable when it returns. Raises Unavailable; MalformedMessage for an answer that cannot be read."""
        ...


class Refusals(Protocol):
    """Keeps what we refused, for operations: bytes sealed, reason codes readable."""

    def __call__(self, raw: Raw, reception: Reception, issues: Sequence[Issue]) -> Awaitable[None]:
        """Record one refusal. The answer to the client does not depend on it."""
        ...


Observe = Callable[[str, int, float], None]
"""Called after each request with route template, status and seconds, for metrics."""


def _unobserved(route: str, status: int, seconds: float) -> None:
    """No metrics."""


async def _always() -> bool:
    return True


@dataclass(frozen=True, slots=True, kw_only=True)
class FhirServices:
    """Everything the edge is given."""

    authenticate: Authenticate
    tokens: Tokens | None
    """None: no token endpoint here (another authorization server, or certificates only)."""
    codecs: Codecs
    accept: Accept
    decide: Decide
    render: Render
    pended: Pended
    render_status: RenderStatus
    render_events: RenderEvents
    inquiry: Inquiry
    cases: Cases
    issued: Issued
    subscriptions: Subscriptions
    notifier: Notifier
    advise: Advise
    refusals: Refusals
    clock: Clock
    notices: PayerNotices | None = None
    """None: no payer is asked over FHIR."""
    observe: Observe = _unobserved
    ready: Callable[[], Awaitable[bool]] = _always
    """Whether our servers answer (GET /healthz)."""
