"""A message for reading: its fields by name, and what the mapping to FHIR does with them."""

from __future__ import annotations

from typing import Any

from rich.markup import escape as markup
from rich.tree import Tree

from adapters.hl7.wire import Message, Segment
from adapters.hl7.wire.message import HEADERS
from adapters.hl7.wire.names import SEGMENTS, field_name
from gateway.core.errors import GatewayError
from gateway.core.ledger import LedgerEntry
from mappings.hl7_to_fhir import convert

Fates = dict[str, LedgerEntry]
_COLOURS = {"mapped": "green", "carried": "blue", "ignored": "dim", "unknown": "yellow"}


def fates_of(message: Message) -> Fates:
    """Leaf path → what becomes of it; empty for messages without a mapping."""
    try:
        ledger = convert(message).ledger
    except GatewayError:
        return {}
    return {entry.path: entry for entry in ledger.entries}


def as_json_tree(message: Message, fates: Fates) -> dict[str, Any]:
    """The message as data: each leaf with its path, name, value and fate."""
    leaves = []
    for segment in message.segments:
        for path, value in segment.leaves():
            number = int(path.split("-")[1].split("[")[0])
            leaf = {"path": path, "name": field_name(segment.name, number), "value": value}
            if path in fates:
                leaf |= {"fate": fates[path].fate, "target": fates[path].target}
            leaves.append(leaf)
    return {
        "type": message.structure,
        "controlId": message.control_id,
        "version": message.version,
        "encoding": message.syntax.encoding,
        "notes": list(message.notes),
        "leaves": leaves,
    }


def tree(message: Message, fates: Fates) -> Tree:
    """The message as a tree for the terminal."""
    told = f" [yellow]{', '.join(message.notes)}[/yellow]" if message.notes else ""
    root = Tree(
        f"[bold]{markup(message.structure)}[/bold] {markup(message.control_id)} "
        f"[dim]{markup(message.version)}, {message.syntax.encoding}[/dim]{told}"
    )
    for segment in message.segments:
        name = SEGMENTS.get(segment.name, "local" if segment.name.startswith("Z") else "")
        branch = root.add(f"[bold cyan]{segment.name}[/bold cyan] [dim]{name}[/dim]")
        for n in range(3 if segment.name in HEADERS else 1, len(segment) + 1):
            for number, text in enumerate(_repetitions(segment, n), 1):
                label = f"{segment.name}-{n}" + (f"[{number}]" if number > 1 else "")
                fate = _fate(fates, f"{segment.name}[{segment.index}]-{n}[{number}].")
                branch.add(f"{markup(label)} [dim]{field_name(segment.name, n)}[/dim] {markup(text)}{fate}")
    if fates:
        counts = {fate: sum(entry.fate == fate for entry in fates.values()) for fate in _COLOURS}
        root.add(", ".join(f"[{_COLOURS[fate]}]{count} {fate}[/{_COLOURS[fate]}]" for fate, count in counts.items()))
    return root


def _fate(fates: Fates, start: str) -> str:
    """The fates of one repetition's leaves, each once."""
    found = dict.fromkeys((entry.fate, entry.target) for path, entry in fates.items() if path.startswith(start))
    texts = [f"[{_COLOURS[fate]}]{fate}: {markup(target)}[/{_COLOURS[fate]}]" for fate, target in found]
    return f"  → {'; '.join(texts)}" if texts else ""


def _repetitions(segment: Segment, n: int) -> list[str]:
    """A field's repetitions for reading: components by `·`, sub-components by `/`."""
    return [" · ".join("/".join(component) for component in repetition.components) for repetition in segment.field(n)]
