"""The handshake of a FHIR Subscription (R5 Backport 1.1.0): tried for a while, then active or in error."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from temporalio import activity, workflow
from temporalio.common import RetryPolicy
from temporalio.exceptions import ActivityError, ApplicationError

with workflow.unsafe.imports_passed_through():
    from gateway.core.errors import DeliveryError
    from gateway.core.ports import Outbound, Sender

QUEUE = "deliver.fhir-notify"
TRIES = 4
"""A receiver that does not answer four times within about half a minute is not there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HandshakeActivities:
    """The activities, built once by the worker role."""

    render: Callable[[str, str], Awaitable[Outbound]]
    """(tenant, subscription id) → the handshake."""
    sender: Sender
    mark: Callable[[str, str, str, str], Awaitable[None]]
    """(tenant, subscription id, status, error)."""

    @activity.defn(name="handshake")
    async def handshake(self, given: dict[str, Any]) -> None:
        """Send the handshake once."""
        try:
            await self.sender.send(await self.render(given["tenant"], given["subscription"]))
        except DeliveryError as error:
            raise ApplicationError(error.message, type=error.code, non_retryable=not error.retryable) from None

    @activity.defn(name="mark_subscription")
    async def mark_subscription(self, given: dict[str, Any]) -> None:
        """Store the outcome."""
        await self.mark(given["tenant"], given["subscription"], given["status"], given["error"])


@workflow.defn(name="Handshake")
class Handshake:
    """One handshake."""

    @workflow.run
    async def run(self, given: dict[str, Any]) -> str:
        """`active` or `error`."""
        status, problem = "active", ""
        try:
            await workflow.execute_activity(
                "handshake",
                given,
                task_queue=QUEUE,
                start_to_close_timeout=timedelta(seconds=30),
                schedule_to_close_timeout=timedelta(minutes=2),
                retry_policy=RetryPolicy(initial_interval=timedelta(seconds=2), maximum_attempts=TRIES),
            )
        except ActivityError:
            status, problem = "error", "the endpoint did not accept the handshake"
        await workflow.execute_local_activity(
            "mark_subscription",
            given | {"status": status, "error": problem},
            start_to_close_timeout=timedelta(seconds=30),
            retry_policy=RetryPolicy(maximum_interval=timedelta(seconds=10)),
        )
        return status
