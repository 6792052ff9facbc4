"""`gateway case`: what people do to a case as a whole."""

from __future__ import annotations

import asyncio
import json
import uuid
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from temporalio.client import WorkflowUpdateFailedError
from temporalio.service import RPCError

from gateway.cli.tasks import STATE, AsJson, State, running_case
from gateway.core.errors import ConfigurationError, InvalidMessage, Unavailable
from gateway.stages.clock import LONGEST_EXTENSION
from gateway.store.tasks import of_case

app = typer.Typer(no_args_is_help=True, help="Cases: extend the clock of one.")

ENDED = "the case has ended: its clock has stopped"


class Requester(StrEnum):
    """Who wants more time (gateway.stages.clock.REQUESTERS)."""

    member = "member"
    provider = "provider"
    plan = "plan"


@app.callback()
def _group() -> None:
    """Keep the command below the group."""


@app.command()
def extend(
    case: Annotated[str, typer.Argument(help="Case id; a task as `gateway tasks list` shows it names its case, too.")],
    reason: Annotated[str, typer.Option(help="Why, in words: the requester is told.")],
    requested_by: Annotated[Requester, typer.Option(help="Who wants more time.")],
    by: Annotated[str, typer.Option("--by", help="Who decides this: the id of the person.")],
    days: Annotated[
        int, typer.Option(min=1, max=LONGEST_EXTENSION, help="Calendar days; fourteen in all at most.")
    ] = LONGEST_EXTENSION,
    state: State = STATE,
    as_json: AsJson = False,
) -> None:
    """Extend the legal clock of a pended case; whoever asked is told, where the way back allows it.

    Law allows up to fourteen calendar days in all, before the clock has run out (42 CFR 438.210(d), 422.568(b)): when
    member or provider ask for it, or when the plan needs more information and the delay is in the member's interest.

    Example:  gateway case extend CASE --days 14 --requested-by plan --reason "The study is outstanding." --by dr-7
    """
    if not reason.strip():
        raise ConfigurationError("an extension needs a --reason: the requester must be told why")
    wanted = {"days": days, "reason": reason.strip(), "requested_by": requested_by.value, "user": by}
    outcome = asyncio.run(_extend(state, case_of(case), wanted))
    if outcome["refused"]:
        raise InvalidMessage(outcome["refused"])
    due, told = datetime.fromisoformat(outcome["due_at"]), len(outcome["endpoints"])
    if as_json:
        print(json.dumps({"dueAt": due.isoformat(), "told": told}))
        return
    who = "the requester is being told" if told else "nobody to tell: the requester sees it when asking again"
    Console().print(f"due {due:%Y-%m-%d %H:%M} UTC; {who}", highlight=False)


def case_of(text: str) -> str:
    """The case id in a case or task id. Raises ConfigurationError."""
    try:
        return str(uuid.UUID(text.partition(":")[0]))
    except ValueError:
        raise ConfigurationError("no case id: see `gateway tasks list --json`") from None


async def _extend(state: Path, case_id: str, wanted: dict[str, Any]) -> dict[str, Any]:
    async with running_case(state, lambda database: of_case(database, case_id), "no such case") as handle:
        try:
            outcome: dict[str, Any] = await handle.execute_update("extend", wanted, result_type=dict)
        except WorkflowUpdateFailedError as error:
            raise InvalidMessage(ENDED) from error
        except RPCError as error:
            raise (
                InvalidMessage(ENDED)
                if error.status.name == "NOT_FOUND"
                else Unavailable(f"Temporal does not answer ({error.status.name})")
            ) from error
    return outcome
