"""Claim-checked payloads in PostgreSQL, sealed, content-addressed; an object store may stand behind the same port."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from gateway.core.errors import Unavailable
from gateway.core.ports import Cipher
from gateway.infra.postgres import Database, Queries

SQL = Queries(Path(__file__).parent / "sql" / "blobs.sql")
SCHEME = "blob:"


@dataclass(frozen=True, slots=True)
class PostgresBlobs:
    """The BlobStore port over table `workflow.blobs`."""

    database: Database
    cipher: Cipher

    async def put(self, tenant: str, data: bytes) -> str:
        """Store; the same bytes give the same URI."""
        digest = hashlib.sha256(data).hexdigest()
        async with self.database.transaction(tenant) as connection:
            await connection.execute(SQL.put, tenant, digest, self.cipher.encrypt(tenant, data))
        return SCHEME + digest

    async def get(self, tenant: str, uri: str) -> bytes:
        """Fetch. Raises Unavailable when it is not there (yet)."""
        async with self.database.transaction(tenant) as connection:
            sealed = await connection.fetchval(SQL.get, tenant, uri.removeprefix(SCHEME))
        if sealed is None:
            raise Unavailable("the blob store does not have this payload")
        return self.cipher.decrypt(tenant, sealed)
