"""Turns of endpoints; the SQL stands beside this file."""

from __future__ import annotations

from gateway.store.migrations import run_file

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Create the table of turns."""
    run_file(__file__)
