"""Workflow definitions: YAML in workflows/definitions/, validated on load, pinned by hash for the life of a case.

A definition is a list of steps. A step runs when its `conditions` hold (rule language, workflows/conditions.py), ends
with an outcome, and `next` says which step follows which outcome (`*` for any other, `end` to finish). Without
`next` the following step of the list is next.

    decision      executor {ruleset: …}                 outcome: the decision's action (A1 … NA)
    integration   executor {deliver: reply | notify}    outcome: delivered | refused
                  executor {ask: payer, within: …}      outcome: the payer's decision, A4 when it takes longer than
                                                        `within`, `waiting`, `settled`, or `refused`; what the rule
                                                        set `screen` rejects (AAA) is not asked
    task          executor {role: …}                    outcome: the reviewer's action, `message`, or `timeout`
    wait          executor {for: [message types]}       outcome: the message type, or `timeout`
    parallel      branches: lists of steps              outcome: done

Promise 3 (every case ends) is checked here: whatever waits has a timeout, and a step runs at most MAX_VISITS times.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Literal

import orjson
import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from gateway.core.errors import ConfigurationError, Issue
from workflows.conditions import compiled

FOLDER = Path(__file__).parent / "definitions"
END = "end"
CLOSE = "close"
"""What the interpreter calls its own last step; command ids are named after steps."""
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MAX_VISITS = 100
"""A step that runs more often is a loop in the definition; the case then ends as failed."""

_DURATION = re.compile(r"P(?:(\d{1,5})D)?(?:T(?:(\d{1,6})H)?(?:(\d{1,7})M)?(?:(\d{1,9})S)?)?", re.ASCII)
"""So many digits that no sum of a moment and a duration leaves the calendar."""
_DUE = re.compile(r"due(?: (\d{1,3})%)?(?: \+ (P\S+))?")


class Closed(BaseModel):
    """Unknown keys are refused: a misspelt key must not silently change a workflow."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Escalation(Closed):
    """Who is asked when a task is not done in time."""

    at: str = Field(description="When: an ISO 8601 duration after the start of the step, or `due 80%`.")
    to: str = Field(description="The role that gets the task.")


class Retry(Closed):
    """How an integration is tried again. Seconds inside one attempt are tenacity's; this is Temporal's, for days."""

    initial: str = Field("PT5S", description="First pause (ISO 8601 duration); doubles each time.")
    maximum: str = Field("PT10M", description="Longest pause.")
    until: str = Field("P7D", description="Give up after this long.")


class Step(Closed):
    """One step (the mission's WorkflowStep)."""

    id: str = Field(pattern=r"^[a-z][a-z0-9_]*$", description="Name of the step, unique in the definition.")
    name: str = Field("", description="What people read.")
    type: Literal["task", "decision", "integration", "wait", "parallel"] = Field(description="Kind of step.")
    executor: dict[str, Any] = Field(
        default_factory=dict, description="Who or what carries it out; see the table above."
    )
    conditions: tuple[str, ...] = Field(
        (), description="Rule-language conditions; all must hold, else the step is passed."
    )
    timeout: str = Field("", description="ISO 8601 duration, `due`, `due 80%` or `due + P30D`.")
    retry: Retry = Field(default_factory=Retry, description="Only for integrations.")
    escalation: tuple[Escalation, ...] = Field((), description="Only for tasks.")
    next: dict[str, str] = Field(default_factory=dict, description="Following step by outcome; `*` for any other.")
    branches: tuple[tuple[Step, ...], ...] = Field((), description="Only for parallel steps.")


class ServiceLevel(Closed):
    """The legal clock, in hours from our receipt."""

    standard: float = Field(168, description="Hours for a standard request (7 calendar days).")
    expedited: float = Field(72, description="Hours for an expedited request.")
    warn: tuple[float, ...] = Field(
        (0.5, 0.8), description="Fractions of the clock at which a warning event is written."
    )


class WorkflowDefinition(Closed):
    """A workflow definition (the mission's WorkflowDefinition)."""

    name: str = Field(pattern=r"^[a-z][a-z0-9_]*$", description="Name; the registry refers to it.")
    version: str = Field(description="Version; a change of content needs a new one.")
    type: Literal["authorization", "prior_auth", "claims", "appeal", "credentialing", "audit", "eligibility"] = Field(
        description="Kind of workflow."
    )
    title: str = Field("", description="What people read.")
    rules: tuple[str, ...] = Field((), description="Rule sets it uses.")
    integrations: tuple[str, ...] = Field((), description="Endpoints it uses besides the way back.")
    sla: ServiceLevel = Field(default_factory=ServiceLevel, description="The clock.")
    compliance: tuple[str, ...] = Field((), description="Rules of law it implements.")
    steps: tuple[Step, ...] = Field(min_length=1, description="The steps, in order.")

    @model_validator(mode="after")
    def _sound(self) -> WorkflowDefinition:
        ids = [step.id for step in _everywhere(self.steps)]
        if len(set(ids)) != len(ids):
            raise ValueError("step ids must be unique: commands are named after them")
        if {END, CLOSE} & set(ids):
            raise ValueError(f"`{END}` and `{CLOSE}` cannot name a step: the interpreter uses them itself")
        targets = {step.id for step in self.steps} | {END}
        for step in self.steps:
            _check(step, targets)
        return self


def _everywhere(steps: Iterable[Step]) -> Iterator[Step]:
    for step in steps:
        yield step
        for branch in step.branches:
            yield from _everywhere(branch)


def _check(step: Step, targets: set[str]) -> None:
    unknown = set(step.next.values()) - targets
    if unknown:
        raise ValueError(f"step {step.id}: next names unknown steps: {', '.join(sorted(unknown))}")
    if step.type in ("task", "wait") and not step.timeout:
        raise ValueError(f"step {step.id}: whatever waits needs a timeout")
    is_asking = step.type == "integration" and "ask" in step.executor
    if is_asking:
        duration(str(step.executor.get("within", "")))
    required = {"decision": "ruleset", "integration": "deliver", "task": "role", "wait": "for"}.get(step.type)
    if required and not is_asking and required not in step.executor:
        raise ValueError(f"step {step.id}: executor needs `{required}`")
    for when in (step.timeout, *(escalation.at for escalation in step.escalation)):
        if when:
            deadline(when, EPOCH, EPOCH)
    for text in (step.retry.initial, step.retry.maximum, step.retry.until):
        duration(text)
    for text in step.conditions:
        try:
            compiled(text)
        except ConfigurationError as error:
            raise ValueError(f"step {step.id}: condition {text!r}: {error}") from error
    for branch in step.branches:
        for inner in branch:
            _check(inner, {*(other.id for other in branch), END})


def duration(text: str) -> timedelta:
    """An ISO 8601 duration of days, hours, minutes and seconds. Raises ValueError."""
    match = _DURATION.fullmatch(text)
    if match is None or text.endswith(("P", "T")):
        raise ValueError(f"not a duration: {text}")
    days, hours, minutes, seconds = (int(part or 0) for part in match.groups())
    return timedelta(days=days, hours=hours, minutes=minutes, seconds=seconds)


def deadline(text: str, start: datetime, due: datetime, received: datetime | None = None) -> datetime:
    """The moment `text` names: a duration after `start`, or a point on the legal clock. Raises ValueError."""
    match = _DUE.fullmatch(text)
    if match is None:
        return start + duration(text)
    origin = received or due
    fraction = int(match.group(1)) / 100 if match.group(1) else 1.0
    extra = duration(match.group(2)) if match.group(2) else timedelta()
    return origin + (due - origin) * fraction + extra


def content_hash(content: dict[str, Any]) -> str:
    """SHA-256 over the canonical JSON (sorted keys)."""
    return hashlib.sha256(orjson.dumps(content, option=orjson.OPT_SORT_KEYS)).hexdigest()


def parse(text: str, origin: str) -> dict[str, Any]:
    """A definition from YAML as plain, validated, complete data. Raises ConfigurationError naming each fault."""
    try:
        model = WorkflowDefinition.model_validate(yaml.safe_load(text))
    except yaml.YAMLError as error:
        raise ConfigurationError("the definition is not YAML", location=origin) from error
    except ValidationError as error:
        issues = tuple(
            Issue("definition", ".".join(str(part) for part in fault["loc"]), fault["msg"]) for fault in error.errors()
        )
        raise ConfigurationError("the definition is not valid", location=origin, issues=issues) from error
    content: dict[str, Any] = model.model_dump(mode="json")
    return content


def load(folder: Path = FOLDER) -> dict[str, dict[str, Any]]:
    """All definitions of a folder, by name."""
    found = [parse(path.read_text(encoding="utf-8"), path.name) for path in sorted(folder.glob("*.yaml"))]
    return {content["name"]: content for content in found}
