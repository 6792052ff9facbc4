"""One connection of the listener: frames in, answers out in the order of the questions.

Messages of one connection are worked on side by side (a sender may pipeline), but never more than `pipeline` of them:
then reading stops, and TCP tells the sender. One message is started per turn of the event loop, so that a sender with
a full buffer does not hold up the others. One read may bring more messages than that: those behind wait as bytes and
inherit the places of those before, so that a sender in a hurry is slowed down and not sent away.
"""

from __future__ import annotations

import asyncio
import socket
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

from adapters.hl7.wire.batch import split
from adapters.hl7.wire.mllp import (
    NEGATIVE,
    POSITIVE,
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
from gateway.core.errors import GatewayError, LimitExceeded, MalformedMessage

from .duplicates import LOST, Outcome
from .exchange import Peer

if TYPE_CHECKING:
    from .listener import Listener

_REASONS = {
    "empty": "empty frame",
    "no-header": "a message starts with MSH",
    "embedded-end": "frame end inside the message",
    "too-large": "message too large",
}


@dataclass(slots=True)
class _Turn:
    """One message's place in the order of answers."""

    payload: bytes
    outcome: Outcome | None = None
    task: asyncio.Task[None] | None = None


class Connection(asyncio.Protocol):
    """A peer that was let in. Times are the event loop's."""

    def __init__(self, listener: Listener, peer: Peer) -> None:
        self.peer = peer
        self._listener = listener
        self._exchange = listener.exchange
        self._loop = asyncio.get_running_loop()
        self._framer = Framer(Limits(frame=listener.settings.frame))
        self._transport: asyncio.Transport | None = None
        self._waiting: deque[_Turn] = deque()
        self._turns: deque[_Turn] = deque()
        self._pumping = False
        self._places = 0
        self._working = 0
        self._reading = True
        self._ending = False
        self._held = 0
        self.entered = False
        """Whether the handshake, if any, is done: from then on the listener hears when it is lost."""
        self.heard = self._loop.time()
        self.frame_since: float | None = None
        self.unread_since: float | None = None

    # What the transport calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.entered = True
        self._transport = cast("asyncio.Transport", transport)
        if not self._listener.welcome(self, self._transport):
            self._ending = True
            self._transport.abort()

    def data_received(self, data: bytes) -> None:
        self.heard = self._loop.time()
        self._receive(self._framer.feed(data))
        self._flow()

    def eof_received(self) -> bool:
        self._receive(self._framer.end())
        self._ending = True
        # Plain TCP may be half closed: the answers still go out. TLS cannot.
        half_closed = self._transport is not None and self._transport.get_extra_info("ssl_object") is None
        self._close_when_done()
        return half_closed

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002  (asyncio names it)
        self._give_up()
        self._transport = None
        self._listener.hold(-self._held)
        self._held = 0
        if self._turns:
            self._listener.observe("hl7.answer-lost", {"count": len(self._turns), "peer": self.peer.address})
        self._listener.lost(self)

    def pause_writing(self) -> None:
        self.unread_since = self._loop.time()
        self._flow()

    def resume_writing(self) -> None:
        self.unread_since = None
        self._flow()

    # What the listener calls.

    @property
    def busy(self) -> bool:
        """Whether a message is unanswered."""
        return bool(self._turns)

    def drain(self) -> None:
        """Read no more; close when all that was received is answered."""
        self._ending = True
        self._flow()
        self._close_when_done()

    def abort(self, reason: str) -> None:
        """Close at once."""
        self._listener.observe("hl7.closed", {"reason": reason, "peer": self.peer.address})
        self._give_up()
        if self._transport is not None:
            self._transport.abort()

    def _give_up(self) -> None:
        """Nothing more will be read or can be answered: forget what was not started."""
        self._ending = True
        for event in self._framer.end():
            if isinstance(event, Truncated | Junk):
                self._take(event)
        while self._waiting:
            turn = self._waiting.popleft()
            turn.outcome = LOST
            self._listener.release(len(turn.payload), places=0)
        self._listener.release(0, places=self._places - self._working)
        self._places = self._working

    # Frames in.

    def _receive(self, events: list[Event]) -> None:
        """Take what was completed, and keep account of what was not."""
        unfinished = self._framer.in_frame
        room = self._hold(unfinished=unfinished) if unfinished or self.frame_since is not None else True
        for event in events:
            self._take(event)
        if self._waiting and not self._pumping:
            self._pumping = True
            self._pump()
        if not room:
            self._answer_now(b"", LimitExceeded("busy, send again later"))
            self._ending = True
            self._close_when_done()

    def _hold(self, *, unfinished: bool) -> bool:
        """Keep the clock of an unfinished frame and the count of its bytes; whether there is room for them."""
        if not unfinished:
            self.frame_since = None
        elif self.frame_since is None:
            self.frame_since = self.heard
        growth = self._framer.buffered - self._held
        self._held += growth
        return self._listener.hold(growth)

    def _take(self, event: Event) -> None:
        match event:
            case Frame(payload=payload):
                self._queue(payload)
                return
            case Refused(reason=reason, payload=payload):
                error: GatewayError = MalformedMessage(_REASONS[reason], location="segment 1")
                if reason == "too-large":
                    error = LimitExceeded(_REASONS[reason])
                self._answer_now(payload, error)
            case Truncated(reason=reason, size=size):
                self._listener.observe("mllp.truncated", {"reason": reason, "size": size, "peer": self.peer.address})
            case Junk(size=size, head=head):
                self._listener.observe("mllp.junk", {"size": size, "head": head, "peer": self.peer.address})
            case Commit(positive=positive):
                self._listener.observe("mllp.commit", {"positive": int(positive), "peer": self.peer.address})
        if isinstance(event, Refused | Junk) and event.close:
            self._ending = True
            self._close_when_done()

    def _queue(self, payload: bytes) -> None:
        listener = self._listener
        place = self._places < listener.settings.pipeline
        if not listener.admit(len(payload), place=place):
            self._answer_now(payload, LimitExceeded("busy, send again later"))
            return
        self._places += place
        turn = _Turn(payload)
        self._turns.append(turn)
        self._waiting.append(turn)

    def _pump(self) -> None:
        """Start one message; come back in the next turn of the loop for another."""
        waiting = self._waiting
        if waiting and self._working < self._places:
            self._working += 1
            turn = waiting.popleft()
            turn.task = self._loop.create_task(self._work(turn))
            self._listener.tasks.add(turn.task)
        self._pumping = bool(waiting) and self._working < self._places
        if self._pumping:
            self._loop.call_soon(self._pump)

    # Answers out.

    async def _work(self, turn: _Turn) -> None:
        """One message, to its answer: written in the turn of the loop in which it is known."""
        outcome = LOST
        try:
            outcome = await self._exchange.handle(turn.payload, self.peer)
        except Exception as fault:  # noqa: BLE001 - a defect of ours: the sender hears AE, the others go on
            self._listener.observe("hl7.defect", {"error": type(fault).__name__, "peer": self.peer.address})
            outcome = self._exchange.defect(turn.payload)
        finally:
            self._listener.tasks.discard(cast("asyncio.Task[None]", turn.task))
            self._settle(turn, outcome)

    def _settle(self, turn: _Turn, outcome: Outcome) -> None:
        self._working -= 1
        inherited = len(self._waiting) > self._places - self._working - 1
        self._places -= not inherited
        self._listener.release(len(turn.payload), places=not inherited)
        if inherited and not self._pumping:
            self._pumping = True
            self._loop.call_soon(self._pump)
        turn.outcome, turn.payload = outcome, b""
        self._write_ready()

    def _answer_now(self, payload: bytes, error: GatewayError) -> None:
        """Refuse without work, in its place in the order."""
        self._turns.append(_Turn(b"", self._exchange.refuse_payload(payload, error)))
        self._write_ready()

    def _write_ready(self) -> None:
        """Send the answers of the oldest messages, up to the first that is not settled."""
        chunks: list[bytes] = []
        turns, transport = self._turns, self._transport
        while turns and (outcome := turns[0].outcome) is not None:
            turns.popleft()
            chunks += self._frames(outcome)
        if transport is None:
            return
        if chunks and not transport.is_closing():
            transport.write(b"".join(chunks))
        self._flow()
        self._close_when_done()

    def _frames(self, outcome: Outcome) -> list[bytes]:
        """An answer as frames: the commit acknowledgement of release 2 first, then each message in its own."""
        answer = outcome.answer
        if answer is None:
            frames = []
        elif answer.find(b"\rMSH") > 0 and answer.startswith(b"MSH"):
            frames = [frame(message) for message in split(answer).messages]
        else:
            frames = [frame(answer)]
        if self._listener.settings.release == 2:
            frames.insert(0, frame(POSITIVE if outcome.committed else NEGATIVE))
        return frames

    def _flow(self) -> None:
        """Read only while answers find room: in our pipeline and in the peer's buffer."""
        wanted = not self._ending and self.unread_since is None and len(self._turns) < self._listener.settings.pipeline
        transport = self._transport
        if wanted == self._reading or transport is None or transport.is_closing():
            return
        self._reading = wanted
        if wanted:
            transport.resume_reading()
        else:
            transport.pause_reading()

    def _close_when_done(self) -> None:
        if self._ending and not self._turns and self._transport is not None:
            self._transport.close()


def configure(connected: socket.socket, keepalive: tuple[int, int, int]) -> None:
    """No delay of small answers; TCP keepalive, so that a peer that vanished is noticed."""
    idle, interval, probes = keepalive
    connected.setblocking(False)
    connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    connected.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option, value in (("TCP_KEEPIDLE", idle), ("TCP_KEEPINTVL", interval), ("TCP_KEEPCNT", probes)):
        if hasattr(socket, option):
            connected.setsockopt(socket.IPPROTO_TCP, getattr(socket, option), value)
