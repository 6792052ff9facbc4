"""The only door to Temporal: a client whose payloads are compressed and sealed, starting and notifying cases, workers.

Workflow ids, type names, queues and search attributes are never encrypted by Temporal, so they hold tokens and codes.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import temporalio.api.common.v1 as proto
import zstandard
from temporalio import activity
from temporalio.client import (
    Client,
    WithStartWorkflowOperation,
    WorkflowUpdateFailedError,
    WorkflowUpdateRPCTimeoutOrCancelledError,
)
from temporalio.common import Priority, WorkflowIDConflictPolicy, WorkflowIDReusePolicy
from temporalio.contrib.pydantic import PydanticJSONPlainPayloadConverter
from temporalio.converter import (
    CompositePayloadConverter,
    DataConverter,
    DefaultFailureConverterWithEncodedAttributes,
    DefaultPayloadConverter,
    JSONPlainPayloadConverter,
    PayloadCodec,
)
from temporalio.exceptions import WorkflowAlreadyStartedError
from temporalio.service import RPCError, RPCStatusCode
from temporalio.worker import (
    ActivityInboundInterceptor,
    ExecuteActivityInput,
    Interceptor,
    UnsandboxedWorkflowRunner,
    Worker,
    WorkflowRunner,
)
from temporalio.worker.workflow_sandbox import SandboxedWorkflowRunner, SandboxRestrictions

from gateway.core.envelope import Envelope
from gateway.core.errors import Unavailable
from gateway.core.ids import workflow_id
from gateway.core.ports import Cipher
from gateway.infra.telemetry import logger
from gateway.stages.start import CaseStart, Opened

CASE_WORKFLOW = "Case"
CASE_QUEUE = "cases"
RPC_TIMEOUT = timedelta(seconds=5)
BEAT = timedelta(seconds=5)
"""Between two signs of life of a delivery; `workflows.sending.ALIVE` is how long none may be missed."""
PRIORITY = {"expedited": 1, "standard": 3}
"""Temporal's priority keys: 1 is served first."""
PASSTHROUGH = (
    "gateway",
    "adapters",
    "mappings",
    "workflows",
    "pydantic",
    "pydantic_core",
    "orjson",
    "tenacity",
    "yaml",
)
"""Modules workflow code shares with its process; all of ours on this path are pure (import contracts)."""

log = logger("temporal")

_SEALED = b"binary/sealed"
_TENANT = "temporal"


class SealingCodec(PayloadCodec):
    """Payloads compressed (zstd) and sealed by the Cipher; anything else passes unchanged on the way back."""

    def __init__(self, cipher: Cipher) -> None:
        self._cipher = cipher
        # Made once: a compressor costs more to make than most payloads cost to compress. One event loop uses them.
        self._compress = zstandard.ZstdCompressor(level=3).compress
        self._decompress = zstandard.ZstdDecompressor().decompress

    async def encode(self, payloads: Sequence[proto.Payload]) -> list[proto.Payload]:
        """Seal."""
        return [self._seal(payload) for payload in payloads]

    async def decode(self, payloads: Sequence[proto.Payload]) -> list[proto.Payload]:
        """Unseal."""
        return [self._open(payload) for payload in payloads]

    def _seal(self, payload: proto.Payload) -> proto.Payload:
        packed = self._compress(payload.SerializeToString())
        return proto.Payload(metadata={"encoding": _SEALED}, data=self._cipher.encrypt(_TENANT, packed))

    def _open(self, payload: proto.Payload) -> proto.Payload:
        if payload.metadata.get("encoding") != _SEALED:
            return payload
        packed = self._cipher.decrypt(_TENANT, payload.data)
        return proto.Payload.FromString(self._decompress(packed, max_output_size=16 * 1024 * 1024))


_JSON = PydanticJSONPlainPayloadConverter()


class SharedPydanticConverter(CompositePayloadConverter):
    """Pydantic's converter with one cache of type adapters for the whole process.

    The SDK makes a converter for each workflow run; with Pydantic's own class each case would build the adapters of its
    input and outcomes anew, a millisecond of it.
    """

    def __init__(self) -> None:
        usual = DefaultPayloadConverter.default_encoding_payload_converters
        super().__init__(*(_JSON if isinstance(one, JSONPlainPayloadConverter) else one for one in usual))


def data_converter(cipher: Cipher) -> DataConverter:
    """Pydantic models and dataclasses as JSON, sealed; failures too."""
    return DataConverter(
        payload_converter_class=SharedPydanticConverter,
        payload_codec=SealingCodec(cipher),
        failure_converter_class=DefaultFailureConverterWithEncodedAttributes,
    )


async def connect(address: str, namespace: str, cipher: Cipher) -> Client:
    """A client. Raises Unavailable."""
    try:
        return await Client.connect(address, namespace=namespace, data_converter=data_converter(cipher))
    except (RPCError, RuntimeError, OSError) as error:
        raise Unavailable(f"Temporal does not answer ({type(error).__name__})") from error


def runner(*, sandboxed: bool = True) -> WorkflowRunner:
    """The workflow runner; the sandbox refuses what would not replay (decision 0006: tests use it, production not)."""
    if not sandboxed:
        return UnsandboxedWorkflowRunner()
    return SandboxedWorkflowRunner(restrictions=SandboxRestrictions.default.with_passthrough_modules(*PASSTHROUGH))


@dataclass(frozen=True, slots=True, kw_only=True)
class TemporalStarter:
    """The Starter port, and the fast lane's update-with-start."""

    client: Client
    make_input: Callable[[CaseStart, str], Any]
    """(case, lane) → the workflow's one input."""

    def _options(self, case: CaseStart) -> dict[str, Any]:
        return {
            "id": workflow_id(case.subject, case.run),
            "task_queue": CASE_QUEUE,
            "priority": Priority(priority_key=PRIORITY[case.priority]),
            "static_summary": case.definition.name,
        }

    async def start(self, case: CaseStart) -> None:
        """Start; a case that runs or has run is left alone. Raises Unavailable."""
        try:
            await self.client.start_workflow(
                CASE_WORKFLOW,
                self.make_input(case, "batch"),
                id_reuse_policy=WorkflowIDReusePolicy.REJECT_DUPLICATE,
                id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
                rpc_timeout=RPC_TIMEOUT,
                **self._options(case),
            )
        except WorkflowAlreadyStartedError:
            return
        except RPCError as error:
            raise Unavailable(f"Temporal does not answer ({error.status.name})") from error

    async def decide(self, case: CaseStart, timeout: float) -> dict[str, Any] | None:
        """Start and wait for the first decision, at most `timeout` seconds; None when it does not come in time."""
        operation: WithStartWorkflowOperation[Any, Any] = WithStartWorkflowOperation(
            CASE_WORKFLOW,
            self.make_input(case, "fast"),
            id_reuse_policy=WorkflowIDReusePolicy.REJECT_DUPLICATE,
            id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
            **self._options(case),
        )
        try:
            async with asyncio.timeout(timeout):
                result: dict[str, Any] | None = await self.client.execute_update_with_start_workflow(
                    "decision",
                    id=f"decision:{case.case_id}:{case.run}",
                    start_workflow_operation=operation,
                    result_type=dict,
                )
                return result
        except (TimeoutError, WorkflowUpdateRPCTimeoutOrCancelledError, WorkflowUpdateFailedError):
            return None
        except WorkflowAlreadyStartedError:
            return None
        except RPCError as error:
            raise Unavailable(f"Temporal does not answer ({error.status.name})") from error

    async def notify(self, opened: Opened, kind: str) -> None:
        """Signal a running case that its stream has a new event. Raises Unavailable."""
        handle = self.client.get_workflow_handle(workflow_id(opened.subject, opened.run))
        message = {"case_id": opened.case_id, "version": opened.version, "kind": kind}
        try:
            await handle.signal("message", message, rpc_timeout=RPC_TIMEOUT)
        except RPCError as error:
            if error.status is not RPCStatusCode.NOT_FOUND:
                raise Unavailable(f"Temporal does not answer ({error.status.name})") from error


async def inquire_now(client: Client, subject: str, run: int) -> None:
    """Tell a case that waits for a payer to inquire now; one that has ended hears nothing. Raises Unavailable."""
    handle = client.get_workflow_handle(workflow_id(subject, run))
    try:
        await handle.signal("inquire", rpc_timeout=RPC_TIMEOUT)
    except RPCError as error:
        if error.status is not RPCStatusCode.NOT_FOUND:
            raise Unavailable(f"Temporal does not answer ({error.status.name})") from error


async def start_notification(client: Client, tenant: str, subscription: str, version: int, heartbeat: int) -> None:
    """Start the handshake of one version of a subscription; again is a no-op. Raises Unavailable.

    `heartbeat`: seconds between heartbeats once it is active, or 0.
    """
    given = {"tenant": tenant, "subscription": subscription, "version": version, "heartbeat": heartbeat}
    await _start_once(client, "Handshake", given, f"handshake:{subscription}:{version}")


async def start_acknowledgement(client: Client, envelope: Envelope) -> None:
    """Start sending the second phase of a message that has been processed; again is a no-op. Raises Unavailable."""
    reply = envelope.reply
    given = {"tenant": envelope.tenant, "endpoint": reply["endpoint"], "content": reply["application"]}
    await _start_once(client, "Acknowledge", given, f"acknowledge:{envelope.tenant}:{envelope.dedupe_key}")


async def _start_once(client: Client, kind: str, given: dict[str, Any], identity: str) -> None:
    try:
        await client.start_workflow(
            kind,
            given,
            id=identity,
            task_queue=CASE_QUEUE,
            id_reuse_policy=WorkflowIDReusePolicy.REJECT_DUPLICATE,
            id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
            rpc_timeout=RPC_TIMEOUT,
        )
    except WorkflowAlreadyStartedError:
        return
    except RPCError as error:
        raise Unavailable(f"Temporal does not answer ({error.status.name})") from error


class FailureLog(Interceptor):
    """Activities' failures in our own log: Temporal's quotes payloads, so it is kept to a minimum (redact.py)."""

    def intercept_activity(self, next: ActivityInboundInterceptor) -> ActivityInboundInterceptor:
        """Wrap."""
        return _LoggedActivity(next)


class _LoggedActivity(ActivityInboundInterceptor):
    async def execute_activity(self, input: ExecuteActivityInput) -> Any:
        try:
            return await super().execute_activity(input)
        except Exception as error:
            name, attempt = activity.info().activity_type, activity.info().attempt
            log.warning("activity.failed", activity=name, attempt=attempt, exc_info=error)
            raise


class Alive(Interceptor):
    """Activities say that they live while they run, where they have a heartbeat timeout: what a worker that died had
    begun is begun by another one as soon as that is over, not when the longest attempt would be."""

    def intercept_activity(self, next: ActivityInboundInterceptor) -> ActivityInboundInterceptor:
        """Wrap."""
        return _LivingActivity(next)


class _LivingActivity(ActivityInboundInterceptor):
    async def execute_activity(self, input: ExecuteActivityInput) -> Any:
        if not activity.info().heartbeat_timeout:
            return await super().execute_activity(input)
        beating = asyncio.create_task(_beat())
        work = asyncio.ensure_future(super().execute_activity(input))
        try:
            return await asyncio.shield(work)
        except asyncio.CancelledError:
            # Heartbeats bring word that the workflow wants it no more. What may be at the other side already is
            # finished and recorded all the same; only a worker that stops, or the attempt's time, breaks it off.
            told = activity.cancellation_details()
            if told is None or not (told.cancel_requested or told.not_found):
                work.cancel()
            return await work
        finally:
            beating.cancel()


async def _beat() -> None:
    while True:
        await asyncio.sleep(BEAT.total_seconds())
        activity.heartbeat()


def case_worker(
    client: Client,
    *,
    workflows: Sequence[type],
    activities: Sequence[Callable[..., Any]],
    workflow_runner: WorkflowRunner | None = None,
) -> Worker:
    """The worker of all cases: workflow tasks and their local activities."""
    return Worker(
        client,
        task_queue=CASE_QUEUE,
        workflows=workflows,
        activities=activities,
        workflow_runner=workflow_runner or runner(sandboxed=False),
        max_cached_workflows=1000,
        max_concurrent_workflow_tasks=20,
        # Most tasks are a case's first and only one: with the usual one poll in five, most would find nobody waiting,
        # and Temporal would write them to its database, read them again and delete them.
        max_concurrent_workflow_task_polls=10,
        nonsticky_to_sticky_poll_ratio=0.7,
        no_remote_activities=True,
        max_concurrent_local_activities=50,
        graceful_shutdown_timeout=timedelta(seconds=10),
        interceptors=[FailureLog()],
    )


def delivery_worker(
    client: Client, endpoint: str, activities: Sequence[Callable[..., Any]], *, per_second: float, at_once: int = 8
) -> Worker:
    """The worker of one endpoint's queue; the server keeps the rate for all workers of the queue together."""
    return Worker(
        client,
        task_queue=f"deliver.{endpoint}",
        activities=activities,
        max_task_queue_activities_per_second=per_second,
        max_concurrent_activities=at_once,
        max_concurrent_activity_task_polls=2,
        max_heartbeat_throttle_interval=BEAT,
        graceful_shutdown_timeout=timedelta(seconds=10),
        interceptors=[FailureLog(), Alive()],
    )


SEARCH_ATTRIBUTES: Mapping[str, str] = {"GwTenant": "Keyword", "GwCaseKind": "Keyword", "GwDecision": "Keyword"}
"""What operators filter cases by; codes only."""
