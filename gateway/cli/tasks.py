"""`gateway tasks`: the worklist of people, and their decisions."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table
from temporalio.client import WorkflowHandle, WorkflowUpdateFailedError

from gateway.app import App
from gateway.cli.trace import running_postgres
from gateway.core.errors import ConfigurationError, InvalidMessage
from gateway.core.ids import workflow_id
from gateway.core.settings import Settings, read_settings
from gateway.infra.postgres import Database
from gateway.stack import addresses_of
from gateway.stages.ask import AGAIN
from gateway.store.tasks import owner, worklist
from mappings.review_actions import ACTIONS

app = typer.Typer(no_args_is_help=True, help="Cases that wait for a person: list them, decide them.")

State = Annotated[Path, typer.Option("--state", envvar="GATEWAY_STATE", help="Folder of the gateway's state.")]
AsJson = Annotated[bool, typer.Option("--json", help="JSON on standard output.")]
STATE = Path(".gateway")
PAYER_STEPS = ("repair", "remind", "forward")
"""Steps of cases that a payer decides where a person may have it asked, or its documents forwarded, again."""


@app.command("list")
def list_tasks(
    role: Annotated[str | None, typer.Option(help="Only tasks of this role, e.g. clinician.")] = None,
    state: State = STATE,
    as_json: AsJson = False,
) -> None:
    """Open tasks, the most urgent first.   Example:  gateway tasks list --role clinician"""
    rows = asyncio.run(_worklist(running_postgres(state), role))
    if as_json:
        print(json.dumps(rows, default=str))
        return
    table = Table("task", "role", "step", "due", box=None)
    for row in rows:
        table.add_row(row["task_id"], row["role"], row["step_id"], f"{row['due_at']:%Y-%m-%d %H:%M}")
    Console().print(table if rows else "no open tasks")


async def _worklist(postgres: str, role: str | None) -> list[dict[str, Any]]:
    database = Database(postgres, size=1)
    await database.open()
    try:
        return await worklist(database, role)
    finally:
        await database.close()


@app.command()
def decide(
    task: Annotated[str, typer.Argument(help="Task, as `gateway tasks list` shows it.")],
    action: Annotated[str, typer.Option(help="Review action code (X12 306): A1, A2, A3, A6 …")],
    reviewer: Annotated[str, typer.Option(help="Who decides: the id of the person.")],
    reason: Annotated[list[str] | None, typer.Option(help="Decision reason code (list 886); may be repeated.")] = None,
    note: Annotated[str, typer.Option(help="Reason in words, shown to the provider; a denial needs one.")] = "",
    npi: Annotated[str, typer.Option(help="NPI of the reviewer.")] = "",
    specialty: Annotated[str, typer.Option(help="Specialty of the reviewer (taxonomy code).")] = "",
    state: State = STATE,
) -> None:
    """Decide an open task; the case goes on and the provider is told.

    Example:  gateway tasks decide TASK --action A3 --reviewer dr-7 --reason 0V --note "Criteria are not met."
    """
    if action not in ACTIONS or action == "A4":
        raise ConfigurationError(f"no final review action {action}: choose from {', '.join(sorted(ACTIONS))}")
    if action == "A3" and not (note.strip() and reason):
        raise ConfigurationError("a denial needs --reason and --note: the provider must be told why (42 CFR 431.80)")
    review = {
        "task_id": task,
        "reviewer": reviewer,
        "action": action,
        "reasons": reason or [],
        "note": note,
        "npi": npi,
        "specialty": specialty,
    }
    asyncio.run(_decide(state, task, review))
    Console(stderr=True).print("decided")


@app.command()
def again(
    task: Annotated[str, typer.Argument(help="Task, as `gateway tasks list` shows it.")],
    reviewer: Annotated[str, typer.Option(help="Who says so: the id of the person.")],
    state: State = STATE,
) -> None:
    """What was in the way is mended: ask the payer again, with a new interchange.

    Example:  gateway tasks again TASK --reviewer ops-2
    """
    step = (task.split(":") + [""] * 3)[2]  # case:run:step:visit
    if step not in PAYER_STEPS:
        raise ConfigurationError("no task of a payer that has to be asked again: see `gateway tasks list`")
    asyncio.run(_decide(state, task, {"task_id": task, "reviewer": reviewer, "action": AGAIN}))
    Console(stderr=True).print("asking again")


async def _decide(state: Path, task: str, review: dict[str, Any]) -> None:
    async with running_case(state, lambda database: owner(database, task), "no such open task") as handle:
        try:
            taken = await handle.execute_update("review", review, result_type=bool)
        except WorkflowUpdateFailedError as error:
            raise InvalidMessage("the task is not open any more") from error
    if not taken:
        raise InvalidMessage("not decided: a message joined the case meanwhile; see `gateway tasks list`")


@asynccontextmanager
async def running_case(
    state: Path, find: Callable[[Database], Awaitable[Any]], missing: str
) -> AsyncIterator[WorkflowHandle[Any, Any]]:
    """The workflow of the case that is found. Raises ConfigurationError with `missing` where none is."""
    gateway = App(running_settings(state))
    async with gateway.serving(produces=False):
        found = await find(gateway.database)
        if found is None:
            raise ConfigurationError(f"{missing}: see `gateway tasks list --json`")
        client = await gateway.temporal()
        yield client.get_workflow_handle(workflow_id(found.subject, found.run))


def running_settings(state: Path) -> Settings:
    """Settings of the gateway that runs with this state folder: its addresses and keys."""
    addresses = addresses_of(state)
    if addresses is None:
        raise ConfigurationError(f"no gateway is running in {state}: start `gateway run`")
    secrets = state.expanduser().resolve() / "secrets"
    given = read_settings()
    return given.model_copy(
        update={
            "kafka": addresses.kafka,
            "temporal": addresses.temporal,
            "postgres": addresses.postgres,
            "token_key": given.token_key or f"file:{secrets / 'token.key'}",
            "cipher_key": given.cipher_key or f"file:{secrets / 'cipher.key'}",
            "log_level": os.environ.get("GATEWAY_LOG_LEVEL", "WARNING"),
        }
    )
