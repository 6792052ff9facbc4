"""The monitor: consumer lag by the rules of gateway/ops/lag.py, as metrics, every few seconds."""

from __future__ import annotations

from gateway.infra.telemetry import logger

log = logger("monitor")
