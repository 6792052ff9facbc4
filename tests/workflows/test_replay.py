"""Histories of real runs replay against today's interpreter: what runs for months survives a new release.

Recorded by tests/workflows/test_interpreter.py with GATEWAY_RECORD_HISTORIES=1. A history is never recorded anew to
make this pass: a change that breaks one needs `workflow.patched`, because such cases are out there.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from temporalio import workflow
from temporalio.client import WorkflowHistory
from temporalio.contrib.pydantic import pydantic_data_converter
from temporalio.worker import Replayer

from gateway.infra.temporal import runner
from tests.workflows.changed import Changed
from tests.workflows.hands import HISTORIES
from workflows.handshake import Handshake
from workflows.interpreter import Case

RECORDED = sorted(HISTORIES.glob("*.json"))


def replayer(kind: type = Case) -> Replayer:
    return Replayer(workflows=[kind, Handshake], workflow_runner=runner(), data_converter=pydantic_data_converter)


def history(path: Path) -> WorkflowHistory:
    return WorkflowHistory.from_json(path.stem, path.read_text(encoding="utf-8"))


@pytest.mark.parametrize("path", RECORDED, ids=lambda path: path.stem)
async def test_replays(path: Path) -> None:
    await replayer().replay_workflow(history(path))


def test_every_kind_of_step_and_end_is_recorded() -> None:
    text = "".join(path.read_text(encoding="utf-8") for path in RECORDED)
    assert len(RECORDED) >= 10
    for mark in ("deliver", "timerStarted", "workflowExecutionSignaled", "workflowExecutionUpdateAccepted"):
        assert mark in text


async def test_a_changed_interpreter_does_not_replay() -> None:
    with pytest.raises(workflow.NondeterminismError):
        await replayer(Changed).replay_workflow(history(HISTORIES / "approve.json"))
