"""The second phase of HL7's enhanced mode, where a partner wants it on our own connection: sent until it arrives.

The acknowledgement is rendered when the message is read, and its workflow's id is the message's key: whatever is
delivered again, one goes out.
"""

from __future__ import annotations

import base64
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import timedelta

from temporalio import activity, workflow
from temporalio.common import RetryPolicy
from temporalio.exceptions import ApplicationError

with workflow.unsafe.imports_passed_through():
    from gateway.core.errors import DeliveryError
    from gateway.core.ports import Outbound, Receipt
    from workflows.inputs import Acknowledgement
    from workflows.sending import ALIVE

MEDIA_TYPE = "x-application/hl7-v2+er7"
GIVEN_UP = timedelta(days=3)
"""A sender that has waited longer for the second phase has sent again or asked."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AcknowledgeActivities:
    """The activity, built once by the worker role."""

    send: Callable[[str, str, Outbound], Awaitable[Receipt]]
    """(tenant, endpoint, message): one attempt through the endpoint's circuit breaker."""

    @activity.defn(name="acknowledge")
    async def acknowledge(self, given: Acknowledgement) -> None:
        """Send it once."""
        outbound = Outbound(
            endpoint=given.endpoint,
            data=base64.b64decode(given.content),
            media_type=MEDIA_TYPE,
            idempotency_key=activity.info().workflow_id or "",
        )
        try:
            await self.send(given.tenant, given.endpoint, outbound)
        except DeliveryError as error:
            raise ApplicationError(error.message, type=error.code, non_retryable=not error.retryable) from None


@workflow.defn(name="Acknowledge")
class Acknowledge:
    """One acknowledgement."""

    @workflow.run
    async def run(self, given: Acknowledgement) -> None:
        """Send it; the endpoint's queue keeps its rate."""
        await workflow.execute_activity(
            "acknowledge",
            given,
            task_queue=f"deliver.{given.endpoint}",
            start_to_close_timeout=timedelta(minutes=2),
            schedule_to_close_timeout=GIVEN_UP,
            heartbeat_timeout=ALIVE,
            retry_policy=RetryPolicy(initial_interval=timedelta(seconds=2), maximum_interval=timedelta(minutes=10)),
        )
