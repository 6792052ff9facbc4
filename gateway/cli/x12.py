"""`gateway x12`: check X12 files, see their acknowledgements, explain them, turn them into JSON. No server needed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, NoReturn

import orjson
import typer
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from adapters.x12.wire import (
    AckPolicy,
    Fault,
    InterchangeReport,
    Loop,
    Options,
    Quarantined,
    Segment,
    Transaction,
    Unit,
    acknowledge,
    read,
)
from adapters.x12.wire.acknowledge import groups_due, ta1_due
from adapters.x12.wire.claim_acknowledge import acknowledge_claims, answerable, batches
from adapters.x12.wire.duplicates import digests, repeats
from gateway.cli import x12_fhir
from gateway.core.errors import MalformedMessage

app = typer.Typer(
    no_args_is_help=True,
    help="Check X12 files, see their acknowledgements, explain them, turn them into JSON. Works without any server.",
)

Files = Annotated[
    list[Path], typer.Argument(help="X12 files, with any number of interchanges each.", show_default=False)
]
Json = Annotated[bool, typer.Option("--json", help="JSON to standard output.")]
Utf8 = Annotated[bool, typer.Option("--utf8", help="Accept accented letters.")]
Usage = Annotated[str, typer.Option(help="P or T: refuse interchanges of the other kind (TA1 020).")]

CHUNK = 1 << 18
BAR_FROM = 8 << 20
"""File size in bytes from which a progress bar is worth its place."""


def _chunks(path: Path) -> Iterator[bytes]:
    """The file in chunks, with a progress bar on standard error when it is large."""
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            if size < BAR_FROM:
                yield from iter(lambda: file.read(CHUNK), b"")
                return
            columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TimeRemainingColumn())
            with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
                task = progress.add_task(path.name, total=size)
                for chunk in iter(lambda: file.read(CHUNK), b""):
                    progress.update(task, advance=len(chunk))
                    yield chunk
    except OSError as error:
        raise MalformedMessage(f"cannot read {path}: {error.strerror}") from error


def _options(*, utf8: bool, usage: str = "", mode: str = "judge") -> Options:
    if usage not in ("", "P", "T"):
        raise typer.BadParameter("must be P or T", param_hint="--usage")
    return replace(Options(usage=usage, character_set="utf8" if utf8 else "extended"), mode=mode)  # type: ignore[arg-type]


def _reports(path: Path, options: Options) -> tuple[list[InterchangeReport], list[Quarantined]]:
    reports: list[InterchangeReport] = []
    quarantined: list[Quarantined] = []
    for event in read(_chunks(path), options):
        if isinstance(event, InterchangeReport):
            reports.append(event)
        elif isinstance(event, Quarantined):
            quarantined.append(event)
    repeats(reports, lambda: digests(_chunks(path), reports))
    if not reports and not quarantined:
        quarantined.append(Quarantined(0, 0, "no interchange in the file"))
    return reports, quarantined


def _emit(value: Any) -> None:
    typer.echo(orjson.dumps(value, option=orjson.OPT_INDENT_2).decode())


@app.command(epilog="Example: gateway x12 validate --json claims.837")
def validate(
    files: Files,
    as_json: Json = False,
    utf8: Utf8 = False,
    usage: Usage = "",
    control: Annotated[bool, typer.Option("--control", help="Envelopes and their counts only: a quick look.")] = False,
) -> None:
    """Check files against their guides: outcome and errors per interchange, group and transaction set.

    Exit code 0: everything accepted (errors that only are reported included); 1: something refused or unreadable.
    """
    options, documents, failed = _options(utf8=utf8, usage=usage, mode="control" if control else "judge"), [], False
    for path in files:
        reports, quarantined = _reports(path, options)
        failed |= bool(quarantined) or any(_refused(report) for report in reports)
        document = {
            "file": str(path),
            "interchanges": [report.as_json() for report in reports],
            "quarantined": [one.as_json() for one in quarantined],
        }
        documents.append(document)
        if not as_json:
            _show(path, reports, quarantined)
    if as_json:
        _emit(documents[0] if len(documents) == 1 else documents)
    raise typer.Exit(1 if failed else 0)


def _refused(report: InterchangeReport) -> bool:
    return bool(report.faults) or any(group.outcome in ("rejected", "partially_accepted") for group in report.groups)


def _show(path: Path, reports: list[InterchangeReport], quarantined: list[Quarantined]) -> None:
    console = Console(highlight=False)
    for report in reports:
        console.print(f"[bold]{path}[/bold] interchange {report.header.control_number}: {_coloured(report.outcome)}")
        for fault in report.faults:
            console.print(f"  TA1 {fault.code}  {fault.message}", markup=False)
        for group in report.groups:
            console.print(f"  group {group.control_number} {group.group} {group.version}: {_coloured(group.outcome)}")
            for error in group.as_json()["errors"]:  # type: ignore[attr-defined]
                console.print(f"    AK9 {error['code']}  {error['message']}", markup=False)
            for one in group.transactions:
                name = f"{one.set_id} {one.control_number}"
                console.print(f"    set {name} ({one.segments} segments): {_coloured(one.outcome)}")
                for code in one.as_json()["errors"][: len(one.codes)]:  # type: ignore[index]
                    console.print(f"      IK5 {code['code']}  {code['message']}", markup=False)
                _faults(console, one.faults)
    for left in quarantined:
        console.print(
            f"[bold]{path}[/bold] [red]quarantine[/red]: {left.reason} at byte {left.offset}, {left.length} bytes"
        )


def _coloured(outcome: str) -> str:
    colour = {"accepted": "green", "rejected": "red"}.get(outcome, "yellow")
    return f"[{colour}]{outcome.replace('_', ' ')}[/{colour}]"


def _faults(console: Console, faults: list[Fault], most: int = 50) -> None:
    if not faults:
        return
    table = Table(box=None, padding=(0, 2, 0, 6))
    for title in ("segment", "loop", "code", "effect", "what"):
        table.add_column(title)
    for fault in faults[:most]:
        table.add_row(str(fault.segment_position), fault.loop, fault.code, fault.effect, fault.message)
    console.print(table)
    if len(faults) > most:
        console.print(f"      … and {len(faults) - most} more (--json shows all)")


class _Counted:
    """Control numbers for a preview: 1, 2, 3 …"""

    def __init__(self, first: int) -> None:
        self.next_interchange = self.next_group = first

    def interchange(self) -> int:
        """The next ISA13."""
        self.next_interchange += 1
        return self.next_interchange - 1

    def group(self, count: int) -> int:
        """The next GS06."""
        self.next_group += count
        return self.next_group - count


@app.command(epilog="Example: gateway x12 ack claims.837 > answer.x12")
def ack(
    files: Files,
    utf8: Utf8 = False,
    usage: Usage = "",
    control_number: Annotated[int, typer.Option(min=1, max=999_999_999, help="First ISA13 and GS06 to use.")] = 1,
    copy_values: Annotated[bool, typer.Option(help="IK404 repeats bad values, which may identify people.")] = False,
    claims: Annotated[
        bool, typer.Option("--claims", help="The 277CAs of accepted 837s too, which tell of each claim.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Write the acknowledgement interchanges that would be sent (TA1, 999), one segment a line; nothing if none is due.

    One interchange answers one received interchange and names its sender only. Duplicates are not known here.
    Exit code 0: whatever is due is written, refusals included; 1: something can be neither read nor answered.
    """
    options = _options(utf8=utf8, usage=usage)
    policy = AckPolicy(copy_values=copy_values, claims=claims, line_ends=True)
    numbers = _Counted(control_number)
    answers: list[dict[str, str]] = []
    problems: list[str] = []
    for path in files:
        found, left = _answers(path, options, policy, numbers)
        answers += found
        problems += [f"{path}: {problem}" for problem in left]
    if as_json:
        _emit(answers)
    else:
        typer.echo("".join(answer["data"] for answer in answers), nl=False)
    for problem in problems:
        typer.echo(problem, err=True)
    raise typer.Exit(1 if problems else 0)


def _answers(
    path: Path, options: Options, policy: AckPolicy, numbers: _Counted
) -> tuple[list[dict[str, str]], list[str]]:
    """The answers to one file and what has none; an interchange that repeats an earlier one is answered like it."""
    reports, quarantined = _reports(path, options)
    owner = answerable(reports) if policy.claims else {}
    told = batches(read(_chunks(path), replace(options, mode="units")), owner) if owner else {}
    sent: list[list[bytes]] = []
    for at, first in enumerate(repeats(reports, lambda: digests(_chunks(path), reports))):
        report, now = reports[at], datetime.now(UTC)
        answers = [] if first is not None else [
            acknowledge(report, policy, numbers, now),
            acknowledge_claims(report, told.get(at, []), policy, numbers, now, now),
        ]  # fmt: skip
        sent.append(sent[first] if first is not None else [one for one in answers if one])
    problems = [f"{left.reason} at byte {left.offset}" for left in quarantined]
    problems += [
        f"the interchange at byte {report.offset} cannot be answered: ISA06 or ISA08 is no usable identifier"
        for report, answers in zip(reports, sent, strict=True)
        if not answers and (ta1_due(report, policy) or groups_due(report, policy))
    ]
    found = [
        {"receiver": report.header.sender, "data": data.decode("latin-1")}
        for report, answers in zip(reports, sent, strict=True)
        for data in answers
    ]
    return found, problems


@app.command(epilog="Example: gateway x12 explain answer.x12")
def explain(files: Files, utf8: Utf8 = False, as_json: Json = False) -> None:
    """Show where every segment stands: loops indented as in the guide, values hidden behind their places.

    Only identifiers, loops, qualifiers of one to three characters and counts are shown, no content of people.
    Exit code 1: a file holds something unreadable, or no set that can be read as a whole.
    """
    documents = []
    problems: list[str] = []
    for path in files:
        for event in _sets(path, _options(utf8=utf8, mode="trees"), problems):
            if isinstance(event, Transaction):
                lines = list(_outline(event.tree, 0))
                head = {"guide": event.guide.id, "name": event.guide.name, "st02": event.report.control_number}
                documents.append({"file": str(path), **head, "lines": lines})
                if not as_json:
                    typer.echo(f"{path}: {event.guide.name} ({event.guide.id}), set {event.report.control_number}")
                    typer.echo("\n".join(lines))
    if as_json:
        _emit(documents)
    _end(problems)


def _sets(path: Path, options: Options, problems: list[str]) -> Iterator[Transaction | Unit]:
    """The transaction sets of a file, or their units; what is wrong with the file goes to `problems`."""
    before, found = len(problems), False
    for event in read(_chunks(path), options):
        if isinstance(event, Transaction | Unit):
            found = True
            yield event
        elif isinstance(event, Quarantined):
            problems.append(f"{path}: {event.reason} at byte {event.offset}")
    if not found and len(problems) == before:
        problems.append(f"{path}: no transaction set that can be read as a whole: see `gateway x12 validate`")


def _end(problems: list[str]) -> NoReturn:
    for problem in problems:
        typer.echo(problem, err=True)
    raise typer.Exit(1 if problems else 0)


def _outline(loop: Loop, depth: int) -> Iterator[str]:
    for item in loop.items:
        if isinstance(item, Loop):
            yield f"{'  ' * depth}{item.id}"
            yield from _outline(item, depth + 1)
        else:
            qualifier = item.get(1, 1)
            shown = f" {qualifier}" if item.id in _QUALIFIED and len(qualifier) <= 3 else ""
            places = ", ".join(path.removeprefix(item.id) for path, _ in item.leaves())
            yield f"{'  ' * depth}{item.position:>6} {item.id}{shown}  [{places}]"


_QUALIFIED = frozenset(("NM1", "REF", "DTP", "HI", "N1", "AMT", "QTY", "UM", "HCR", "EB", "CAS", "AAA", "TRN", "PER"))


@app.command(name="to-json", epilog="Example: gateway x12 to-json --units claims.837 | jq .CLM")
def to_json(
    files: Files,
    utf8: Utf8 = False,
    units: Annotated[bool, typer.Option(help="One line per unit (claim, event …) in constant memory.")] = False,
) -> None:
    """Write transaction sets as JSON, one a line: loops by name, segments and composites as lists.

    Exit code 1: a file holds something unreadable, or no set that can be read as a whole.
    """
    mode = "units" if units else "trees"
    problems: list[str] = []
    for path in files:
        for event in _sets(path, _options(utf8=utf8, mode=mode), problems):
            if isinstance(event, Transaction):
                typer.echo(
                    orjson.dumps(_head(event.report.as_json(), event.guide.id) | {"tree": tree_json(event.tree)})
                )
            else:
                head = _head(event.report.as_json(), event.guide.id) | {"ordinal": event.ordinal}
                typer.echo(orjson.dumps(head | {"tree": tree_json(event.loop)}))
    _end(problems)


def _head(report: dict[str, object], guide: str) -> dict[str, object]:
    return {"st01": report["st01"], "st02": report["st02"], "guide": guide}


def tree_json(loop: Loop) -> dict[str, Any]:
    """A loop as `{"loop": …, "items": [["NM1", "IL", …], {"loop": …}]}`, in document order."""
    items = [tree_json(item) if isinstance(item, Loop) else _segment_json(item) for item in loop.items]
    return {"loop": loop.id, "items": items}


def _segment_json(segment: Segment) -> list[Any]:
    if segment.id in ("BIN", "BDS"):
        return [segment.id, *segment.fields[1:-1], {"bytes": len(segment.binary())}]
    return [segment.id, *(_element_json(segment, at) for at in range(1, len(segment.fields)))]


def _element_json(segment: Segment, element: int) -> Any:
    repetitions = [segment.components(element, at + 1) for at in range(len(segment.repetitions(element)))]
    values: list[Any] = [parts[0] if len(parts) == 1 else parts for parts in repetitions]
    return "" if not values else values[0] if len(values) == 1 else {"repeats": values}


x12_fhir.join(app)
