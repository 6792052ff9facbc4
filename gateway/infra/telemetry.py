"""Structured logs, metrics and traces; every metric name is fixed here; no label ever holds an identifier of a person.

Logs are JSON lines; gateway/security/redact.py decides what may be in one (promise 5).
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import structlog
from opentelemetry import trace
from opentelemetry.propagate import extract, inject
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from prometheus_client import Counter, Gauge, Histogram, start_http_server

from gateway.core.settings import host_port
from gateway.security.redact import redact

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
MLLP_EVENTS = Counter("gateway_mllp_events_total", "What happened on MLLP connections", ["event"])
SFTP_FILES = Counter("gateway_sftp_files_total", "What happened to files of partner drops", ["event"])
GROUP_LAG = Gauge("kafka_consumergroup_group_lag", "Records left to read", ["group", "topic", "partition"])
GROUP_LAG_SECONDS = Gauge(
    "kafka_consumergroup_group_lag_seconds", "Age of the oldest unread record", ["group", "topic", "partition"]
)
GROUP_STATUS = Gauge(
    "gateway_consumer_status",
    "0 OK, 1 WARN, 2 STALL, 3 STOP, 4 REWIND, 5 never committed",
    ["group", "topic", "partition"],
)
GROUP_MEMBERS = Gauge("kafka_consumergroup_members", "Consumers in the group", ["group"])
BREAKER = Gauge("gateway_circuit_open", "1 while an endpoint's circuit breaker is open", ["endpoint"])
PAYER_SUBSCRIPTION = Gauge(
    "gateway_payer_subscription_active", "1 while our subscription at a payer is active", ["partner"]
)
OUTBOX_AGE = Gauge("gateway_outbox_oldest_age_seconds", "Age of the oldest event not yet published")
PROJECTION_LAG = Gauge("gateway_projection_lag_events", "Events a reader has not seen", ["reader"])


def configure_logs(level: str = "INFO") -> None:
    """JSON lines on stderr; foreign libraries' records pass through by logger and level only."""
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            redact,
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
    return structlog.get_logger(service=name, pid=os.getpid())


def configure_traces(role: str, endpoint: str | None) -> None:
    """Export spans over OTLP/HTTP when an endpoint is set; else spans are made (ids flow) and not exported."""
    provider = TracerProvider(resource=Resource.create({"service.name": f"gateway-{role}"}))
    if endpoint:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

        provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(endpoint=endpoint)))
    trace.set_tracer_provider(provider)


def serve_metrics(address: str | None, role: str) -> None:
    """Serve `/metrics` at an address; unset: at a free loopback port, which the log names."""
    host, port = host_port(address) if address else ("127.0.0.1", 0)
    server, _thread = start_http_server(port, addr=host)
    logger("metrics").info("metrics.serving", role=role, port=server.server_port)


@contextmanager
def span(name: str, trace_parent: str | None = None, **attributes: str | int) -> Iterator[str]:
    """A span under the given W3C trace context; yields the context to pass on (`traceparent`)."""
    parent = extract({"traceparent": trace_parent}) if trace_parent else None
    with trace.get_tracer("gateway").start_as_current_span(name, context=parent, attributes=dict(attributes)):
        carrier: dict[str, str] = {}
        inject(carrier)
        yield carrier.get("traceparent", "")
