"""Handshake and heartbeats of a FHIR Subscription (R5 Backport 1.1.0).

The handshake is tried for a while; then the subscription is active or in error. One that asked for a heartbeat period
gets one each period for as long as this version of it is active. A beat that nobody takes is left out: the next one is
due soon, and events are tried for days whatever becomes of heartbeats.
"""

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
BEATS = 500
"""Heartbeats in one run of the workflow, then it continues as a new one: its history stays short."""
ENDED = "ended"
TRIES = 4
"""A receiver that does not answer four times within about half a minute is not there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HandshakeActivities:
    """The activities, built once by the worker role."""

    render: Callable[[str, str], Awaitable[Outbound]]
    """(tenant, subscription id) → the handshake."""
    render_heartbeat: Callable[[str, str, int], Awaitable[Outbound | None]]
    """(tenant, subscription id, version) → the heartbeat; None when this version is active no more."""
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

    @activity.defn(name="heartbeat")
    async def heartbeat(self, given: dict[str, Any]) -> str:
        """Send one heartbeat; `ended` when none is due any more."""
        outbound = await self.render_heartbeat(given["tenant"], given["subscription"], given["version"])
        if outbound is None:
            return ENDED
        try:
            await self.sender.send(outbound)
        except DeliveryError as error:
            raise ApplicationError(error.message, type=error.code, non_retryable=not error.retryable) from None
        return "sent"

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
        if status == "active" and given.get("heartbeat"):
            workflow.continue_as_new(given, workflow=Heartbeat.run)
        return status


@workflow.defn(name="Heartbeat")
class Heartbeat:
    """The heartbeats of one version of a subscription."""

    @workflow.run
    async def run(self, given: dict[str, Any]) -> str:
        """`ended`, when this version of the subscription is active no more."""
        for _ in range(BEATS):
            if await self._beat(given) == ENDED:
                return ENDED
        return workflow.continue_as_new(given)

    async def _beat(self, given: dict[str, Any]) -> str:
        await workflow.sleep(timedelta(seconds=given["heartbeat"]))
        try:
            told: str = await workflow.execute_activity(
                "heartbeat",
                given,
                task_queue=QUEUE,
                result_type=str,
                start_to_close_timeout=timedelta(seconds=30),
                schedule_to_close_timeout=timedelta(minutes=1),
                retry_policy=RetryPolicy(initial_interval=timedelta(seconds=2), maximum_attempts=TRIES),
            )
        except ActivityError:
            return "missed"
        return told
