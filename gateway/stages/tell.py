"""A clinical message tells the open cases of its patient (design D12): it starts nothing, it joins what waits.

Which messages do is the mapping's table; those carry the patient's lookup keys as `parents`, and where one message has
several merges, those of each further patient as `others`. A discharge, a result or a document becomes an event of each
open case of that patient and part of its facts, then its workflow is told, and what follows is what its definition
says. A message that finds no open case is journaled only.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from gateway.core.envelope import Envelope
from gateway.core.errors import MessageConflict
from gateway.stages.start import Keys, Opened, Starter, keys_of


class PatientCases(Protocol):
    """The store's side of telling."""

    def tell(self, envelope: Envelope, keys: Keys) -> Awaitable[Sequence[Opened]]:
        """Add the message to every open case under one of `keys`, in one transaction; those cases.

        Raises MessageConflict when the message's key was used with another body, Unavailable.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class TellStage:
    """Stage two for clinical messages, built once by the starter."""

    cases: PatientCases
    starter: Starter
    park: Callable[[Envelope, str], Awaitable[None]]

    async def __call__(self, envelope: Envelope) -> Sequence[Opened]:
        """Join the open cases and tell their workflows. Safe to repeat at any point."""
        told: list[Opened] = []
        for patient in (envelope.reply.get("parents", ()), *envelope.reply.get("others", ())):
            if keys := keys_of({}, patient):
                try:
                    told += await self.cases.tell(envelope, keys)
                except MessageConflict:
                    await self.park(envelope, "conflict")
                    return ()
        for opened in told:
            await self.starter.notify(opened, envelope.type)
        return tuple(told)
