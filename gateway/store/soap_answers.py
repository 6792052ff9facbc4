"""Answers by PayloadID in PostgreSQL: a resend gets the same answer from any edge process."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from adapters.soap.inbound import Answer
from gateway.core.ports import Cipher
from gateway.infra.postgres import Database, Queries

SQL = Queries(Path(__file__).parent / "sql" / "edges.sql")


@dataclass(frozen=True, slots=True)
class PostgresAnswers:
    """The Answers port of the SOAP edge."""

    database: Database
    cipher: Cipher
    token: Callable[[str, str, tuple[str, ...]], str]

    async def get(self, key: tuple[str, ...]) -> Answer | None:
        """The answer given before, or None."""
        tenant = key[0]
        async with self.database.transaction(tenant) as connection:
            row = await connection.fetchrow(SQL.get_answer, tenant, self.token(tenant, "payload", key))
        if row is None:
            return None
        kept = row["acknowledgement"]
        return Answer(
            row["digest"],
            self.cipher.decrypt(tenant, row["answer"]),
            self.cipher.decrypt(tenant, kept) if kept is not None else None,
        )

    async def put(self, key: tuple[str, ...], answer: Answer) -> None:
        """Remember; the first answer stands."""
        tenant, kept = key[0], answer.acknowledgement
        async with self.database.transaction(tenant) as connection:
            await connection.execute(
                SQL.put_answer,
                tenant,
                self.token(tenant, "payload", key),
                answer.digest,
                self.cipher.encrypt(tenant, answer.envelope),
                self.cipher.encrypt(tenant, kept) if kept is not None else None,
            )
