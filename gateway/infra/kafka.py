"""The door to Kafka for producing: one idempotent acks=all producer per process. Consuming: gateway/infra/consuming.py.

FastStream's publisher would add its own headers and a second serialization step to each record (decision 0003);
aiokafka's costs more than twice as much for each record that is waited for (decision 0066).
"""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from typing import Any, Literal

from aiokafka.errors import KafkaError

from gateway.core.errors import Unavailable
from gateway.infra.producer import Producer

MAX_RECORD_BYTES = 1024 * 1024
BATCH_BYTES = 256 * 1024
"""Records of one partition that go together while the broker confirms those before. An envelope has about 10 KiB: with
the usual 16 KiB each would wait for the round trip of the one before it."""
RECORD_SECONDS = 8.0
"""How long a record may take, retries included. Callers with a shorter patience cancel."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KafkaSecurity:
    """How to connect to a cluster; the embedded one is plaintext on the loopback interface."""

    protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = "PLAINTEXT"
    mechanism: str = "PLAIN"
    username: str | None = None
    password: str | None = None

    def options(self) -> dict[str, Any]:
        """aiokafka's connection options."""
        options: dict[str, Any] = {"security_protocol": self.protocol}
        if self.protocol in ("SSL", "SASL_SSL"):
            options["ssl_context"] = ssl.create_default_context()
        if self.username is not None:
            options |= {
                "sasl_mechanism": self.mechanism,
                "sasl_plain_username": self.username,
                "sasl_plain_password": self.password,
            }
        return options


class KafkaPublisher:
    """The Publisher port: returns once all in-sync replicas have the record."""

    def __init__(self, servers: str, security: KafkaSecurity | None = None) -> None:
        self._servers = servers
        self._security = (security or KafkaSecurity()).options()
        self._producer: Producer | None = None

    async def open(self) -> None:
        """Connect. Raises Unavailable."""
        producer = Producer(
            self._servers,
            self._security,
            timeout=RECORD_SECONDS,
            batch_bytes=BATCH_BYTES,
            record_bytes=2 * MAX_RECORD_BYTES,
        )
        try:
            await producer.start()
        except (KafkaError, OSError) as error:
            await producer.stop()
            raise Unavailable(f"Kafka does not answer ({type(error).__name__})") from error
        self._producer = producer

    async def close(self) -> None:
        """Flush and disconnect."""
        if self._producer is not None:
            await self._producer.stop()
            self._producer = None

    async def publish(self, topic: str, *, key: str, headers: dict[str, str], value: bytes) -> tuple[int, int]:
        """One acknowledged produce. Raises Unavailable."""
        if self._producer is None:
            raise Unavailable("Kafka is not connected")
        encoded = [(name, text.encode()) for name, text in headers.items()]
        try:
            return await self._producer.send(topic, key.encode() or None, value, encoded)
        except (KafkaError, OSError) as error:
            raise Unavailable(f"Kafka does not confirm ({type(error).__name__})") from error
