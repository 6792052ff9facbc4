"""Repeating something for as long as a role lives."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from gateway.infra.telemetry import logger

log = logger("periodic")


async def every(seconds: float, action: Callable[[], Awaitable[Any]]) -> None:
    """Repeat an action; a failure is logged and the next round tries again."""
    while True:
        try:
            await action()
        except Exception as error:
            log.warning("periodic.failed", exc_info=error)
        await asyncio.sleep(seconds)
