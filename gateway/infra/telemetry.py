"""Structured logs, metrics and traces; every metric name is fixed here; no label ever holds an identifier of a person.

Logs are JSON lines. A field is written only when its name is on the allow-list (default deny), so PHI cannot slip into
a log by a new keyword argument (promise 5).
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Iterator, MutableMapping
from contextlib import contextmanager
from typing import Any

import structlog
from opentelemetry import trace
from opentelemetry.propagate import extract, inject
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from prometheus_client import Counter, Gauge, Histogram

LOG_FIELDS = frozenset(
    """
    event level timestamp logger role pid code stage topic partition offset group seconds count endpoint
    source tenant format type outcome case_id event_id step correlation_id attempt state address lag status
    size exception definition version delivery reason port workers signal position trace_id action name
    retry_in partner file_state connections
    """.split()
)
"""What may be logged. Anything else is dropped and counted in `dropped`."""

MESSAGES = Counter("gateway_messages_total", "Messages accepted, by type and topic", ["type", "topic"])
REFUSED = Counter("gateway_refused_total", "Messages answered negatively", ["source", "code"])
ACK_SECONDS = Histogram("gateway_ingest_ack_seconds", "From receipt to the protocol's answer", ["source"])
CONSUMED = Counter("gateway_consumed_total", "Records handled", ["group", "topic"])
PAUSED = Counter("gateway_consumer_pauses_total", "Waits for a server of ours", ["group", "topic"])
DEAD_LETTERS = Counter("gateway_dead_letters_total", "Records given up", ["group", "topic", "code"])
CASES = Counter("gateway_cases_total", "What the start stage did", ["outcome"])
DECISIONS = Counter("gateway_decisions_total", "Decisions by type and action", ["type", "action"])
DECIDE_SECONDS = Histogram(
    "gateway_fast_lane_seconds", "Fast lane: from accept to the decision or its absence", ["outcome"]
)
DELIVERIES = Counter("gateway_deliveries_total", "Delivery attempts", ["endpoint", "outcome"])
BREAKER = Gauge("gateway_circuit_open", "1 while an endpoint's circuit breaker is open", ["endpoint"])
OUTBOX_AGE = Gauge("gateway_outbox_oldest_age_seconds", "Age of the oldest event not yet published")
PROJECTION_LAG = Gauge("gateway_projection_lag_events", "Events a reader has not seen", ["reader"])


def _allow(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    kept: MutableMapping[str, Any] = {name: value for name, value in event.items() if name in LOG_FIELDS}
    if len(kept) != len(event):
        kept["dropped"] = len(event) - len(kept)
    return kept


def _exception_type(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Exceptions are logged by type and place: their texts may quote a message."""
    info = event.pop("exc_info", None)
    if info:
        error = info if isinstance(info, BaseException) else sys.exc_info()[1]
        if error is not None:
            frame = error.__traceback__
            while frame is not None and frame.tb_next is not None:
                frame = frame.tb_next
            where = f" {frame.tb_frame.f_code.co_filename.rsplit('/', 1)[-1]}:{frame.tb_lineno}" if frame else ""
            event["exception"] = type(error).__name__ + where
    return event


def configure_logs(level: str = "INFO") -> None:
    """JSON lines on stderr; foreign libraries' records pass through by logger and level only."""
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            _exception_type,
            _allow,
            structlog.processors.JSONRenderer(),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level.upper()]),
        logger_factory=structlog.WriteLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )
    root = logging.getLogger()
    root.handlers[:] = [_Foreign()]
    root.setLevel(logging.WARNING)


class _Foreign(logging.Handler):
    """Records of libraries: their texts may quote a message, so only who, how bad and where is kept."""

    def emit(self, record: logging.LogRecord) -> None:
        logger(record.name).log(record.levelno, "library", position=f"{record.module}:{record.lineno}")


def logger(name: str) -> Any:
    """A structured logger."""
    return structlog.get_logger(logger=name, pid=os.getpid())


def configure_traces(role: str, endpoint: str | None) -> None:
    """Export spans over OTLP/HTTP when an endpoint is set; else spans are made (ids flow) and not exported."""
    provider = TracerProvider(resource=Resource.create({"service.name": f"gateway-{role}"}))
    if endpoint:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

        provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(endpoint=endpoint)))
    trace.set_tracer_provider(provider)


@contextmanager
def span(name: str, trace_parent: str | None = None, **attributes: str | int) -> Iterator[str]:
    """A span under the given W3C trace context; yields the context to pass on (`traceparent`)."""
    parent = extract({"traceparent": trace_parent}) if trace_parent else None
    with trace.get_tracer("gateway").start_as_current_span(name, context=parent, attributes=dict(attributes)):
        carrier: dict[str, str] = {}
        inject(carrier)
        yield carrier.get("traceparent", "")
