"""`gateway demo`: start everything, send one message of each protocol, show what became of it."""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import httpx
import typer
from rich.console import Console
from rich.table import Table

from gateway import samples
from gateway.cli.run import show, stack_settings
from gateway.cli.send import core_answer, mllp_exchange
from gateway.core.errors import GatewayError, Unavailable
from gateway.core.settings import read_settings
from gateway.infra.postgres import Database
from gateway.infra.processes import stop_event
from gateway.infra.telemetry import configure_logs
from gateway.ops.trace import Step, find_case, trace
from gateway.roles.node import Node, node
from gateway.security.tokens import Tokens

PATIENCE = 60.0
"""Seconds until a sample must have come to its expected end."""

errors = Console(stderr=True)


@dataclass(slots=True)
class Row:
    """What became of one sample."""

    message: str
    expected: str
    acknowledgement: str = "–"
    case: str = "–"
    decision: str = "–"
    delivered: str = "–"
    milliseconds: float = 0.0
    fault: str = ""

    @property
    def as_expected(self) -> bool:
        """Whether it ended as it should."""
        return not self.fault and self.decision == self.expected


def demo(
    keep: Annotated[bool, typer.Option("--keep", help="Keep serving until Ctrl-C afterwards.")] = False,
    state: Annotated[Path | None, typer.Option(envvar="GATEWAY_STATE", help="Folder of all state.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="The table as JSON.")] = False,
) -> None:
    """Start the gateway in the demo profile, send one sample through every protocol, show the outcome.

    Exit code 0 only if every sample ended as expected.   Example:  gateway demo --keep
    """
    given: dict[str, Any] = {"profile": "demo"} | ({"state": state} if state else {})
    settings = read_settings(**given)
    configure_logs("WARNING")
    with node(settings, stack_settings(settings), _tell) as made:
        rows = asyncio.run(_run(made, keep=keep, as_json=as_json))
    if not all(row.as_expected for row in rows):
        raise typer.Exit(1)


def _tell(text: str) -> None:
    errors.print(f"[dim]{text}[/]")


async def _run(made: Node, *, keep: bool, as_json: bool) -> list[Row]:
    stop = stop_event()
    running = asyncio.create_task(made.supervisor.run())
    try:
        await made.wait_ready(lambda _text: None)
        rows = await send_all(made)
        _show(rows, as_json=as_json)
        if keep:
            show(made)
            await stop.wait()
    finally:
        made.supervisor.stop()
        await running
    return rows


async def send_all(made: Node) -> list[Row]:
    """Send every sample, one after the other, and follow each to its end."""
    tokens = Tokens.load(made.environment["GATEWAY_TOKEN_KEY"])
    database = Database(made.addresses.postgres, size=2)
    await database.open()
    watch = Watch(made, database, tokens)
    try:
        return [
            await watch.follow("FHIR PAS $submit (approve)", "A1", lambda row: pas(made, row, "X1001")),
            await watch.follow("FHIR PAS $submit (pend)", "A4", lambda row: pas(made, row, "X1005")),
            await watch.follow("HL7 v2 ADT^A01 (MLLP)", "–", lambda row: adt(made, row)),
            await watch.follow("X12 278 (SFTP drop)", "A1", lambda row: x12_drop(made, row)),
            await watch.follow("X12 270 (CORE SOAP)", "A1", lambda row: core(made, row)),
        ]
    finally:
        await database.close()


@dataclass(frozen=True, slots=True)
class Watch:
    """Finds what became of a sample by its trace number's token."""

    made: Node
    database: Database
    tokens: Tokens

    async def follow(self, message: str, expected: str, send: Callable[[Row], Awaitable[str]]) -> Row:
        """Send, then wait for the case and its end."""
        row = Row(message, expected)
        began = time.monotonic()
        try:
            number = await send(row)
            if number:
                await self._case(row, number)
        except (GatewayError, httpx.HTTPError, OSError, TimeoutError) as error:
            row.fault = str(error) or type(error).__name__
        row.milliseconds = (time.monotonic() - began) * 1000
        return row

    async def _case(self, row: Row, number: str) -> None:
        tenant = self.made.settings.tenant
        token = self.tokens(tenant, "trace", (number,))
        steps: list[Step] = []
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            case = await find_case(self.database, tenant, token)
            if case is not None:
                row.case = str(case)[:8]
                steps = await trace(self.database, str(case))
                decided = [step for step in steps if step.what == "DecisionMade"]
                delivered = [step for step in steps if step.stage == "deliver" and step.what == "delivered"]
                if decided and (delivered or row.delivered != "–"):
                    row.decision = _action(decided[-1].details)
                    row.delivered = delivered[-1].details.split(",")[0] if delivered else row.delivered
                    return
            await asyncio.sleep(0.1)
        raise Unavailable(f"no end within {PATIENCE:.0f} s; see {self.made.settings.state}/logs")


def _action(details: str) -> str:
    words = details.replace(",", "").split()
    return words[words.index("action") + 1] if "action" in words else "AAA"


async def pas(made: Node, row: Row, code: str) -> str:
    """`Claim/$submit`, answered in the response."""
    sample = samples.pas_submit(code, datetime.now(UTC))
    headers = {"authorization": f"Bearer {made.bearer}", "content-type": "application/fhir+json"}
    async with httpx.AsyncClient(timeout=30) as client:
        answer = await client.post(
            f"{made.urls['http']}/fhir/pas/2.2.1/Claim/$submit", content=sample.data, headers=headers
        )
    row.acknowledgement = f"HTTP {answer.status_code}"
    row.delivered = "in the response"
    if answer.status_code != 200:
        row.fault = "not accepted"
        return ""
    return sample.trace


async def adt(made: Node, row: Row) -> str:
    """An admission over MLLP: acknowledged, journaled, no case."""
    sample = samples.adt_a01(datetime.now(UTC))
    answer = await mllp_exchange(made.urls["mllp"], sample.data)
    row.acknowledgement = next((line[:6] for line in answer.split("\r") if line.startswith("MSA")), "no MSA")
    if row.acknowledgement != "MSA|AA":
        row.fault = "not accepted"
    return ""


async def x12_drop(made: Node, row: Row) -> str:
    """A 278 left in the clearinghouse's drop: a 999 comes back, then the 278 response."""
    if made.drop_folder is None:
        raise Unavailable("the demonstration drop does not run")
    sample = samples.request_278("X1001", datetime.now(UTC))
    inbound, outbound = made.drop_folder / "inbound", made.drop_folder / "outbound"
    known = {path.name for path in outbound.iterdir()}
    temporary = inbound / f".{sample.trace}.tmp"
    temporary.write_bytes(sample.data)
    temporary.rename(inbound / f"{sample.trace}.x12")
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        new = [path.read_text(encoding="latin-1") for path in outbound.iterdir() if path.name not in known]
        if any("ST*999*" in text and "IK5*A" in text for text in new):
            row.acknowledgement = "999 A"
        if row.acknowledgement == "999 A" and any("ST*278*" in text and sample.trace in text for text in new):
            return sample.trace
        await asyncio.sleep(0.1)
    raise Unavailable("no 999 and 278 response in the drop")


async def core(made: Node, row: Row) -> str:
    """A CORE real-time inquiry: the 271 is in the answer."""
    sample = samples.core_270(datetime.now(UTC))
    answer = await core_answer(made.urls["http"], sample.data)
    row.acknowledgement = answer.error_code
    row.delivered = "in the response" if "ST*271*" in answer.payload else "–"
    if answer.error_code != "Success" or "EB*1*" not in answer.payload:
        row.fault = "no 271 with active coverage"
    return sample.trace


def _show(rows: list[Row], *, as_json: bool) -> None:
    if as_json:
        shown = ("message", "acknowledgement", "case", "decision", "delivered", "milliseconds", "fault")
        print(json.dumps([{name: getattr(row, name) for name in shown} for row in rows], indent=1), flush=True)
        return
    table = Table("message", "acknowledged", "case", "decision", "delivered", "ms", "", title="One message each")
    for row in rows:
        mark = "[green]as expected[/]" if row.as_expected else f"[red]{row.fault or 'expected ' + row.expected}[/]"
        table.add_row(
            row.message, row.acknowledgement, row.case, row.decision, row.delivered, f"{row.milliseconds:.0f}", mark
        )
    Console(width=None if sys.stdout.isatty() else 140).print(table)
