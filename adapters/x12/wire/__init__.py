"""X12: bytes to a typed tree and back, validation by declarative guides, TA1, 999 and 277CA. Pure.

Standard: ASC X12 005010: interchange control (X12.5), syntax (X12.6), the HIPAA and CORE guides in `guides/`
(278 X217, 270/271 X279A1, 276/277 X212, 277CA X214, 837 X222A1/X223A2/X224A2, 835 X221A1, 275 X210, 834 X220A1 read
only) and acknowledgements TA1 and 999 X231A1. A file holds interchanges (ISA…IEA), these functional groups (GS…GE),
these transaction sets (ST…SE), these loops of segments; a segment holds elements, repetitions and components.
Limits: 1 MiB for a segment and 64 MiB for a binary one (held in memory), 1,000 faults kept per transaction set
(more helps nobody); memory does not grow with the file in `judge` and `units` mode.
Not handled: versions before 00501 inside groups (answered by AK9 R/2), EDIFACT, security segments (S1A, S2A), 997, 824
and licensed code lists, which are configuration (`Options.code_sets`).

    read(chunks, Options())         → Transaction, Unit, InterchangeReport and Quarantined events
    write(guide("271"), tree, …)    → the bytes of an interchange
    acknowledge(report, …)          → the bytes of the one interchange that answers a received one
"""

from adapters.x12.wire.acknowledge import AckPolicy, Numbers, acknowledge
from adapters.x12.wire.faults import Effect, Fault
from adapters.x12.wire.guide import Guide
from adapters.x12.wire.reader import Event, Options, Transaction, Unit, read
from adapters.x12.wire.registry import guide
from adapters.x12.wire.reports import GroupReport, InterchangeHeader, InterchangeReport, Quarantined, TransactionReport
from adapters.x12.wire.splitter import Limits, Separators, split
from adapters.x12.wire.tree import Loop, Segment
from adapters.x12.wire.writer import Envelope, write

__all__ = [
    "AckPolicy",
    "Effect",
    "Envelope",
    "Event",
    "Fault",
    "GroupReport",
    "Guide",
    "InterchangeHeader",
    "InterchangeReport",
    "Limits",
    "Loop",
    "Numbers",
    "Options",
    "Quarantined",
    "Segment",
    "Separators",
    "Transaction",
    "TransactionReport",
    "Unit",
    "acknowledge",
    "guide",
    "read",
    "split",
    "write",
]
