"""A workflow module that reads a file while it is imported: the sandbox must refuse it."""

from __future__ import annotations

from temporalio import workflow

TEXT = open(__file__, encoding="utf-8").read()  # noqa: PTH123, SIM115 - the fault under test


@workflow.defn(name="Impure")
class Impure:
    """Never runs."""

    @workflow.run
    async def run(self) -> str:
        return TEXT
