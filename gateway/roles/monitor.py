"""The monitor: consumer lag by the rules of gateway/ops/lag.py, as metrics, every few seconds."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from gateway.app import App, needed, now
from gateway.core.topics import parse
from gateway.infra.kafka_lag import collector
from gateway.infra.telemetry import GROUP_LAG, GROUP_LAG_SECONDS, GROUP_MEMBERS, GROUP_STATUS, logger
from gateway.ops.lag import GroupLag, judge
from gateway.roles.periodic import every

SECONDS = 5.0

log = logger("monitor")


async def run(app: App, stop: asyncio.Event, ready: Callable[[], None]) -> None:
    """Collect until `stop`."""
    catalogue = parse(app.settings.topics.read_text(encoding="utf-8"))
    expected = {group: catalogue.consumed_by(group) for group in catalogue.groups}
    async with collector(needed(app.settings.kafka, "kafka"), now, app.security) as collecting:

        async def look() -> None:
            for reading in await collecting.collect(expected):
                publish(judge(reading))

        looking = asyncio.create_task(every(SECONDS, look))
        log.info("role.ready", role="monitor")
        ready()
        await stop.wait()
        looking.cancel()


def publish(group: GroupLag) -> None:
    """One group's lag as metrics."""
    GROUP_MEMBERS.labels(group.group).set(group.members)
    for part in group.partitions:
        labels = (group.group, part.topic, str(part.partition))
        GROUP_LAG.labels(*labels).set(part.lag)
        GROUP_STATUS.labels(*labels).set(int(part.status))
        if part.seconds is not None:
            GROUP_LAG_SECONDS.labels(*labels).set(part.seconds)
