"""One message from its bytes to its answer. No sockets: the connection brings payloads and carries answers.

The order of checks: who sent it (certificate and network against MSH-3 and MSH-4 of every message in the payload),
whether it is a resend, what it says (the injected codec), and whether it is durable (the injected accept). The
positive answer is built only after the last of these has returned. A sender that waits for a business answer on its
connection gets it where it comes in time (the injected `respond`), else what the codec says meanwhile.
"""

from __future__ import annotations

import asyncio
import ipaddress
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field

from adapters.hl7.settings import ListenerSettings, PartnerSettings
from adapters.hl7.wire import Segment, read_header
from adapters.hl7.wire.acknowledgement import acknowledge, refuse
from adapters.hl7.wire.batch import lone, split
from gateway.core.envelope import Intake, Raw, Reception
from gateway.core.errors import (
    GatewayError,
    LimitExceeded,
    MalformedMessage,
    MessageConflict,
    OwnError,
    UnauthorizedSender,
    Unavailable,
)
from gateway.core.ports import Accept, Accepted, Clock, Codec, Reading

from .deadline import Deadline
from .duplicates import LOST, Key, Outcome, Window

_KNOWN = 64
"""Senders remembered for one connection: a partner allowed by `*` may name any number."""

_NAME = 512
"""Characters of identifying fields that are remembered; longer ones are nobody's names and are looked at each time."""

MEDIA_TYPE = "application/hl7-v2"

Network = ipaddress.IPv4Network | ipaddress.IPv6Network

Observe = Callable[[str, Mapping[str, str | int]], None]
"""Told what happens, for logs, metrics and security events: a name such as `hl7.refused`, and codes and counts."""


Respond = Callable[[Accepted], Awaitable[bytes | None]]
"""The business answer to a message whose sender waits for it on this connection (design D6), when it comes in time;
None otherwise, and for all other messages. Raises MessageConflict for a key that was used with another body."""


Inquire = Callable[[Reading, Reception], Awaitable[bytes | None]]
"""The whole answer to a message that only asks (an intake parked as `inquiry`); it is not accepted. Raises
Unavailable."""
INQUIRY = "inquiry"


async def never(_accepted: Accepted) -> bytes | None:
    """No fast lane."""
    return None


@dataclass(slots=True)
class Peer:
    """Who is at the other end, as far as the connection proves it."""

    address: str
    names: frozenset[str] = frozenset()
    """Names in its verified client certificate."""
    partners: tuple[PartnerSettings, ...] = ()
    """Those it may speak for, under the settings `of`."""
    of: ListenerSettings | None = None
    known: dict[tuple[str, str], PartnerSettings] = field(default_factory=dict)
    """MSH-3 and MSH-4 as written → partner, for those seen; bounded."""


class Exchange:
    """What all connections of one listener share to turn payloads into answers."""

    def __init__(
        self,
        settings: ListenerSettings,
        *,
        codec: Codec,
        accept: Accept,
        clock: Clock,
        identify: Callable[[], str],
        observe: Observe,
        respond: Respond,
        inquire: Inquire | None,
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self.settings = settings
        self.observe = observe
        self._codec = codec
        self._accept = accept
        self._clock = clock
        self._identify = identify
        self._respond = respond
        self._inquire = inquire
        self._window = Window(
            seconds=settings.duplicate_window, entries=settings.duplicate_entries, clock=self._loop.time
        )
        self._deadline = Deadline()
        self._order: dict[tuple[str, ...], dict[tuple[str, ...], asyncio.Future[None]]] = {}

    def use(self, settings: ListenerSettings) -> None:
        """Take new partners over from the next message on."""
        self.settings = settings

    def partners_of(self, peer: Peer) -> tuple[PartnerSettings, ...]:
        """Partners this connection may speak for: by certificate where one is bound, by network where one is set."""
        if peer.of is not self.settings:
            peer.of = self.settings
            peer.known.clear()
            peer.partners = tuple(
                partner
                for partner in self.settings.partners
                if (not partner.certificate_names or partner.certificate_names & peer.names)
                and (not partner.networks or within(peer.address, partner.networks))
            )
        return peer.partners

    async def handle(self, payload: bytes, peer: Peer) -> Outcome:
        """Answer one payload: a message, or a batch of them."""
        header: Segment | None = None
        try:
            header = read_header(payload)
            sender = header.raw(3), header.raw(4)
            partner = peer.known.get(sender) if peer.of is self.settings else None
            if partner is None or partner.charset is not None or not lone(payload):
                partner, header = self._admit(payload, header, peer)
                sender = header.raw(3), header.raw(4)
        except GatewayError as error:
            return self.negative(header, error)
        raw = Raw.of(payload, MEDIA_TYPE)
        key = _duplicate_key(header, sender, partner)
        if key is None:
            return await self._process(raw, partner, peer)
        try:
            first = self._window.claim(key, raw.sha256)
        except MessageConflict as error:
            self.observe("hl7.conflict", {"partner": partner.name if partner else ""})
            return self.negative(header, error)
        if first is not None:
            self.observe("hl7.duplicate", {"partner": partner.name if partner else ""})
            return first if isinstance(first, Outcome) else await asyncio.shield(first)
        outcome = LOST
        try:
            outcome = await self._process(raw, partner, peer)
        finally:
            self._window.settle(key, outcome)
        return outcome

    def negative(self, header: Segment | None, error: GatewayError) -> Outcome:
        """Refuse at the edge, before any codec saw the message."""
        at = self._clock()
        self.observe("hl7.refused", {"error": error.code, "location": error.location})
        again = isinstance(error, OwnError | LimitExceeded)
        if header is None or header.name != "MSH":
            return Outcome(refuse(error, identify=self._identify, at=at), good=False, again=again)
        answers = acknowledge(header, error, identify=self._identify, at=at)
        return Outcome(answers.together(), good=False, again=again)

    def refuse_payload(self, payload: bytes, error: GatewayError) -> Outcome:
        """Refuse a payload by name where its header can be read."""
        try:
            header = read_header(payload)
        except MalformedMessage:
            header = None
        return self.negative(header, error)

    def _admit(self, payload: bytes, header: Segment, peer: Peer) -> tuple[PartnerSettings | None, Segment]:
        """The partner that sent this, and the header read with its character set."""
        partner = self._partner(header, peer)
        if partner is None and not self._unknown(header):
            raise self._not_bound(peer)
        if not lone(payload):
            for message in split(payload).messages:
                inner = read_header(message, charset=partner.charset if partner else None)
                if partner is not None and not partner.allows(inner.get(3), inner.get(4)):
                    raise self._not_bound(peer)
                if partner is None and not self._unknown(inner):
                    raise self._not_bound(peer)
        if partner is not None and partner.charset is not None:
            # Read as the codec will read it: in another character set the fields may begin elsewhere.
            header = read_header(payload, charset=partner.charset)
            if not partner.allows(header.get(3), header.get(4)):
                raise self._not_bound(peer)
        return partner, header

    def _partner(self, header: Segment, peer: Peer) -> PartnerSettings | None:
        candidates, sender = self.partners_of(peer), (header.raw(3), header.raw(4))
        partner = peer.known.get(sender)
        if partner is None:
            partner = _first_allowing(candidates, header)
            if partner is not None and len(peer.known) < _KNOWN and sum(map(len, sender)) < _NAME:
                peer.known[sender] = partner
        return partner

    def _unknown(self, header: Segment) -> bool:
        """Whether a sender no partner has claimed may come in anyhow."""
        return self.settings.unknown_partners and _first_allowing(self.settings.partners, header) is None

    def _not_bound(self, peer: Peer) -> UnauthorizedSender:
        self.observe("hl7.security", {"reason": "sender-not-bound", "peer": peer.address})
        return UnauthorizedSender(location="MSH-3")

    async def _process(self, raw: Raw, partner: PartnerSettings | None, peer: Peer) -> Outcome:
        settings, reception = self.settings, self._reception(partner, peer)
        reading = self._codec.read(raw, reception)
        if reading.issues:
            codes = ",".join(sorted({issue.code for issue in reading.issues})[:10])
            self.observe("hl7.issues", {"codes": codes, "partner": reception.client})
        if reading.refused:
            self.observe("hl7.refused", {"error": "codec", "partner": reception.client})
            return Outcome(reading.answer(None), good=False)
        alone = len(reading.intakes) == 1
        try:
            with self._deadline(settings.accept_timeout):
                for intake in reading.intakes:
                    if alone and intake.parked == INQUIRY and self._inquire is not None:
                        return Outcome(await self._inquire(reading, reception), good=True)
                    accepted = await self._accept_in_order(intake, reception)
        except TimeoutError:
            return self._failed(reading, Unavailable("not stored in time"), partner)
        except GatewayError as error:
            return self._failed(reading, error, partner)
        if not alone:
            return Outcome(reading.answer(None), good=True)
        try:
            return Outcome(await self._respond(accepted) or reading.answer(None), good=True)
        except MessageConflict as error:
            return self._failed(reading, error, partner)

    def _failed(self, reading: Reading, error: GatewayError, partner: PartnerSettings | None) -> Outcome:
        self.observe("hl7.not-accepted", {"error": error.code, "partner": partner.name if partner else ""})
        if isinstance(error, OwnError) and partner is not None and partner.on_failure == "silent":
            return Outcome(None, good=False, again=True)
        return Outcome(reading.answer(error), good=False, again=isinstance(error, OwnError))

    async def _accept_in_order(self, intake: Intake, reception: Reception) -> Accepted:
        """Publish after everything that came before and must not be overtaken, on whatever connection it came."""
        if not intake.ordering_key:
            return await self._accept(intake, reception)
        key, lane = (reception.tenant, *intake.ordering_key), intake.lane
        tails = self._order.setdefault(key, {})
        if lane:
            tail = tails.get(lane) or tails.get(())
            before = [tail] if tail is not None else []
        else:
            before = list(tails.values())
            tails.clear()  # whoever comes waits for us, and we for them
        mine = tails[lane] = self._loop.create_future()
        try:
            if before:
                await asyncio.wait(before)
            return await self._accept(intake, reception)
        finally:
            if tails.get(lane) is mine:
                del tails[lane]
            if not tails and self._order.get(key) is tails:
                del self._order[key]
            if left := [one for one in before if not one.done()]:
                # We gave up waiting: those behind us still wait for those before us.
                asyncio.gather(*left).add_done_callback(lambda _: mine.set_result(None))
            else:
                mine.set_result(None)

    def _reception(self, partner: PartnerSettings | None, peer: Peer) -> Reception:
        name = partner.name if partner is not None else ""
        attributes = {"listener": self.settings.name, "peer": peer.address}
        if partner is not None:
            attributes["application-answer"] = partner.application_answer
            if partner.charset is not None:
                attributes["charset"] = partner.charset
        return Reception(
            tenant=self.settings.tenant,
            source=f"hl7/{name or self.settings.name}",
            received_at=self._clock(),
            media_type=MEDIA_TYPE,
            client=name,
            attributes=attributes,
        )

    def defect(self, payload: bytes) -> Outcome:
        """A fault in our own code met this message: the sender hears AE and may send it again."""
        return self.refuse_payload(payload, OwnError("internal error"))


def within(address: str, networks: tuple[Network, ...]) -> bool:
    """Whether an address lies in one of the networks; IPv4 written as IPv6 counts as IPv4."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return False
    mapped = parsed.ipv4_mapped if isinstance(parsed, ipaddress.IPv6Address) else None
    return any((mapped or parsed) in network for network in networks)


def _first_allowing(candidates: tuple[PartnerSettings, ...], header: Segment) -> PartnerSettings | None:
    application, facility = header.get(3), header.get(4)
    for partner in candidates:
        if partner.allows(application, facility):
            return partner
    return None


def _duplicate_key(header: Segment, sender: tuple[str, str], partner: PartnerSettings | None) -> Key | None:
    """(partner, MSH-3, MSH-4, MSH-10 [, MSH-7]); None where nothing can be told apart."""
    policy = partner.duplicates if partner is not None else "control-id"
    control_id = header.raw(10 if header.name == "MSH" else 11)
    if policy == "off" or not control_id:
        return None
    key: Key = (partner.name if partner else "", *sender, control_id)
    if policy == "control-id-and-time":
        key = (*key, header.raw(7))
    return key if len("".join(key)) < _NAME else None
