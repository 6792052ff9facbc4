"""One message on its way: what all segment handlers share (`Job`) and what a group passes down (`Scope`).

A handler maps one segment: it makes or finds a resource, runs the segment's rows, links the resource to what is around
it. Handlers register under the segment's name; the walk calls them in message order, group by group.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from .cursor import Cursor
from .environment import Env
from .graph import Resource, absent, reference
from .program import Program
from .rows import apply
from .structure import Group


@dataclass(slots=True)
class Job:
    """One message being mapped."""

    program: Program
    env: Env
    code: str
    """MSH-9.1."""
    trigger: str
    """MSH-9.2."""
    sent: str = ""
    """MSH-7 as FHIR instant."""
    patient: Resource | None = None
    """The patient the message is about: the first PID's."""
    encounter: Resource | None = None
    account: Resource | None = None
    """The patient's account (PID-18): guarantors belong to it."""
    header: Resource | None = None
    texts: list[tuple[dict[str, Any], list[str]]] = field(default_factory=list)
    """Attachments whose text is still being collected, with its lines."""
    made: dict[str, list[tuple[Cursor, Resource]]] = field(default_factory=dict)
    """Segment name → what was made of each, for those that look back at the end."""

    def note(self, cursor: Cursor, resource: Resource) -> None:
        """Remember what a segment became."""
        self.made.setdefault(cursor.name, []).append((cursor, resource))


@dataclass(slots=True)
class Scope:
    """What holds within one group of segments, and in the groups below it."""

    job: Job
    group: Group
    patient: Resource | None = None
    encounter: Resource | None = None
    order: Resource | None = None
    report: Resource | None = None
    specimen: Resource | None = None
    coverage: Resource | None = None
    medication: Resource | None = None
    immunization: Resource | None = None
    observation: Resource | None = None
    document: Resource | None = None
    appointment: Resource | None = None
    charge: Resource | None = None
    last: Resource | None = None
    """The resource of the segment before: notes belong to it."""
    env: Env = field(init=False)

    def __post_init__(self) -> None:
        """The conversion's environment is at hand everywhere."""
        self.env = self.job.env

    def below(self, group: Group) -> Scope:
        """The scope of a group inside this one."""
        return Scope(
            self.job, group, self.patient, self.encounter, self.order, self.report, self.specimen, self.coverage,
            self.medication, self.immunization, self.observation, self.document, self.appointment, self.charge,
            self.last,
        )  # fmt: skip

    def make(self, kind: str, key: str, cursor: Cursor, *, note: bool = True) -> Resource:
        """A new resource of a segment, with its rows applied."""
        resource = self.env.graph.add(kind, key)
        cursor.owner = resource
        self.apply(cursor, resource)
        if note:
            self.job.note(cursor, resource)
        self.last = resource
        return resource

    def apply(self, cursor: Cursor, resource: Resource, map_name: str = "") -> None:
        """Run the rows of `<segment>-<resource>` over a segment."""
        if "id" in resource and cursor.owner is None:
            cursor.owner = resource
        rows = self.job.program.maps.get(map_name or f"{cursor.name}-{resource['resourceType']}")
        if rows:
            apply(rows, cursor, resource, self.env)

    def local_key(self, cursor: Cursor) -> str:
        """A key that names this segment of this message."""
        return f"{self.env.control}|{cursor.name}|{cursor.index}"

    def link(self, resource: Resource, element: str = "subject") -> None:
        """Point a resource at the group's patient, or at the message's once it is known."""
        if self.patient is not None:
            resource[element] = reference(self.patient)
        else:
            self.env.pending.append((resource, element))

    def at_visit(self, resource: Resource) -> None:
        """Point a resource at the visit, where there is one."""
        if self.encounter is not None:
            resource["encounter"] = reference(self.encounter)


Handler = Callable[[Cursor, Scope], None]
HANDLERS: dict[str, Handler] = {}


def handles(*names: str) -> Callable[[Handler], Handler]:
    """Register the handler of some segments."""

    def register(handler: Handler) -> Handler:
        for name in names:
            HANDLERS[name] = handler
        return handler

    return register


def walk(group: Group, scope: Scope) -> None:
    """Map all segments of a group in order, then those of the groups inside it as they come."""
    for child in group.children:
        if isinstance(child, Group):
            inner = scope.below(child)
            walk(child, inner)
            if child.name in SHARED:
                scope.patient, scope.encounter = inner.patient, inner.encounter
            continue
        handler = HANDLERS.get(child.name)
        if handler is not None:
            handler(child, scope)
        elif child.name[0] == "Z":
            _local(child, scope)


SHARED = frozenset({"PATIENT", "VISIT"})
"""Groups whose patient and visit hold for the groups after them."""


def _local(cursor: Cursor, scope: Scope) -> None:
    """A Z-segment: the partner's rows, into the resource of their kind that is at hand."""
    for name in scope.job.program.local.get(cursor.name, ()):
        kind = name.partition("-")[2]
        held = (
            scope.patient,
            scope.encounter,
            scope.order,
            scope.coverage,
            scope.observation,
            scope.last,
            scope.job.header,
        )
        target = next((resource for resource in held if resource and resource["resourceType"] == kind), None)
        if target is not None:
            scope.apply(cursor, target, name)


_AT_VISIT = ("ServiceRequest", "Condition", "Procedure", "Observation", "DiagnosticReport", "MedicationRequest")


def join_visit(job: Job) -> None:
    """Where a message has one visit, all its care belongs to it, wherever PV1 stood; accounts belong to both."""
    of_kind = job.env.graph.of_kind
    visits, accounts = of_kind("Encounter"), of_kind("Account")
    if len(visits) == 1:
        for kind in _AT_VISIT:
            for resource in of_kind(kind):
                if "encounter" not in resource:
                    resource["encounter"] = reference(visits[0])
    if job.encounter is not None and accounts:
        job.encounter["account"] = [reference(account) for account in accounts]
    for account in accounts:
        if coverages := of_kind("Coverage"):
            account["coverage"] = [{"coverage": reference(coverage)} for coverage in coverages]


def carry(job: Job, cursors: list[Cursor]) -> None:
    """Keep every populated field that nothing took and nobody ignores, as written, in an extension of its resource."""
    ignored = job.program.ignored
    for cursor in cursors:
        owner = cursor.owner
        if owner is None or cursor.default:
            continue
        reasons = ignored.get(cursor.name, {})
        if "*" in reasons:
            continue
        repetition, marks = cursor.syntax.repetition, cursor.marks
        for number, text in cursor.filled.items():
            if number in reasons:
                continue
            if number not in marks or (repetition in text and _incomplete(cursor, number)):
                value = {"url": f"urn:gateway:hl7v2:{cursor.name}-{number}", "valueString": text}
                owner.setdefault("extension", []).append(value)
                cursor.mark(number, f"~{owner['resourceType']}.extension")


def _incomplete(cursor: Cursor, number: int) -> bool:
    """Whether some repetition of a field was taken by nobody."""
    taken = {mark[2] for mark in cursor.marks[number]}
    return 0 not in taken and cursor.raw(number).count(cursor.syntax.repetition) + 1 > len(taken)


def settle(job: Job) -> None:
    """Give everything that waited for the patient its reference; without any patient it says that it has none."""
    for resource, element in job.env.pending:
        if resource.get(element):
            continue
        resource[element] = reference(job.patient) if job.patient is not None else absent()


def concept(system: str, code: str, display: str = "") -> dict[str, Any]:
    """A CodeableConcept of one coding."""
    coding = {"system": system, "code": code}
    if display:
        coding["display"] = display
    return {"coding": [coding]}
