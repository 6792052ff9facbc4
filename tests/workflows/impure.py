"""A workflow module that reads a file while it is imported: the sandbox must refuse it."""

from __future__ import annotations

from pathlib import Path

from temporalio import workflow

TEXT = Path(__file__).read_text(encoding="utf-8")


@workflow.defn(name="Impure")
class Impure:
    """Never runs."""

    @workflow.run
    async def run(self) -> str:
        return TEXT
