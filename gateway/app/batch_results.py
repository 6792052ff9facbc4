"""Fetching what payers say of CORE batches: their 999, then their results, until there is a final answer.

What is fetched enters as a file of that partner's drop would: judged, accepted and answered by the interchange desk, so
the same interchange twice has no second effect. Its acknowledgement, where the partner's profile has one, goes back by
BatchResultsAckSubmit; only then is the batch done, so a process that dies in between does all of it again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from adapters.sftp.inbound import AnswerFile
from adapters.soap.outbound import CoreSender
from adapters.x12.wire import Transaction, read
from gateway.core.envelope import Raw, Reception
from gateway.core.errors import GatewayError, MalformedMessage
from gateway.infra.telemetry import logger
from gateway.partners import Fetching, Partner
from gateway.stages.ask import REJECTION
from gateway.store.core_batches import CoreBatch, CoreBatches
from mappings.payer_278 import PAYLOAD_TYPE, read_answer

log = logger("batch-results")

AT_ONCE = 8
"""Batches asked about at once: a server that is slow holds up no other one."""
LEASE_SECONDS = 600.0
"""Longer than three calls and the entering of what they bring may take."""
X12 = "application/edi-x12"
OPEN = frozenset({"A4", "CT"})
"""Review actions after which another answer follows: pended, contact payer (X12 element 306)."""

Receive = Callable[[Raw, Reception], Awaitable[Sequence[AnswerFile]]]
"""Take one file of X12; what it is answered with (gateway.app.x12.receiver)."""
Turn = Callable[[CoreBatch, float], Awaitable[None]]
"""Wait for the endpoint's next turn, given the seconds between two."""


def is_final(data: bytes) -> bool:
    """Whether the newest 278 response in these interchanges leaves nothing open."""
    newest = None
    for event in read([data]):
        if isinstance(event, Transaction) and any(event.tree.descendants("2000A")):
            newest = event.tree
    if newest is None:
        return False
    loops = [loop for name in ("2000E", "2000F") for loop in newest.descendants(name)]
    return OPEN.isdisjoint(segment.get(1) for loop in loops for segment in loop.segments("HCR"))


def is_refusal(data: bytes) -> bool:
    """Whether an acknowledgement refuses what we sent."""
    try:
        answer = read_answer(data, Reception(tenant="", source="", received_at=datetime.min))  # noqa: DTZ901 - unused
    except MalformedMessage:
        return False
    return answer is not None and answer.type == REJECTION


@dataclass(frozen=True, slots=True, kw_only=True)
class Fetcher:
    """Asks about batches that are due."""

    batches: CoreBatches
    partners: Mapping[str, Partner]
    """Partners asked by CORE batch, by endpoint."""
    senders: Mapping[str, CoreSender]
    receive: Receive
    turn: Turn
    clock: Callable[[], datetime]

    async def round(self) -> None:
        """Everything that is due now, once."""
        await asyncio.gather(*(self._drain() for _ in range(AT_ONCE)))

    async def _drain(self) -> None:
        endpoints = list(self.partners)
        while (batch := await self.batches.claim(self.clock(), LEASE_SECONDS, endpoints)) is not None:
            await self._poll(batch)

    async def _poll(self, batch: CoreBatch) -> None:
        """One batch: its acknowledgement first, then its results."""
        acknowledged = batch.acknowledged
        if not acknowledged:
            told = await self._tried(batch, self._acknowledged(batch))
            if told is not None and is_refusal(told):
                return await self.batches.close(batch, "refused")
            acknowledged = bool(told)
        told = await self._tried(batch, self._resulted(batch))
        if told and is_final(told):
            return await self.batches.close(batch, "done")
        fetching, now = self._fetching(batch), self.clock()
        if now > batch.sent_at + timedelta(days=fetching.days):
            log.warning("batch.given_up", endpoint=batch.endpoint, tenant=batch.tenant)
            return await self.batches.close(batch, "given-up")
        following = now + timedelta(seconds=fetching.pause(batch.polls))
        return await self.batches.later(batch, following, acknowledged=acknowledged)

    async def _acknowledged(self, batch: CoreBatch) -> bytes:
        await self._wait(batch)
        told = await self.senders[batch.endpoint].acknowledgement(batch.key, PAYLOAD_TYPE)
        if told:
            await self._enter(batch, told)
        return told

    async def _resulted(self, batch: CoreBatch) -> bytes:
        await self._wait(batch)
        sender = self.senders[batch.endpoint]
        told = await sender.results(batch.key, PAYLOAD_TYPE)
        if told and (answers := await self._enter(batch, told)):
            await self._wait(batch)
            await sender.confirm(batch.key, b"".join(one.data for one in answers))
        return told

    async def _enter(self, batch: CoreBatch, data: bytes) -> Sequence[AnswerFile]:
        reception = Reception(
            tenant=batch.tenant,
            source=batch.endpoint,
            received_at=self.clock(),
            media_type=X12,
            client=self.partners[batch.endpoint].name,
        )
        return await self.receive(Raw.of(data, X12), reception)

    async def _tried(self, batch: CoreBatch, doing: Awaitable[bytes]) -> bytes | None:
        """What came; None where it failed: it is tried again, and neither retrieval depends on the other."""
        try:
            return await doing
        except GatewayError as error:
            log.warning("batch.not_fetched", endpoint=batch.endpoint, tenant=batch.tenant, code=error.code)
            return None

    async def _wait(self, batch: CoreBatch) -> None:
        await self.turn(batch, 1 / self.partners[batch.endpoint].per_second)

    def _fetching(self, batch: CoreBatch) -> Fetching:
        asking = self.partners[batch.endpoint].ask
        return asking.results if asking is not None else Fetching()
