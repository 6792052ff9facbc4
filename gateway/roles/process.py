"""One role in this process. Imports little: six of these start at once, and importing is most of a start."""

from __future__ import annotations

import gc
import importlib
import os

from gateway.app import App
from gateway.core.errors import ConfigurationError
from gateway.core.settings import Settings
from gateway.infra.http import run as run_loop
from gateway.infra.processes import announce_ready, end_with_parent, stop_event
from gateway.infra.telemetry import configure_logs, configure_traces, serve_metrics

ROLES = ("edge", "starter", "worker", "relay", "sftp", "monitor")


GARBAGE_AFTER = 20_000
"""Objects made, less those freed, between two looks for garbage (Python's own: 700). A message makes thousands that
free themselves; what is looked for are only cycles."""


def run_role(role: str, settings: Settings) -> None:
    """Run until told to stop. Raises ConfigurationError for an unknown role."""
    if role not in ROLES:
        raise ConfigurationError(f"no role {role}: choose from {', '.join(ROLES)}")
    end_with_parent()
    configure_logs(settings.log_level)
    configure_traces(role, settings.otlp_endpoint)
    serve_metrics(settings.metrics, role)
    module = importlib.import_module(f"gateway.roles.{role}")

    async def main() -> None:
        stop = stop_event()
        await module.run(App(settings), stop, lambda: _serving(role))

    run_loop(main())


def _serving(role: str) -> None:
    spare_collector()
    announce_ready(os.environ.get("GATEWAY_NAME", role))


def spare_collector() -> None:
    """What is there now (models, tables, rules) stays: the garbage collector need not walk it again and again."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(GARBAGE_AFTER, 20, 20)
