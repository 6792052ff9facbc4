"""Migrations: alembic keeps the order, the SQL stands in .sql files beside each revision."""

from __future__ import annotations

from pathlib import Path

from alembic import command, op
from alembic.config import Config
from sqlalchemy.util import await_only

HERE = Path(__file__).parent


def run_file(revision_file: str) -> None:
    """Execute the .sql file of the same name as a revision, as one simple-protocol script."""
    script = Path(revision_file).with_suffix(".sql").read_text(encoding="utf-8")
    raw = op.get_bind().connection.dbapi_connection
    if raw is None:
        message = "no database connection"
        raise RuntimeError(message)
    await_only(raw.driver_connection.execute(script))


def upgrade(postgres: str) -> None:
    """Bring the database at URL `postgres` to the newest schema. Synchronous; call it before serving."""
    config = Config()
    config.set_main_option("script_location", str(HERE))
    config.set_main_option("version_locations", str(HERE / "versions"))
    config.set_main_option("path_separator", "os")
    config.attributes["postgres"] = postgres
    command.upgrade(config, "head")
