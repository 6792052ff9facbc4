"""Clinical messages over MLLP reach the open cases of their patient: facts change, the decision is taken again."""

from __future__ import annotations

import asyncio
import socket
import time
import uuid
from datetime import UTC, datetime

from gateway import samples
from gateway.cli.send import mllp_exchange
from gateway.security.tokens import Tokens
from tests.e2e.running import Gateway, wait_for
from tests.e2e.test_protocols import action, command, rows, submit

BORN = "1980-02-29"
DOCUMENT = "TXA|1|11504-8^Operative report^LN|TX|20260301093000||||||||DOC77^EHR|||||AU||AV"
RESULT = "OBX|1|NM|2345-7^Glucose^LN||180|mg/dL|||||F"


def pended(gateway: Gateway, code: str, patient: str) -> str:
    """A pended request for this patient; the id of its case."""
    sample = samples.pas_submit(code, datetime.now(UTC))
    assert action(submit(gateway, sample.data.replace(b'"P-9"', f'"{patient}"'.encode()))) == "A4"
    token = Tokens.load(f"file:{gateway.state / 'secrets' / 'token.key'}")("demo", "person", (patient, BORN))
    (found,) = rows(gateway, "SELECT case_id FROM workflow.case_keys WHERE kind = 'person' AND token = $1", token)
    return str(found["case_id"])


def told(gateway: Gateway, event: str, patient: str, *segments: str, born: str = BORN) -> None:
    """Send a clinical message of this patient; it must be accepted."""
    control = uuid.uuid4().hex[:16]
    head = f"MSH|^~\\&|LAB|HOSP|GW|PAYER|{datetime.now(UTC):%Y%m%d%H%M%S}||{event}|{control}|P|2.5.1"
    person = f"PID|1||{patient}^^^HOSP^MR||SAMPLE^PERSON||{born.replace('-', '')}|F"
    text = "\r".join([head, person, *segments, ""])
    assert f"MSA|AA|{control}" in asyncio.run(mllp_exchange(gateway.mllp, text.encode()))


def events(gateway: Gateway, case: str) -> list[str]:
    """Types of a case's events, in order; a message with its own type."""
    statement = (
        "SELECT event_type, event_data->>'type' AS t FROM workflow.workflow_events "
        "WHERE workflow_id = $1 ORDER BY version"
    )
    found = [(row["event_type"], row["t"]) for row in rows(gateway, statement, uuid.UUID(case))]
    return [f"{event}:{kind}" if event == "MessageReceived" else str(event) for event, kind in found]


def test_a_document_the_policy_asked_for_settles_the_case(gateway: Gateway) -> None:
    patient = f"P{uuid.uuid4().hex[:10]}"
    case = pended(gateway, "X1009", patient)
    told(gateway, "MDM^T02^MDM_T02", patient, "PV1|1|O", DOCUMENT, "OBX|1|TX|11504-8^Operative report^LN||Done||||||F")
    state = "SELECT status, action FROM workflow.workflow_instances WHERE id = $1"
    wait_for(
        "the approval",
        60,
        lambda: rows(gateway, state, uuid.UUID(case)) == [{"status": "completed", "action": "A1"}],
    )
    heard = events(gateway, case)
    assert heard.index("MessageReceived:clinical.document") > heard.index("DecisionMade")
    assert heard.count("DecisionMade") == 2


def test_a_result_that_changes_nothing_is_kept_and_a_namesakes_result_is_not(gateway: Gateway) -> None:
    patient = f"P{uuid.uuid4().hex[:10]}"
    case = pended(gateway, "X1005", patient)
    result = ("OBR|1|||2345-7^Glucose^LN|||20260301093000", RESULT)
    told(gateway, "ORU^R01^ORU_R01", patient, *result, born="1999-09-09")
    told(gateway, "ADT^A08^ADT_A01", patient, "PV1|1|I")
    told(gateway, "ORU^R01^ORU_R01", patient, *result)
    wait_for("the result", 60, lambda: "MessageReceived:clinical.observation" in events(gateway, case))
    told(gateway, "MDM^T02^MDM_T02", patient, "PV1|1|O", DOCUMENT, "OBX|1|TX|11504-8^Operative report^LN||Done||||||F")
    wait_for("the document", 60, lambda: "MessageReceived:clinical.document" in events(gateway, case))
    time.sleep(2)  # for a decision that must not come
    heard = [event for event in events(gateway, case) if event.startswith(("MessageReceived", "Decision", "Task"))]
    assert heard == [
        "DecisionMade", "TaskOpened", "MessageReceived:clinical.observation", "MessageReceived:clinical.document"
    ]  # fmt: skip


def test_what_follows_a_merge_finds_the_case_however_close_it_follows(gateway: Gateway) -> None:
    old, new = (f"P{uuid.uuid4().hex[:10]}" for _ in range(2))
    case = pended(gateway, "X1005", old)
    head = f"MSH|^~\\&|LAB|HOSP|GW|PAYER|{datetime.now(UTC):%Y%m%d%H%M%S}||"
    person = f"PID|1||{new}^^^HOSP^MR||SAMPLE^PERSON||{BORN.replace('-', '')}|F"
    stay = f"PV1|1|I{'|' * 42}20260301|20260304"
    sent = [
        [f"{head}ADT^A40^ADT_A39|{new}-1|P|2.5.1", person, f"MRG|{old}^^^HOSP^MR"],
        [f"{head}ADT^A03^ADT_A03|{new}-2|P|2.5.1", person, stay],
        [f"{head}ORU^R01^ORU_R01|{new}-3|P|2.5.1", person, "OBR|1|||2345-7^Glucose^LN", RESULT],
    ]
    host, _, port = gateway.mllp.partition(":")
    with socket.create_connection((host, int(port)), 30) as line:
        for segments in sent:  # all at once: nobody waits for an answer
            line.sendall(b"\x0b" + "\r".join([*segments, ""]).encode() + b"\x1c\r")
        answers = b""
        while answers.count(b"\x1c\r") < len(sent):
            answers += line.recv(65536)
    assert answers.count(b"MSA|AA|") == len(sent)
    wanted = ["MessageReceived:clinical.adt", "MessageReceived:clinical.adt", "MessageReceived:clinical.observation"]

    def heard() -> list[str]:
        return [event for event in events(gateway, case) if event.startswith("MessageReceived")]

    wait_for("the merge, the discharge and the result", 60, lambda: heard() == wanted)


def changed(gateway: Gateway, event: str, key: str, expires: str) -> None:
    """Send a change of a provider's record; it must be accepted."""
    control = uuid.uuid4().hex[:16]
    segments = (
        f"MSH|^~\\&|HR|HOSP|GW|PAYER|20260301101500||MFN^M02^MFN_M02|{control}|P|2.5.1",
        "MFI|PRA^Practitioner^HL70175||UPD|||NE",
        f"MFE|{event}|1|20260301|{key}|CE",
        f"STF|{key}|{key}|REYES^MARIA",
        f"PRA|{key}|||||A1^SL^IL^{expires}",
    )
    text = "".join(f"{segment}\r" for segment in segments)
    assert f"MSA|AA|{control}" in asyncio.run(mllp_exchange(gateway.mllp, text.encode()))


def test_a_change_of_a_provider_is_confirmed_by_a_credentialing_specialist(gateway: Gateway) -> None:
    key = f"S{uuid.uuid4().hex[:8]}"
    token = Tokens.load(f"file:{gateway.state / 'secrets' / 'token.key'}")("demo", "case", ("provider", "HOSP", key))
    statement = "SELECT id, status, action FROM workflow.workflow_instances WHERE workflow_key = $1"
    task = "SELECT task_id FROM workflow.human_tasks WHERE case_id = $1 AND state = 'open' AND role = $2"
    changed(gateway, "MAD", key, "20270101")
    wait_for("the case", 60, lambda: rows(gateway, statement, token))
    case = rows(gateway, statement, token)[0]["id"]

    def tasks() -> list[str]:
        return [str(row["task_id"]) for row in rows(gateway, task, case, "credentialing_specialist")]

    wait_for("a task for a specialist", 60, tasks)
    (first,) = tasks()
    changed(gateway, "MUP", key, "20280101")
    wait_for("a task that has seen the second change", 60, lambda: tasks() not in ([], [first]))
    heard = events(gateway, str(case))
    assert heard.count("MessageReceived:provider.change") == 1
    assert heard.count("DecisionMade") == 2
    (open_task,) = tasks()
    decided = command(gateway, "tasks", "decide", open_task, "--action", "A1", "--reviewer", "cs-1")
    assert decided.returncode == 0, decided.stderr
    done = [{"id": case, "status": "completed", "action": "A1"}]
    wait_for("the end", 60, lambda: rows(gateway, statement, token) == done)
    changed(gateway, "MDL", key, "20280101")
    wait_for("another look at the ended case", 60, lambda: len(tasks()) == 1)
