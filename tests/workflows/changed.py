"""An interpreter somebody edited without thinking of the cases that run: it waits before it decides."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from workflows.inputs import CaseInput, CaseResult
    from workflows.interpreter import Case


@workflow.defn(name="Case")
class Changed(Case):
    """The same name, another order of events."""

    @workflow.init
    def __init__(self, case: CaseInput) -> None:
        super().__init__(case)

    @workflow.run
    async def run(self, case: CaseInput) -> CaseResult:
        return await super().run(case)

    async def _decide(self, step: dict[str, Any]) -> str:
        await workflow.sleep(timedelta(seconds=1))
        return await super()._decide(step)
