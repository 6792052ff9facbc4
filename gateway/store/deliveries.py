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
            return await _load(connection, self.cipher, tenant, key)

    async def intend(self, tenant: str, case_id: str, outbound: Outbound) -> Delivery:
        """Store the rendered bytes; if somebody rendered first, theirs stand and are returned."""
        async with self.database.transaction(tenant) as connection:
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

    async def attempt(self, tenant: str, key: str) -> None:
        """Count an attempt before it is made."""
        async with self.database.transaction(tenant) as connection:
            await connection.execute(SQL.attempt, key)

    async def settle(self, tenant: str, key: str, receipt: Receipt) -> None:
        """Store the receipt."""
        async with self.database.transaction(tenant) as connection:
            await connection.execute(
                SQL.settle, key, "delivered" if receipt.accepted else "refused", {"reference": receipt.reference}
            )
