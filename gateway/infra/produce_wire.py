"""Kafka's Produce request as bytes, and its response, without I/O (protocol guide: Produce v7, record batch v2).

Version 7 is in every broker from 2.1 to 4.x (KIP-896 keeps 3 and later). Record batches, with their CRC-32C, are
aiokafka's compiled ones; around them stand some sixty bytes that its schema classes take longer to write than the
batch itself. Not handled: transactions, compression, acks other than all.
"""

from __future__ import annotations

import struct
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

PRODUCE, VERSION = 0, 7
ACKS_ALL = -1

NO_ERROR = 0
DUPLICATE_SEQUENCE = 46
"""The record is there since an earlier attempt."""
TRANSIENT = frozenset({2, 3, 5, 6, 7, 13, 19, 20, 56})
"""Errors after which the same batch may succeed: corrupt message, unknown topic or partition, leader not available, not
leader, request timed out, network, not enough replicas, not enough after append, storage."""
TOO_LARGE = frozenset({10, 18})
"""Message too large, record list too large: for a batch, or for a record of it."""
IDENTITY_LOST = frozenset({45, 47, 59})
"""Out of order sequence, invalid producer epoch, unknown producer id: not written, and not to be under this id."""

Place = tuple[str, int]
"""Topic and partition."""

_HEAD = struct.Struct(">hhi")
_SIZE = struct.Struct(">i")
_PAIR = struct.Struct(">ii")
_LENGTH = struct.Struct(">h")
_RESULT = struct.Struct(">ihqqq")


@dataclass(frozen=True, slots=True)
class Result:
    """What the leader said of one partition."""

    error: int
    offset: int
    """Of the batch's first record; -1 where it is not told."""


@lru_cache(maxsize=1024)
def _text(text: str) -> bytes:
    encoded = text.encode()
    return _LENGTH.pack(len(encoded)) + encoded


def request(
    correlation: int, client: str, timeout_ms: int, batches: Sequence[tuple[Place, bytes | bytearray]]
) -> bytes:
    """One Produce request, its size before it. At most one batch for each partition."""
    parts: list[bytes | bytearray] = [
        b"",
        _HEAD.pack(PRODUCE, VERSION, correlation),
        _text(client),
        struct.pack(">hhi", -1, ACKS_ALL, timeout_ms),  # no transactional id
    ]
    if len(batches) == 1:
        (topic, partition), batch = batches[0]
        parts += (_SIZE.pack(1), _text(topic), _SIZE.pack(1), _PAIR.pack(partition, len(batch)), batch)
    else:
        topics: dict[str, list[tuple[int, bytes | bytearray]]] = defaultdict(list)
        for (topic, partition), batch in batches:
            topics[topic].append((partition, batch))
        parts.append(_SIZE.pack(len(topics)))
        for topic, found in topics.items():
            parts += (_text(topic), _SIZE.pack(len(found)))
            for partition, batch in found:
                parts += (_PAIR.pack(partition, len(batch)), batch)
    parts[0] = _SIZE.pack(sum(map(len, parts)))
    return b"".join(parts)


def response(data: bytes) -> tuple[int, dict[Place, Result]]:
    """Correlation id and results of a Produce response (without its size). Raises ValueError for anything else."""
    try:
        correlation, topics = _PAIR.unpack_from(data)
        results: dict[Place, Result] = {}
        position = 8
        for _ in range(topics):
            (length,) = _LENGTH.unpack_from(data, position)
            position += 2 + length
            topic = data[position - length : position].decode()
            (partitions,) = _SIZE.unpack_from(data, position)
            position += 4
            for _ in range(partitions):
                partition, error, offset, _, _ = _RESULT.unpack_from(data, position)
                position += _RESULT.size
                results[topic, partition] = Result(error, offset)
    except struct.error as error:
        raise ValueError("not a Produce response") from error
    if position + 4 != len(data):  # the throttle time
        raise ValueError("not a Produce response")
    return correlation, results


def partition_of(key: bytes, partitions: int) -> int:
    """The partition of a key as other Kafka clients compute it: murmur2 of org.apache.kafka.common.utils."""
    size, mask, mixing = len(key), 0xFFFFFFFF, 0x5BD1E995
    digest = 0x9747B28C ^ size
    words = size >> 2
    for word in struct.unpack_from(f"<{words}I", key):
        mixed = word * mixing & mask
        digest = digest * mixing & mask ^ (mixed ^ mixed >> 24) * mixing & mask
    if size & 3:
        digest = (digest ^ int.from_bytes(key[words << 2 :], "little")) * mixing & mask
    digest = (digest ^ digest >> 13) * mixing & mask
    return ((digest ^ digest >> 15) & 0x7FFFFFFF) % partitions
