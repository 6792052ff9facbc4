"""The relay: event log → Kafka, event log → read models."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial

from gateway import registry
from gateway.app import App, now
from gateway.infra.telemetry import OUTBOX_AGE, PROJECTION_LAG, logger
from gateway.roles.periodic import every
from gateway.store.relay import LogReader, Outbox, case_view

RELAY_IDLE_SECONDS = 0.2

log = logger("relay")


async def run(app: App, stop: asyncio.Event, ready: Callable[[], None]) -> None:
    """Event log → Kafka, event log → read models."""
    async with app.serving():
        outbox = Outbox(
            publisher=app.publisher,
            cipher=app.cipher,
            events_topic=registry.EVENTS,
            decisions_topic=registry.DECISIONS,
        )
        readers = [
            LogReader(database=app.database, cipher=app.cipher, name="outbox", apply=outbox, opens=Outbox.opens),
            LogReader(database=app.database, cipher=app.cipher, name="case_view", apply=case_view),
        ]
        for reader in readers:
            await reader.create()
        tasks = [asyncio.create_task(every(RELAY_IDLE_SECONDS, partial(_drain, reader))) for reader in readers]
        tasks.append(asyncio.create_task(every(5.0, lambda: _measure(readers))))
        log.info("role.ready", role="relay")
        ready()
        await stop.wait()
        for task in tasks:
            task.cancel()


async def _drain(reader: LogReader) -> None:
    while await reader.step():
        pass


async def _measure(readers: list[LogReader]) -> None:
    for reader in readers:
        count, oldest = await reader.waiting()
        PROJECTION_LAG.labels(reader.name).set(count)
        if reader.name == "outbox":
            OUTBOX_AGE.set((now() - oldest).total_seconds() if oldest else 0.0)
