"""Batches whose results are fetched; the SQL stands beside this file."""

from __future__ import annotations

from gateway.store.migrations import run_file

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    """Create the table of batches."""
    run_file(__file__)
