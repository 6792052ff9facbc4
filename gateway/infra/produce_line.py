"""One partition of the producer: records that wait, at most one batch on its way, and its sequence numbers. No I/O.

Sequence numbers (KIP-98) advance with confirmations only. A batch that is given up after it was sent may have been
stored or not: the numbers behind it are unknown then, and the producer must take a new id, which begins with zero.
"""

from __future__ import annotations

import asyncio
from collections import deque

from aiokafka.errors import KafkaError, KafkaTimeoutError
from aiokafka.record.default_records import DefaultRecordBatchBuilder

from gateway.infra.produce_wire import Place

Headers = list[tuple[str, bytes]]
Stored = tuple[int, int]
"""Partition and offset."""
Identity = tuple[int, int]
"""Producer id and epoch."""


class Record:
    """A record and its caller. Done before its time: the caller has gone."""

    __slots__ = ("deadline", "done", "headers", "key", "value")

    def __init__(
        self, done: asyncio.Future[Stored], key: bytes | None, value: bytes, headers: Headers, deadline: float
    ) -> None:
        self.done, self.key, self.value, self.headers, self.deadline = done, key, value, headers, deadline


class Batch:
    """Records whose bytes, producer id and sequence number are settled: each attempt sends the same."""

    __slots__ = ("data", "records")

    def __init__(self, data: bytearray, records: list[Record]) -> None:
        self.data, self.records = data, records


class Line:
    """The records of one partition, in the order they were given."""

    __slots__ = ("alone", "batch", "busy", "identity", "leader", "place", "sequence", "waiting")

    def __init__(self, place: Place) -> None:
        self.place = place
        self.leader = -1
        self.waiting: deque[Record] = deque()
        self.batch: Batch | None = None
        """Sent at least once, and neither confirmed nor refused."""
        self.busy = False
        """Whether it is ready at a broker, on its way, or resting: somebody will look after it."""
        self.identity: Identity | None = None
        self.sequence = 0
        self.alone = 0
        """Records at the head that go one by one, because the broker found them too large together."""

    def build(self, identity: Identity, size: int) -> Batch | None:
        """The oldest records as a batch of about this many bytes; None when nobody waits for any."""
        if self.identity != identity:
            self.identity, self.sequence = identity, 0
        builder = DefaultRecordBatchBuilder(
            magic=2,
            compression_type=0,
            is_transactional=0,
            producer_id=identity[0],
            producer_epoch=identity[1],
            base_sequence=self.sequence,
            batch_size=size,
        )
        records: list[Record] = []
        waiting, alone = self.waiting, self.alone > 0
        while waiting and not (records and alone):
            record = waiting[0]
            if not record.done.done():
                if builder.append(len(records), None, record.key, record.value, record.headers) is None:
                    break
                records.append(record)
            waiting.popleft()
            self.alone -= alone
        return Batch(builder.build(), records) if records else None

    def confirm(self, offset: int) -> None:
        """The batch is stored, its first record at this offset (-1: the leader does not say)."""
        if self.batch is None:
            return
        for number, record in enumerate(self.batch.records):
            if not record.done.done():
                record.done.set_result((self.place[1], offset + number if offset >= 0 else -1))
        self.sequence = (self.sequence + len(self.batch.records)) % 2**31
        self.batch = None

    def unpack(self, *, alone: bool) -> None:
        """The batch is not stored as it is: its records wait again, at the head, from now on each `alone`."""
        if self.batch is None:
            return
        self.waiting.extendleft(reversed(self.batch.records))
        self.alone = len(self.batch.records) if alone else self.alone
        self.batch = None

    def refuse(self, error: KafkaError) -> None:
        """The batch will not be stored, or nobody will know."""
        if self.batch is None:
            return
        for record in self.batch.records:
            if not record.done.done():
                record.done.set_exception(error)
        self.batch = None

    def expire(self, now: float) -> bool:
        """Give up what is late, while no batch is on its way; whether that was a batch."""
        given_up = self.batch is not None and all(
            record.done.done() or record.deadline <= now for record in self.batch.records
        )
        if given_up:
            self.refuse(KafkaTimeoutError())
        while self.waiting and self.waiting[0].deadline <= now:
            late = self.waiting.popleft().done
            if not late.done():
                late.set_exception(KafkaTimeoutError())
        return given_up

    def abandon(self, error: KafkaError) -> None:
        """Tell everybody no."""
        for record in self.unsettled():
            record.done.set_exception(error)

    def unsettled(self) -> list[Record]:
        """Records whose callers wait."""
        records = [*(self.batch.records if self.batch else ()), *self.waiting]
        return [record for record in records if not record.done.done()]
