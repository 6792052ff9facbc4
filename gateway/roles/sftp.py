"""The SFTP role: one poller per partner drop; each file is read, accepted, answered, then archived.

Results of CORE batches are fetched here, too: they come and are taken as files do.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from adapters.sftp.inbound import Poller, Services
from gateway.app import App, asking, now
from gateway.app.x12 import is_complete, receiver
from gateway.infra.telemetry import SFTP_FILES, logger
from gateway.roles.periodic import every
from gateway.security.secrets import secret

log = logger("sftp")

FETCH_SECONDS = 1.0
"""Pause between two looks for batches whose results are due."""


async def run(app: App, stop: asyncio.Event, ready: Callable[[], None]) -> None:
    """Poll until `stop`."""
    async with app.serving():
        services = Services(
            receive=receiver(app),
            complete=is_complete,
            secret=secret,
            clock=now,
            monotonic=time.monotonic,
            owner=app.settings.node_name,
            report=lambda event, _name: SFTP_FILES.labels(event).inc(),
        )
        pollers = [
            asyncio.create_task(Poller(partner.sftp, services).run(stop))
            for partner in app.partners.sftp
            if partner.sftp is not None
        ]
        fetcher = asking.fetcher(app, services.receive)
        fetching = [asyncio.create_task(every(FETCH_SECONDS, fetcher.round))] if fetcher.partners else []
        log.info("role.ready", role="sftp", count=len(pollers))
        ready()
        await stop.wait()
        for task in fetching:
            task.cancel()
        await asyncio.gather(*pollers)
        await asyncio.gather(*fetching, return_exceptions=True)
