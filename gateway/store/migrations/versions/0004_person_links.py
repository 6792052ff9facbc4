"""Numbers of one person, as merges tell them; the SQL stands beside this file."""

from __future__ import annotations

from gateway.store.migrations import run_file

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Create the table."""
    run_file(__file__)
