"""Deliver once (D10): the intent with its rendered bytes, the attempts, the receipt."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gateway.core.ports import Cipher, Outbound, Receipt
from gateway.infra.postgres import Connection, Database, Queries

SQL = Queries(Path(__file__).parent / "sql" / "deliveries.sql")


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """A stored delivery."""

    outbound: Outbound
    delivered: bool
    reference: str = ""


async def _load(connection: Connection, cipher: Cipher, tenant: str, key: str) -> Delivery | None:
    row = await connection.fetchrow(SQL.find, key)
    if row is None:
        return None
    outbound = Outbound(
        endpoint=row["endpoint"],
        data=cipher.decrypt(tenant, row["body"]),
        media_type=row["media_type"],
        idempotency_key=key,
        attributes=row["attributes"],
    )
    receipt: dict[str, Any] = row["receipt"] or {}
    return Delivery(outbound=outbound, delivered=row["state"] == "delivered", reference=receipt.get("reference", ""))


@dataclass(frozen=True, slots=True)
class Deliveries:
    """Intents and receipts over table `workflow.deliveries`."""

    database: Database
    cipher: Cipher

    async def find(self, tenant: str, key: str) -> Delivery | None:
        """A delivery by its idempotency key."""
        async with self.database.transaction(tenant) as connection:
            return await self.find_on(connection, tenant, key)

    async def find_on(self, connection: Connection, tenant: str, key: str) -> Delivery | None:
        """The same, in a transaction of the caller's."""
        return await _load(connection, self.cipher, tenant, key)

    async def intend(self, tenant: str, case_id: str, outbound: Outbound) -> Delivery:
        """Store the rendered bytes; if somebody rendered first, theirs stand and are returned."""
        async with self.database.transaction(tenant) as connection:
            return await self.intend_on(connection, tenant, case_id, outbound)

    async def intend_on(self, connection: Connection, tenant: str, case_id: str, outbound: Outbound) -> Delivery:
        """The same, in a transaction of the caller's."""
        await connection.execute(
            SQL.intend,
            outbound.idempotency_key,
            tenant,
            uuid.UUID(case_id),
            outbound.endpoint,
            outbound.media_type,
            self.cipher.encrypt(tenant, outbound.data),
            outbound.attributes,
        )
        stored = await _load(connection, self.cipher, tenant, outbound.idempotency_key)
        if stored is None:  # cannot be: the row was inserted or was there
            raise LookupError(outbound.idempotency_key)
        return stored

    async def left_at(self, tenant: str, endpoint: str) -> list[bytes]:
        """What was left at `core-pickup.<place>` for its client, the oldest first."""
        async with self.database.transaction(tenant) as connection:
            rows = await connection.fetch(SQL.left_at, tenant, endpoint)
        return [self.cipher.decrypt(tenant, row["body"]) for row in rows]

    async def attempt(self, tenant: str, key: str, endpoint: str, pause: float) -> float:
        """Count an attempt before it is made, and take its turn. Returns the seconds until then.

        Turns of one endpoint are `pause` seconds apart, whichever process or tenant takes them; 0: no turns are taken.
        """
        async with self.database.transaction(tenant) as connection:
            await connection.execute(SQL.attempt, key)
            return float(await connection.fetchval(SQL.turn, endpoint, pause)) if pause else 0.0

    async def settle(self, tenant: str, key: str, receipt: Receipt) -> None:
        """Store the receipt."""
        async with self.database.transaction(tenant) as connection:
            await self.settle_on(connection, key, receipt)

    async def settle_on(self, connection: Connection, key: str, receipt: Receipt) -> None:
        """The same, in a transaction of the caller's."""
        state = "delivered" if receipt.accepted else "refused"
        await connection.execute(SQL.settle, key, state, {"reference": receipt.reference})
