"""The door to Kafka for producing: one idempotent acks=all producer per process. Consuming: gateway/infra/consuming.py.

Production is aiokafka itself (decision 0003): FastStream's publisher would add its own headers and a second
serialization step to each record.
"""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from typing import Any, Literal

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError

from gateway.core.errors import Unavailable

MAX_RECORD_BYTES = 1024 * 1024
BATCH_BYTES = 256 * 1024
"""Records of one partition that go together while the broker confirms those before. An envelope has about 10 KiB: with
aiokafka's 16 KiB each would wait for the round trip of the one before it."""


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

    def __init__(self, servers: str, security: KafkaSecurity | None = None, *, linger_ms: int = 0) -> None:
        self._options: dict[str, Any] = {
            "bootstrap_servers": servers,
            "acks": "all",
            "enable_idempotence": True,
            "linger_ms": linger_ms,
            "request_timeout_ms": 8000,
            "max_request_size": 2 * MAX_RECORD_BYTES,
            "max_batch_size": BATCH_BYTES,
            **(security or KafkaSecurity()).options(),
        }
        self._producer: AIOKafkaProducer | None = None

    @property
    def options(self) -> dict[str, Any]:
        """The producer's options, for the test that walks live producers."""
        return dict(self._options)

    async def open(self) -> None:
        """Connect. Raises Unavailable."""
        producer = AIOKafkaProducer(**self._options)
        try:
            await producer.start()
        except KafkaError as error:
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
            metadata = await self._producer.send_and_wait(topic, value, key=key.encode() or None, headers=encoded)
        except (KafkaError, OSError) as error:
            raise Unavailable(f"Kafka does not confirm ({type(error).__name__})") from error
        return metadata.partition, metadata.offset
