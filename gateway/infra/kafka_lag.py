"""Collects consumer lag from a cluster: offsets, members, and the commits themselves.

The commits come from `__consumer_offsets`, as in Burrow: only there is written *when* somebody committed, so that one
look tells a status and no history has to be built up first. Where that topic may not be read, commits are unknown and
a group is judged by its offsets alone. Ends at earlier times come from the log's own time index.

Format of `__consumer_offsets` (Kafka's OffsetCommitKey and OffsetCommitValue, big-endian): key = version int16 (0, 1:
an offset; others are group metadata), group, topic, partition int32; value = version int16, offset int64, leader epoch
int32 (version 3 on), metadata, time of commit int64 in ms. Strings are int16 lengths and UTF-8, in version 4 varints.
"""

from __future__ import annotations

import contextlib
import struct
from collections import deque
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError

from gateway.core.errors import MalformedMessage, Unavailable
from gateway.core.lag import Commit, GroupReading, PartitionReading, Point
from gateway.core.ports import Clock
from gateway.infra.kafka import KafkaSecurity
from gateway.infra.topics_admin import admin

OFFSETS = "__consumer_offsets"
WINDOW = 10
"""Commits looked at, as in Burrow."""
MINIMUM_DISTANCE = 1.0
"""Seconds; of several commits within this, the last one counts: a window must span some time."""
HORIZON = 3600.0
"""Seconds of commits that are read; an older commit is known by its offset only."""
LADDER = (5, 10, 20, 40, 60, 80, 100, 180, 300, 600, 1200, 1800, 3600, 7200, 21600, 86400, 259200)
"""Ages in seconds at which the ends of the partitions are asked for."""
KEPT = 50 * WINDOW


@dataclass(frozen=True, slots=True)
class RawCommit:
    """A commit as written; `offset` None: it was deleted."""

    group: str
    topic: str
    partition: int
    offset: int | None
    at: float


def parse_commit(key: bytes, value: bytes | None) -> RawCommit | None:
    """Read a record of `__consumer_offsets`; None for the records that are no commits.

    Raises MalformedMessage when it is cut off or of an unknown version.
    """
    try:
        (version,) = struct.unpack_from(">h", key)
        if version > 1:
            return None
        group, position = _text(key, 2)
        topic, position = _text(key, position)
        (partition,) = struct.unpack_from(">i", key, position)
        if not value:
            return RawCommit(group, topic, partition, None, 0.0)
        version, offset = struct.unpack_from(">hq", value)
        if not 0 <= version <= 4:
            raise MalformedMessage("unknown version of a commit record")
        position = _after_metadata(value, 10 + (4 if version >= 3 else 0), compact=version >= 4)
        (milliseconds,) = struct.unpack_from(">q", value, position)
    except (struct.error, UnicodeDecodeError, IndexError) as error:
        raise MalformedMessage("a commit record is cut off") from error
    return RawCommit(group, topic, partition, offset, milliseconds / 1000)


def sample(commits: Iterable[Commit]) -> list[Commit]:
    """The last WINDOW commits, at most one for each MINIMUM_DISTANCE, in the order they were written.

    That is not the order of their times: a broker's clock may step back, and a consumer did not rewind then.
    """
    kept: list[Commit] = []
    for commit in commits:
        if kept and int(commit.at / MINIMUM_DISTANCE) == int(kept[-1].at / MINIMUM_DISTANCE):
            kept[-1] = commit
        else:
            kept.append(commit)
    return kept[-WINDOW:]


def _text(data: bytes, position: int) -> tuple[str, int]:
    (size,) = struct.unpack_from(">h", data, position)
    return data[position + 2 : position + 2 + size].decode(), position + 2 + size


def _after_metadata(data: bytes, position: int, *, compact: bool) -> int:
    if not compact:
        (size,) = struct.unpack_from(">h", data, position)
        return position + 2 + int(size)
    size = shift = 0
    while True:
        byte = data[position]
        position += 1
        size |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            return position + size - 1


@dataclass
class LagCollector:
    """Looks at the groups of a cluster; keep it open to look again cheaply."""

    client: AIOKafkaAdminClient
    consumer: AIOKafkaConsumer
    clock: Clock
    history: dict[tuple[str, TopicPartition], deque[RawCommit]] = field(default_factory=dict)
    readable: bool = True
    """Whether `__consumer_offsets` may be read."""

    async def collect(self, expected: Mapping[str, Iterable[str]], groups: Iterable[str] = ()) -> list[GroupReading]:
        """All groups, or those named, sorted by name.

        `expected`: topics that a group is meant to read, so that one that never committed is shown all the same.
        """
        wanted = set(groups)
        found = {name for name, _kind in (tuple(group)[:2] for group in await self.client.list_consumer_groups())}
        names = sorted(wanted or found | set(expected))
        await self._read_commits()
        topics = set(await self.client.list_topics())
        result = []
        for name in names:
            committed = await self._committed(name)
            meant = await self._partitions(topics & set(expected.get(name, ())))
            partitions = sorted({*committed, *meant}, key=lambda part: (part.topic, part.partition))
            state, members = await self._state(name, listed=name in found)
            present = [part for part in partitions if part.topic in topics]
            now = self.clock().timestamp()
            readings = await self._partition_readings(name, present, committed, now)
            result.append(GroupReading(group=name, state=state, members=members, at=now, partitions=readings))
        return result

    async def _committed(self, group: str) -> dict[TopicPartition, int]:
        answer = await self.client.list_consumer_group_offsets(group)
        return {part: found.offset for part, found in answer.items() if found.offset >= 0}

    async def _partitions(self, topics: set[str]) -> list[TopicPartition]:
        if not topics:
            return []
        described = await self.client.describe_topics(sorted(topics))
        return [
            TopicPartition(topic["topic"], part["partition"]) for topic in described for part in topic["partitions"]
        ]

    async def _state(self, group: str, *, listed: bool) -> tuple[str, int]:
        (answer,) = await self.client.describe_consumer_groups([group])
        (described,) = answer.groups
        _error, _name, state, _kind, _protocol, members = tuple(described)[:6]
        # a group of the newer protocol is listed, but "dead" to the call that describes classic ones
        return "Unknown" if listed and state == "Dead" else str(state), len(members)

    async def _partition_readings(
        self, group: str, partitions: list[TopicPartition], committed: Mapping[TopicPartition, int], now: float
    ) -> tuple[PartitionReading, ...]:
        if not partitions:
            return ()
        begins = await self.consumer.beginning_offsets(partitions)
        ends = await self.consumer.end_offsets(partitions)
        behind = [part for part in partitions if committed.get(part, begins[part]) < ends[part]]
        points = await self._points(behind, ends, now)
        commits = await self._commits(group, behind, committed, ends, now)
        return tuple(
            PartitionReading(
                topic=part.topic,
                partition=part.partition,
                begin=begins[part],
                end=ends[part],
                committed=committed.get(part),
                commits=commits.get(part, ()),
                ends=points.get(part, ()),
            )
            for part in partitions
        )

    async def _points(
        self, partitions: list[TopicPartition], ends: Mapping[TopicPartition, int], now: float
    ) -> dict[TopicPartition, tuple[Point, ...]]:
        """Where each partition ended at the ages of the ladder."""
        points: dict[TopicPartition, list[Point]] = {part: [] for part in partitions}
        for age in LADDER if partitions else ():
            found = await self.consumer.offsets_for_times({part: int((now - age) * 1000) for part in partitions})
            for part in partitions:
                first = found.get(part)
                # until the first record of that age was written, the partition ended at it
                last = (ends[part], now - age) if first is None else (first.offset, first.timestamp / 1000)
                points[part].append(Point(*last))
        return {part: tuple(found) for part, found in points.items()}

    async def _commits(
        self,
        group: str,
        partitions: list[TopicPartition],
        committed: Mapping[TopicPartition, int],
        ends: Mapping[TopicPartition, int],
        now: float,
    ) -> dict[TopicPartition, tuple[Commit, ...]]:
        """The windows of commits, each with the lag there was at its time."""
        windows: dict[TopicPartition, list[Commit]] = {}
        for part in partitions:
            if part not in committed:
                continue
            raw = [
                Commit(each.offset, each.at, 1)
                for each in self.history.get((group, part), ())
                if each.offset is not None
            ]
            if not raw or raw[-1].offset != committed[part]:
                raw.append(Commit(committed[part], raw[-1].at if raw else now - HORIZON, 1))
            windows[part] = sample(raw)
        for number in range(WINDOW):
            times = {part: int(found[number].at * 1000) for part, found in windows.items() if number < len(found)}
            if times:
                firsts = await self.consumer.offsets_for_times(times)
                for part in times:
                    first, commit = firsts.get(part), windows[part][number]
                    end = ends[part] if first is None else first.offset
                    windows[part][number] = Commit(commit.offset, commit.at, max(0, end - commit.offset))
        return {part: tuple(found) for part, found in windows.items()}

    async def _read_commits(self) -> None:
        """Read what was committed since the last look."""
        with contextlib.suppress(KafkaError):
            if self.readable and not self.consumer.assignment():
                await self._assign()
        if not self.consumer.assignment():
            self.readable = False
            return
        ends = await self.consumer.end_offsets(list(self.consumer.assignment()))
        while behind := [part for part, end in ends.items() if await self.consumer.position(part) < end]:
            self.consumer.resume(*behind)
            for records in (await self.consumer.getmany(*behind, timeout_ms=500, max_records=5000)).values():
                for record in records:
                    self._keep(record.key, record.value)
            self.consumer.pause(*behind)  # a fetch that waits holds up every other question on its connection

    async def _assign(self) -> None:
        partitions = await self._partitions({OFFSETS} & set(await self.client.list_topics()))
        if not partitions:
            return
        self.consumer.assign(partitions)
        self.consumer.pause(*partitions)
        since = int((self.clock().timestamp() - HORIZON) * 1000)
        firsts = await self.consumer.offsets_for_times(dict.fromkeys(partitions, since))
        for part in partitions:
            first = firsts.get(part)
            if first is None:
                await self.consumer.seek_to_end(part)
            else:
                self.consumer.seek(part, first.offset)

    def _keep(self, key: bytes | None, value: bytes | None) -> None:
        try:
            commit = parse_commit(key or b"", value)
        except MalformedMessage:
            return  # of a later Kafka; the offset itself is known from the group
        if commit is None:
            return
        place = (commit.group, TopicPartition(commit.topic, commit.partition))
        if commit.offset is None:
            self.history.pop(place, None)
        else:
            self.history.setdefault(place, deque(maxlen=KEPT)).append(commit)


@asynccontextmanager
async def collector(servers: str, clock: Clock, security: KafkaSecurity | None = None) -> AsyncIterator[LagCollector]:
    """An open collector. Raises Unavailable, also for what fails in the block on Kafka's side."""
    options = (security or KafkaSecurity()).options()
    async with admin(servers, security) as client:
        consumer = AIOKafkaConsumer(
            bootstrap_servers=servers,
            group_id=None,
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            exclude_internal_topics=False,
            fetch_max_wait_ms=100,
            **options,
        )
        try:
            await consumer.start()
            yield LagCollector(client=client, consumer=consumer, clock=clock)
        except (KafkaError, OSError) as error:
            raise Unavailable(f"Kafka does not answer ({type(error).__name__})") from error
        finally:
            await consumer.stop()
