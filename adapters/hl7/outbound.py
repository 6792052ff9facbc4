"""The MLLP sender: hands one message at a time to one endpoint and believes no answer that is not about it.

One message is outstanding per connection, and the connection stays open between messages. An answer counts when MSA-2
names the message; late, foreign, doubled and unframed answers are dropped and counted. Whenever the outcome of a
message is not known (no answer in time, a broken stream, a cancelled caller) the connection is closed before anything
else is sent, so that a late answer can never meet the wrong message.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime
from types import TracebackType
from typing import cast

from adapters.hl7.settings import SenderSettings
from adapters.hl7.wire import Segment, parse, read_header
from adapters.hl7.wire.acknowledgement import acknowledge, is_answer, plan
from adapters.hl7.wire.mllp import (
    FS,
    POSITIVE,
    VT,
    Commit,
    Event,
    Frame,
    Framer,
    Junk,
    Limits,
    Refused,
    Truncated,
    frame,
)
from adapters.hl7.wire.reply import Reply, action_for, read_reply
from gateway.core.errors import EndpointRefused, EndpointUnavailable, GatewayError, Issue
from gateway.core.ports import Clock, Outbound, Receipt

Observe = Callable[[str, Mapping[str, str | int]], None]
"""Told what was dropped and why, for metrics: a name such as `hl7.answer-dropped`, codes and counts."""


def _now() -> datetime:
    return datetime.now(UTC)


def _unobserved(_name: str, _fields: Mapping[str, str | int]) -> None:
    return None


class MllpSender:
    """A Sender for one endpoint (gateway/core/ports.py)."""

    def __init__(
        self,
        settings: SenderSettings,
        *,
        identify: Callable[[], str],
        clock: Clock = _now,
        observe: Observe = _unobserved,
    ) -> None:
        """`identify` gives control ids for accept acknowledgements of the endpoint's own answers."""
        self.settings = settings
        self._identify = identify
        self._clock = clock
        self._observe = observe
        self._turn = asyncio.Lock()
        self._link: _Link | None = None

    async def send(self, outbound: Outbound) -> Receipt:
        """Send once and wait for the answer the message asks for (MSH-15, MSH-16).

        Raises EndpointUnavailable (no connection, no answer in time, an answer that means retry) or EndpointRefused
        (an answer that means fail, with its table 0357 codes as issues). What an answer means is `settings.actions`.
        """
        try:
            header = read_header(outbound.data)
        except GatewayError as error:
            raise EndpointRefused("not an HL7 message", location=error.location) from error
        if VT in outbound.data or FS in outbound.data:
            raise EndpointRefused("a message with frame bytes inside cannot be sent", location=self.settings.name)
        async with self._turn:
            link = await self._connected()
            known = False
            try:
                receipt = await self._exchange(link, header, outbound.data)
                known = True
                return receipt
            except (EndpointRefused, _Answered):
                known = True
                raise
            finally:
                link.rest()
                if not known:
                    self._drop(link)
                elif not self.settings.persistent:
                    self._leave(link)

    async def close(self) -> None:
        """Close the connection."""
        async with self._turn:
            if self._link is not None:
                self._leave(self._link)

    async def __aenter__(self) -> MllpSender:
        return self

    async def __aexit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        await self.close()

    def _drop(self, link: _Link) -> None:
        """Cut a connection whose state is not known."""
        link.abort()
        self._link = None

    def _leave(self, link: _Link) -> None:
        """Close a connection in order: what was written still goes out."""
        link.close()
        self._link = None

    async def _connected(self) -> _Link:
        if self._link is not None and self._link.usable:
            return self._link
        if self._link is not None:
            self._drop(self._link)
        settings = self.settings
        context = settings.tls.sender_context() if settings.tls else None
        name = (settings.tls.server_name or settings.host) if settings.tls else None
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(settings.connect_timeout):
                _, link = await loop.create_connection(
                    lambda: _Link(settings, self._observe),
                    settings.host,
                    settings.port,
                    ssl=context,
                    server_hostname=name,
                )
        except ssl.SSLError as error:
            raise EndpointUnavailable("TLS handshake failed", location=settings.name) from error
        except OSError as error:  # a timeout is one of them
            raise EndpointUnavailable(f"no connection: {type(error).__name__}", location=settings.name) from error
        self._link = link
        return link

    async def _exchange(self, link: _Link, header: Segment, data: bytes) -> Receipt:
        """Write, then wait for the phases the header asks for."""
        asked = plan(header)
        if asked.enhanced and is_answer(header):
            # The application does not answer an answer: its accept acknowledgement is the last word.
            asked = replace(asked, application="NE")
        control_id = header.get(10)
        link.send(frame(data))
        if self.settings.release == 2:
            await self._commit(link)
        answer: Reply | None = None
        if asked.accept != "NE":
            answer = await self._answer(link, control_id, certain=asked.accept != "ER")
            self._judge(answer)
        if asked.application != "NE" and (asked.accept == "NE" or self.settings.wait_for_application):
            if answer is None or answer.accept:
                # In original mode some receivers say CA where AA is meant; in enhanced mode CA is never the last word.
                answer = await self._answer(
                    link, control_id, certain=asked.application != "ER", after_accept=asked.enhanced
                )
            self._judge(answer)
            self._accept_application(link, answer)
        if answer is None:
            return Receipt(accepted=True, reference=control_id)
        return Receipt(accepted=True, reference=control_id, data=answer.raw)

    async def _commit(self, link: _Link) -> None:
        """Release 2: the transport's own acknowledgement comes before any HL7 answer."""
        async with self._deadline(link):
            event = await self._next(link)
            while not isinstance(event, Commit):
                self._dropped("not-a-commit")
                event = await self._next(link)
        if not event.positive:
            raise _Answered("negative commit acknowledgement", location=self.settings.name)

    async def _answer(self, link: _Link, control_id: str, *, certain: bool, after_accept: bool = False) -> Reply | None:
        """The next answer about this message; None when silence may mean success (ER) and it stayed silent."""
        try:
            async with self._deadline(link):
                while True:
                    event = await self._next(link)
                    if not isinstance(event, Frame):
                        continue
                    if self.settings.release == 2:
                        link.write(frame(POSITIVE))
                    reply = read_reply(event.payload, charset=self.settings.charset)
                    reason = self._mismatch(reply, control_id, after_accept=after_accept)
                    if not reason:
                        return reply
                    self._dropped(reason)
        except _NoAnswer:
            if certain:
                raise
            return None

    def _mismatch(self, reply: Reply | None, control_id: str, *, after_accept: bool) -> str:
        """Why an answer is not the one we wait for; empty when it is."""
        if reply is None:
            return "no-acknowledgement"
        if self.settings.match_control_id and reply.control_id != control_id:
            return "other-message"
        return "accept-only" if after_accept and reply.code == "CA" else ""

    async def _next(self, link: _Link) -> Event:
        event = await link.events.get()
        if event is None:
            raise EndpointUnavailable("connection closed before the answer", location=self.settings.name)
        return event

    @asynccontextmanager
    async def _deadline(self, link: _Link) -> AsyncIterator[None]:
        """Bound one phase, however many foreign answers come in it."""
        try:
            async with asyncio.timeout(self.settings.response_timeout):
                yield
        except TimeoutError as error:
            told = "an answer without a frame" if link.unframed else "no answer in time"
            raise _NoAnswer(told, location=self.settings.name) from error

    def _dropped(self, reason: str) -> None:
        self._observe("hl7.answer-dropped", {"reason": reason, "endpoint": self.settings.name})

    def _judge(self, reply: Reply | None) -> None:
        """Turn an answer into its meaning for this partner."""
        if reply is None:
            return
        action = action_for(reply.code, {str(code): action for code, action in self.settings.actions.items()})
        if action == "complete":
            return
        said = reply.code or "no code"
        if action == "fail":
            issues = tuple(Issue(code, "ERR", "the endpoint's error condition") for code in reply.conditions)
            raise EndpointRefused(f"answered {said}", location=self.settings.name, issues=issues)
        raise _Answered(f"answered {said}", location=self.settings.name)

    def _accept_application(self, link: _Link, reply: Reply | None) -> None:
        """An application answer may ask for an accept acknowledgement itself."""
        if reply is None or reply.accept:
            return
        message = parse(reply.raw, charset=self.settings.charset)
        answers = acknowledge(
            message.header, None, identify=self._identify, at=self._clock(), answered=message.first("MSA")
        )
        if answers.immediate is not None:
            link.write(frame(answers.immediate))


class _NoAnswer(EndpointUnavailable):
    """No answer came within the response timeout."""


class _Answered(EndpointUnavailable):
    """The endpoint answered, and its answer means: try again later. The connection is in order."""


_QUEUE = 1_000
"""Answers held for one message. A peer that floods more is cut off."""


class _Link(asyncio.Protocol):
    """One connection to the endpoint: gives events while an answer is expected, drops and counts them otherwise."""

    def __init__(self, settings: SenderSettings, observe: Observe) -> None:
        self.events: asyncio.Queue[Event | None] = asyncio.Queue()
        self._settings = settings
        self._observe = observe
        self._framer = Framer(Limits(frame=settings.frame))
        self._transport: asyncio.Transport | None = None
        self._expecting = False

    @property
    def usable(self) -> bool:
        """Whether it may carry another message."""
        return self._transport is not None and not self._transport.is_closing() and not self._framer.closed

    @property
    def unframed(self) -> bool:
        """Whether the peer has sent something outside of frames since the last one."""
        return self._framer.unframed

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        for event in self._framer.feed(data):
            self._take(event)

    def eof_received(self) -> bool:
        for event in self._framer.end():
            self._take(event)
        self.events.put_nowait(None)
        return False

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002  (asyncio names it)
        self._transport = None
        self.events.put_nowait(None)

    def send(self, data: bytes) -> None:
        """Send a message and expect answers."""
        self._expecting = True
        self.write(data)

    def rest(self) -> None:
        """The answer came: drop what else came or comes, it is not the next message's answer."""
        self._expecting = False
        while not self.events.empty():
            if self.events.get_nowait() is not None:
                self._dropped("unasked")

    def write(self, data: bytes) -> None:
        """Send bytes; a lost connection shows in `events`."""
        if self._transport is not None:
            self._transport.write(data)

    def close(self) -> None:
        """Close after what was written is sent."""
        if self._transport is not None:
            self._transport.close()

    def abort(self) -> None:
        """Close without waiting."""
        if self._transport is not None:
            self._transport.abort()
            self._transport = None

    def _take(self, event: Event) -> None:
        if isinstance(event, Frame | Commit):
            if not self._expecting:
                self._dropped("unasked")
            elif self.events.qsize() < _QUEUE:
                self.events.put_nowait(event)
            else:
                self.abort()
            return
        self._dropped(event.reason if isinstance(event, Refused | Truncated) else "junk")
        if isinstance(event, Refused | Junk) and event.close:
            self.abort()
            self.events.put_nowait(None)

    def _dropped(self, reason: str) -> None:
        self._observe("hl7.answer-dropped", {"reason": reason, "endpoint": self._settings.name})
