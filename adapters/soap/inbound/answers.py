"""What each PayloadID was answered, so that the same one is answered once."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Awaitable
from dataclasses import dataclass, field
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Answer:
    """What one PayloadID was answered."""

    digest: str
    """SHA-256 of request kind and payload: tells a resend from a conflict."""
    envelope: bytes
    acknowledgement: bytes | None = None
    """The X12 acknowledgement of a batch, or its results, kept for retrieval."""


class Answers(Protocol):
    """Memory of answers by (tenant, client, PayloadID). Shared by all edges where there are several processes."""

    def get(self, key: tuple[str, ...]) -> Awaitable[Answer | None]:
        """The answer given before, or None."""
        ...

    def put(self, key: tuple[str, ...], answer: Answer) -> Awaitable[None]:
        """Remember; returns once remembered."""
        ...


@dataclass
class RecentAnswers:
    """The answers of this process, the oldest forgotten beyond `capacity` (count)."""

    capacity: int = 10_000
    _answers: OrderedDict[tuple[str, ...], Answer] = field(default_factory=OrderedDict)

    async def get(self, key: tuple[str, ...]) -> Answer | None:
        """The answer given before, or None."""
        return self._answers.get(key)

    async def put(self, key: tuple[str, ...], answer: Answer) -> None:
        """Remember."""
        self._answers[key] = answer
        while len(self._answers) > self.capacity:
            self._answers.popitem(last=False)
