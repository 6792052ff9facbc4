"""Asking a payer over X12 278 and reading what it says: the pure part.

question       a PAS Bundle → the 278 request, what finds its answer again, what it had no room for
read_answer    bytes of an answer (278, 999, TA1) → the message a case gets
decision_from  a 278 response + what was asked → the decision on the whole case
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from adapters.x12.wire.reader import Options, read
from adapters.x12.wire.reports import InterchangeReport
from adapters.x12.wire.tree import Loop
from gateway.core.envelope import Intake, Raw, Reception
from gateway.core.errors import MalformedMessage
from gateway.core.ports import Decision, ItemDecision
from gateway.stages.ask import ANSWERS, completed
from gateway.stages.decide import PENDED, administrative_reference
from mappings.claim_to_x12_278 import request
from mappings.x12_278_to_decision import decision_of
from mappings.x12_bundle import Transmission
from mappings.x12_codec import X12Codec
from mappings.x12_intakes import MEDIA_TYPE, asked_key, refused_interchange, sent_key
from mappings.x12_trace import thaw

Element = dict[str, Any]
PAYLOAD_TYPE = "X12_278_Request_005010X217E1_2"
"""CORE PayloadType of 278 requests, in real time and in batches (CAQH CORE Connectivity Rule, list of PayloadTypes)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """A 278 request before it has numbers."""

    tree: Loop
    record: dict[str, Any]
    """What reading the answer needs: `trns` ([TRN03, TRN02] …), `bht` (BHT03), `traces` and `sequences` of lines."""
    left_out: tuple[str, ...]
    """Paths of the request that the 278 has no room for."""

    def keys(self, payer: str, interchange: str, group: str) -> list[tuple[str, tuple[str, ...]]]:
        """What the answers of this interchange partner are matched by."""
        rows = [asked_key(payer, assigner, number) for assigner, number in self.record["trns"]]
        rows += [asked_key(payer, "", self.record["bht"])]
        rows += [sent_key(payer, "ISA13", interchange), sent_key(payer, "GS06", group)]
        return [(kind, tuple(parts)) for kind, *parts in rows]


def question(bundle: Element, *, now: datetime, trace_assigner: str = "") -> Question:
    """The 278 request for a case as it stands. Raises Unmappable."""
    rendering = request(bundle, now=now, trace_assigner=trace_assigner)
    event = next(rendering.tree.descendants("2000E"))
    return Question(
        tree=rendering.tree,
        record={
            "trns": [[trace.get(3), trace.get(2)] for trace in event.segments("TRN")],
            "bht": rendering.tree.get("BHT", 3),
            "traces": dict(rendering.traces),
            "sequences": list(rendering.sequences),
        },
        left_out=tuple(entry.path for entry in rendering.left_out.entries if entry.fate == "ignored"),
    )


def read_answer(data: bytes, reception: Reception) -> Intake | None:
    """What a payer answered on the line: its 278 response or its refusal; None where it only took note (999 A).

    Raises MalformedMessage for what is no X12, or X12 that breaks its guide.
    """
    raw = Raw.of(data, MEDIA_TYPE)
    reports = [event for event in read([data], Options(mode="judge")) if isinstance(event, InterchangeReport)]
    for intake in refusals_of(reports, reception, data):
        return intake
    reading = X12Codec().read(raw, reception)
    found = [intake for intake in reading.intakes if intake.type in ANSWERS]
    if found:
        return found[0]
    if not reports or any(report.outcome == "rejected" for report in reports):
        raise MalformedMessage("the payer's answer is not X12 that follows its guide")
    return None


def refusals_of(reports: Sequence[InterchangeReport], reception: Reception, data: bytes) -> list[Intake]:
    """The TA1s in these interchanges that refuse one of ours."""
    return [
        refused_interchange(
            Transmission(
                sender=report.header.sender, receiver=report.header.receiver, interchange=report.header.control_number
            ),
            reception,
            number,
            code,
            data[report.offset : report.offset + report.length],
        )
        for report in reports
        for number, code in report.refused_ours
    ]


def answers(reply: Mapping[str, Any], record: Mapping[str, Any]) -> bool:
    """Whether a payer's message is about this request: by its trace, else by BHT03; or by the refused numbers."""
    if refused := reply.get("refuses"):
        numbers = {"ISA13": record["interchange"], "GS06": record["group"]}
        return all(_number(numbers[name]) == _number(value) for name, value in refused.items())
    tree = thaw(reply["event"])
    traces = [[one.get(3), one.get(2)] for event in tree.descendants("2000E") for one in event.segments("TRN")]
    if traces:
        return any(trace in record["trns"] for trace in traces)
    return bool(tree.get("BHT", 3) == record["bht"])


def _number(text: str) -> str:
    return text.lstrip("0")


def decision_from(
    reply: Mapping[str, Any],
    record: Mapping[str, Any],
    *,
    case_id: str,
    version: int,
    received_at: datetime,
    wanted: Sequence[int],
    before: Decision | None,
) -> Decision:
    """The decision on the whole case by a 278 response to (a part of) it.

    `wanted`: all items of the case; `before`: what was decided earlier, which stands for items that were not asked
    about. The payer's numbers are the authorization's; where it pends without a reference, ours finds the case.
    """
    tree = thaw(reply["event"])
    answer = decision_of(
        next(tree.descendants("2000E"), tree),
        case_id=case_id,
        version=version,
        received_at=received_at,
        traces=record["traces"],
        sequences=record["sequences"] or tuple(wanted),
    )
    if not answer.items:
        return replace(answer, action="") if answer.errors else pended(case_id, version, received_at, wanted)
    return of_whole_case(answer, before=before, wanted=wanted)


def of_whole_case(answer: Decision, *, before: Decision | None, wanted: Sequence[int]) -> Decision:
    """An answer to (a part of) a case together with what was decided before, which stands for the rest of it."""
    stands: Sequence[ItemDecision] = before.items if before is not None else ()
    items, rolled = completed(answer.items, stands, wanted)
    is_whole = {item.sequence for item in answer.items} >= set(wanted)
    action = answer.action if is_whole else rolled
    merged = replace(answer, items=items, action=action)
    if before is not None and not is_whole:
        merged = replace(
            merged,
            authorization_number=answer.authorization_number or before.authorization_number,
            valid_from=answer.valid_from or before.valid_from,
            valid_to=answer.valid_to or before.valid_to,
        )
    if action == PENDED and not merged.administrative_reference:
        merged = replace(merged, administrative_reference=administrative_reference(answer.case_id))
    return merged


def pended(case_id: str, version: int, at: datetime, wanted: Sequence[int]) -> Decision:
    """Nothing is decided yet: what a response without a decision, or one that says that it follows, means."""
    items = tuple(ItemDecision(sequence=sequence, action=PENDED) for sequence in wanted)
    return Decision(
        case_id=case_id,
        version=version,
        decided_at=at,
        action=PENDED,
        items=items,
        administrative_reference=administrative_reference(case_id),
    )
