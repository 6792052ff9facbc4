"""The rule sets in force: the active versions of the store, looked at every few seconds, else those of files."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from gateway.core.errors import GatewayError
from gateway.infra.telemetry import logger
from gateway.rules.catalogue import Catalogue
from gateway.rules.engine import evaluate
from gateway.rules.lifecycle import Version, pinned
from gateway.rules.release import Release
from gateway.stages.decide import Verdict
from gateway.stages.policy import Active, Policies, release_in_force, verdict_of
from gateway.store.rule_store import PostgresRules

REFRESH_SECONDS = 10.0
"""How long a publication may go unseen."""

log = logger("policies")


@dataclass
class PoliciesInForce:
    """The Policy port. `refresh` reads the store; a call only looks at what was read last."""

    files: Policies
    store: PostgresRules
    catalogue: Catalogue
    _active: Mapping[tuple[str, str], tuple[Active, ...]] = field(default_factory=dict)

    def __call__(
        self, facts: Mapping[str, Any], *, ruleset: str, tenant: str, as_of: datetime, now: datetime
    ) -> Verdict:
        """Evaluate the release in force on that day. Raises ConfigurationError when there is none."""
        release = release_in_force(self._active.get((tenant, ruleset), ()), as_of)
        if release is None:
            return self.files(facts, ruleset=ruleset, tenant=tenant, as_of=as_of, now=now)
        return verdict_of(evaluate(release, dict(facts), as_of=as_of, now=now))

    async def refresh(self) -> None:
        """Read the active versions and compile the new ones; all of them, or what was read before stays.

        Raises ConfigurationError for a version that is not what was approved, Unavailable without the store.
        """
        compiled = {each.version.hash: each.release for found in self._active.values() for each in found}
        found: dict[tuple[str, str], tuple[Active, ...]] = {}
        for tenant, version in await self.store.active(compiled):
            key = (tenant, version.ruleset)
            found[key] = (*found.get(key, ()), Active(version, self._compiled(compiled, version)))
        self._active = found

    def _compiled(self, compiled: dict[str, Release], version: Version) -> Release:
        if version.hash not in compiled:
            compiled[version.hash] = pinned(version, self.catalogue)
        return compiled[version.hash]

    @asynccontextmanager
    async def kept_fresh(self, seconds: float = REFRESH_SECONDS) -> AsyncIterator[None]:
        """Read the store now, and again every `seconds` until the end. Raises what the first `refresh` raises."""
        await self.refresh()
        task = asyncio.create_task(self._again(seconds))
        try:
            yield
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task

    async def _again(self, seconds: float) -> None:
        while True:
            await asyncio.sleep(seconds)
            try:
                await self.refresh()
            except GatewayError as error:
                log.error("policies.stale", code=error.code, location=error.location)
