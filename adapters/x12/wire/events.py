"""How to read, and what reading yields besides reports."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from adapters.x12.wire.faults import Effect, Fault
from adapters.x12.wire.guide import Guide
from adapters.x12.wire.program import CodeSets
from adapters.x12.wire.reports import GroupReport, InterchangeHeader, InterchangeReport, Quarantined, TransactionReport
from adapters.x12.wire.splitter import Limits
from adapters.x12.wire.tree import Loop
from adapters.x12.wire.walker import DEFAULT_EFFECTS


@dataclass(frozen=True, slots=True)
class Options:
    """How to read."""

    mode: Literal["control", "judge", "units", "trees"] = "trees"
    """control: envelopes and their counts only, no guide is looked at; judge: reports only; units: also each unit loop
    (a claim, a patient event) with its parents; trees: also each whole transaction set."""
    effects: Mapping[int, Effect] = field(default_factory=lambda: dict(DEFAULT_EFFECTS))
    character_set: Literal["extended", "utf8"] = "extended"
    code_sets: CodeSets = field(default_factory=dict)
    limits: Limits = field(default_factory=Limits)
    usage: str = ""
    """P or T: any other ISA15 is refused (TA1 020). Empty: both are read."""


@dataclass(slots=True)
class Transaction:
    """A whole transaction set: its tree, and where it came from."""

    tree: Loop
    guide: Guide
    header: InterchangeHeader
    group: GroupReport
    report: TransactionReport


@dataclass(slots=True)
class Unit:
    """One unit of a transaction set (837: a claim, 278: a patient event …) below its parents."""

    loop: Loop
    guide: Guide
    header: InterchangeHeader
    group: GroupReport
    report: TransactionReport
    ordinal: int
    """Its number in the transaction set, from 1."""
    faults: tuple[Fault, ...] = ()
    """What was found in it and in what introduces it."""
    refused: bool = False
    """It has errors that do not refuse its transaction set: a claim to be refused by a 277CA."""


Event = InterchangeReport | Quarantined | Transaction | Unit

Choose = Callable[[InterchangeHeader], Options]
"""Options by sender and receiver: the partner's profile."""
