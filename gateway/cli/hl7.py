"""`gateway hl7`: look at, check, answer, send and receive HL7 v2 messages, without any server of ours.

A file may hold one message, several, a batch (FHS/BHS), or MLLP frames as captured from a wire.
"""

from __future__ import annotations

import asyncio
import json
import signal
import sys
import uuid
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import Progress

from adapters.hl7.inbound import Listener
from adapters.hl7.outbound import MllpSender
from adapters.hl7.settings import ListenerSettings, SenderSettings, TlsSettings
from adapters.hl7.wire import Message, parse
from adapters.hl7.wire.batch import split
from adapters.hl7.wire.check import check, warnings
from adapters.hl7.wire.mllp import frame
from gateway.cli import hl7_fhir
from gateway.cli.hl7_explain import as_json_tree, fates_of, tree
from gateway.cli.hl7_files import messages, payloads, read
from gateway.cli.hl7_local import Folder, LocalCodec
from gateway.core.envelope import Raw, Reception
from gateway.core.errors import DeliveryError, GatewayError, Issue, MalformedMessage
from gateway.core.ports import Outbound
from mappings.hl7_codec import Hl7Codec

app = typer.Typer(no_args_is_help=True, help="HL7 v2 messages: validate, explain, ack, send, listen.")
console = Console(stderr=True)

File = Annotated[Path, typer.Argument(help="File with messages; - reads standard input.", show_default=False)]
Charset = Annotated[str | None, typer.Option(help="Character set where MSH-18 is empty (default UTF-8).")]
AsJson = Annotated[bool, typer.Option("--json", help="Machine-readable output.")]
MEDIA_TYPE = "application/hl7-v2"


def _problems(data: bytes, charset: str | None) -> tuple[Message | None, list[Issue]]:
    """Everything wrong with one message; an error is also a reason to refuse it."""
    try:
        message = parse(data, charset=charset)
    except GatewayError as error:
        return None, [Issue(error.code, error.location, error.message)]
    refusal = check(message)
    found = list(warnings(message))
    if refusal is not None:
        found[:0] = refusal.issues or (Issue(refusal.code, refusal.location, refusal.message),)
    return message, found


@app.command()
def validate(
    files: Annotated[list[Path], typer.Argument(help="Files with messages.")],
    charset: Charset = None,
    as_json: AsJson = False,
) -> None:
    """Check messages: structure, header, character set, batch counts. Exit 1 when one would be refused.

    Example: gateway hl7 validate adt.hl7 batch.hl7
    """
    rows: list[dict[str, Any]] = []
    for file in files:
        try:
            for stream in map(split, list(payloads(read(file)))):
                rows += [_row(str(file), None, [issue]) for issue in stream.issues]
                rows += [_row(str(file), *_problems(message, charset)) for message in stream.messages]
        except GatewayError as error:
            rows.append(_row(str(file), None, [Issue(error.code, error.location, error.message)]))
    if as_json:
        print(json.dumps(rows, indent=2))
    for row in [] if as_json else rows:
        verdict = "refused" if row["refused"] else "good"
        print(f"{row['file']}: {row['type'] or '-'} {row['controlId'] or '-'}: {verdict}")
        for problem in row["problems"]:
            print(f"  {problem['severity']} {problem['location'] or '-'}: {problem['text']} [{problem['code']}]")
    if any(row["refused"] for row in rows):
        raise typer.Exit(1)


def _row(file: str, message: Message | None, problems: list[Issue]) -> dict[str, Any]:
    return {
        "file": file,
        "type": message.structure if message else None,
        "controlId": message.control_id if message else None,
        "refused": any(problem.severity == "error" for problem in problems),
        "problems": [
            {"severity": each.severity, "code": each.code, "location": each.location, "text": each.text}
            for each in problems
        ],
    }


@app.command()
def explain(
    file: File,
    charset: Charset = None,
    ledger: Annotated[bool, typer.Option(help="Say what the mapping to FHIR does with each field.")] = True,
    as_json: AsJson = False,
) -> None:
    """Print messages as a tree: segments and fields by name, and what becomes of each in FHIR.

    Example: gateway hl7 explain request.hl7
    """
    explained = []
    for data in messages(read(file)):
        message = parse(data, charset=charset)
        fates = fates_of(message) if ledger else {}
        if as_json:
            explained.append(as_json_tree(message, fates))
        else:
            # Piped, a line stays a line; on a terminal it wraps.
            Console(highlight=False, width=None if sys.stdout.isatty() else 2_000).print(tree(message, fates))
    if as_json:
        print(json.dumps(explained, indent=2, ensure_ascii=False))


@app.command()
def ack(
    file: File,
    charset: Charset = None,
    framed: Annotated[bool, typer.Option("--framed", help="With MLLP frames around each answer.")] = False,
) -> None:
    """Write the acknowledgement that would be sent to standard output, as its bytes. Exit 1 when it is negative.

    Example: gateway hl7 ack request.hl7 | gateway hl7 explain -
    """
    codec, refused = Hl7Codec(), False
    for payload in payloads(read(file)):
        reading = codec.read(Raw.of(payload, MEDIA_TYPE), _reception(charset))
        answer = reading.answer(None)
        refused = refused or reading.refused
        if answer is not None:
            parts = split(answer).messages if framed and answer.startswith(b"MSH") else (answer,)
            sys.stdout.buffer.write(b"".join(frame(part) for part in parts) if framed else answer)
    sys.stdout.buffer.flush()
    if refused:
        raise typer.Exit(1)


def _reception(charset: str | None) -> Reception:
    return Reception(
        tenant="local",
        source="hl7/local",
        received_at=datetime.now(UTC),
        media_type=MEDIA_TYPE,
        attributes={"charset": charset} if charset else {},
    )


@app.command()
def send(
    file: File,
    to: Annotated[str, typer.Option(help="Where to send: host:port.")],
    timeout: Annotated[float, typer.Option(help="Seconds to wait for each answer.")] = 30,
    release: Annotated[int, typer.Option(help="MLLP release, 1 or 2.", min=1, max=2)] = 1,
    tls: Annotated[bool, typer.Option("--tls", help="Use TLS.")] = False,
    authorities: Annotated[Path | None, typer.Option(help="PEM file of trusted authorities.")] = None,
    certificate: Annotated[Path | None, typer.Option(help="PEM file of our client certificate.")] = None,
    key: Annotated[Path | None, typer.Option(help="PEM file of its key.")] = None,
    as_json: AsJson = False,
) -> None:
    """Send messages over MLLP, one after the other, and print each answer. Exit 1 when one was not taken.

    Example: gateway hl7 send adt.hl7 --to 127.0.0.1:2575
    """
    host, _, port = to.rpartition(":")
    if not host or not port.isdigit():
        raise typer.BadParameter("host:port", param_hint="--to")
    settings = SenderSettings.model_validate(
        {
            "name": to,
            "host": host,
            "port": int(port),
            "response_timeout": timeout,
            "release": release,
            "tls": TlsSettings(authorities=authorities, certificate=certificate, key=key) if tls else None,
        }
    )
    rows = asyncio.run(_send_all(settings, messages(read(file))))
    if as_json:
        print(json.dumps(rows, indent=2))
    for row in [] if as_json else rows:
        print(f"{row['controlId'] or '-'}: {row['answer'] or '-'} {row['problem']}".rstrip())
    if any(row["problem"] for row in rows):
        raise typer.Exit(1)


async def _send_all(settings: SenderSettings, messages: list[bytes]) -> list[dict[str, str]]:
    rows = []
    with Progress(console=console, transient=True, disable=len(messages) < 20) as progress:
        async with MllpSender(settings, identify=lambda: uuid.uuid4().hex[:20]) as sender:
            for data in progress.track(messages, description="sending"):
                rows.append(await _send_one(sender, data))
    return rows


async def _send_one(sender: MllpSender, data: bytes) -> dict[str, str]:
    row = {"controlId": "", "answer": "", "problem": ""}
    try:
        row["controlId"] = parse(data).control_id
        outbound = Outbound(endpoint="cli", data=data, media_type=MEDIA_TYPE, idempotency_key=row["controlId"])
        receipt = await sender.send(outbound)
        row["answer"] = parse(receipt.data).get("MSA-1") if receipt.data else "none asked"
    except (DeliveryError, MalformedMessage) as error:
        codes = ", ".join(issue.code for issue in error.issues)
        row["problem"] = error.message + (f" ({codes})" if codes else "")
    return row


@app.command()
def listen(
    port: Annotated[int, typer.Option(help="Port to bind; 0 takes a free one.", min=0, max=65_535)] = 2575,
    host: Annotated[str, typer.Option(help="Address to bind; no TLS, so for trials.")] = "127.0.0.1",
    save: Annotated[Path | None, typer.Option(help="Folder for one file per message; default: forget them.")] = None,
    release: Annotated[int, typer.Option(help="MLLP release, 1 or 2.", min=1, max=2)] = 1,
    as_json: AsJson = False,
) -> None:
    """Receive messages over MLLP and acknowledge each as its header asks, until interrupted.

    With --save a message is on disk, flushed, before it is acknowledged.

    Example: gateway hl7 listen --port 2575 --save received
    """
    settings = ListenerSettings.model_validate(
        {
            "name": "cli",
            "tenant": "local",
            "host": host,
            "port": port,
            "plain": True,
            "unknown_partners": True,
            "release": release,
        }
    )
    with suppress(KeyboardInterrupt):
        asyncio.run(_serve(settings, Folder(save, as_json=as_json)))


async def _interrupted() -> None:
    """Wait for Ctrl-C or SIGTERM; then the listener finishes what it received."""
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        with suppress(NotImplementedError):  # Windows: KeyboardInterrupt ends the run
            asyncio.get_running_loop().add_signal_handler(number, stop.set)
    await stop.wait()


async def _serve(settings: ListenerSettings, folder: Folder) -> None:
    def now() -> datetime:
        return datetime.now(UTC)

    def identify() -> str:
        return uuid.uuid4().hex[:20]

    def tell(name: str, fields: Any) -> None:
        told = " ".join(f"{key}={value}" for key, value in fields.items())
        console.print(f"{name} {told}", style="dim", markup=False)

    codec = LocalCodec(identify=identify, clock=now)
    listener = Listener(settings, codec=codec, accept=folder, clock=now, identify=identify, observe=tell)
    async with listener:
        console.print(f"listening on {settings.host}:{listener.port}", markup=False, highlight=False)
        await _interrupted()
    console.print("stopped", markup=False)


hl7_fhir.join(app)
