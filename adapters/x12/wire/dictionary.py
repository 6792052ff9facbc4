"""The X12 dictionary: data elements, composites and segments of version 005010, from `dictionary.yaml`."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

import yaml


@dataclass(frozen=True, slots=True)
class DataElement:
    """`type` is AN, ID, N0, N2, R, DT, TM or B; lengths in characters, for numbers in digits."""

    number: str
    type: str
    shortest: int
    longest: int


@dataclass(frozen=True, slots=True)
class SyntaxNote:
    """A condition between elements of one segment: kind P, R, E, C or L, and the positions it speaks of."""

    kind: str
    positions: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class SegmentDefinition:
    """`elements` are numbers of data elements or composites, in order."""

    id: str
    elements: tuple[str, ...]
    notes: tuple[SyntaxNote, ...]


@dataclass(frozen=True, slots=True)
class Dictionary:
    """All definitions by identifier."""

    elements: dict[str, DataElement]
    composites: dict[str, tuple[str, ...]]
    segments: dict[str, SegmentDefinition]


def load_yaml(name: str) -> Any:
    """One of the YAML tables of this package."""
    text = files(__package__).joinpath(name).read_text(encoding="utf-8")
    return yaml.load(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))  # noqa: S506 - both loaders are safe


@cache
def dictionary() -> Dictionary:
    """The dictionary, read once."""
    data = load_yaml("dictionary.yaml")
    elements = {}
    for number, text in data["elements"].items():
        kind, shortest, longest = text.split()
        elements[number] = DataElement(number, kind, int(shortest), int(longest))
    composites = {number: tuple(str(text).split()) for number, text in data["composites"].items()}
    segments = {name: _segment(name, str(text)) for name, text in data["segments"].items()}
    return Dictionary(elements, composites, segments)


def _segment(name: str, text: str) -> SegmentDefinition:
    body, _, notes = text.partition("[")
    return SegmentDefinition(name, tuple(body.split()), tuple(_note(note) for note in notes.rstrip("]").split()))


def _note(text: str) -> SyntaxNote:
    digits = text[1:]
    return SyntaxNote(text[0], tuple(int(digits[at : at + 2]) for at in range(0, len(digits), 2)))
