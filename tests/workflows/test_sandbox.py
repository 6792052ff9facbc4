"""Every workflow passes the sandbox: what its modules do on import would replay."""

from __future__ import annotations

import pytest
from temporalio import workflow
from temporalio.worker.workflow_sandbox import RestrictedWorkflowAccessError, SandboxedWorkflowRunner

from gateway.infra.temporal import runner
from tests.workflows.impure import Impure
from workflows.handshake import Handshake, Heartbeat
from workflows.interpreter import Case


@pytest.mark.parametrize(("kind", "name"), [(Case, "Case"), (Handshake, "Handshake"), (Heartbeat, "Heartbeat")])
async def test_prepares(kind: type, name: str) -> None:
    """`_Definition` is the SDK's private name; there is no public one."""
    definition = workflow._Definition.must_from_class(kind)
    assert definition.name == name
    made = runner()
    assert isinstance(made, SandboxedWorkflowRunner)
    made.prepare_workflow(definition)


async def test_the_sandbox_refuses_what_would_not_replay() -> None:
    with pytest.raises(RestrictedWorkflowAccessError, match="read_text"):
        runner().prepare_workflow(workflow._Definition.must_from_class(Impure))
