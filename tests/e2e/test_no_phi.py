"""Planted markers go in where PHI goes in, and come out nowhere: keys, headers, ids, attributes, logs, metrics."""

from __future__ import annotations

import asyncio
import json
import re
import uuid
from datetime import UTC, datetime

import httpx
from aiokafka import AIOKafkaConsumer
from temporalio.client import Client

from gateway import samples
from gateway.cli.send import core_answer, mllp_exchange
from tests.e2e.running import Gateway, wait_for
from tests.e2e.test_protocols import dropped_claims, left_in_drop, rows, submit

MARKER = "QZX" + uuid.uuid4().hex[:6].upper()


def planted(data: bytes) -> bytes:
    """The sample with its people's names, numbers and birth dates replaced by the marker."""
    for what in (b"Testperson", b"TESTPERSON", b"P100200", b"M12345678", b"Alma"):
        data = data.replace(what, MARKER.encode())
    return data


def send_everything(gateway: Gateway) -> None:
    now = datetime.now(UTC)
    bundle = json.loads(samples.pas_submit("X1005", now).data)
    for entry in bundle["entry"]:
        resource = entry["resource"]
        if resource["resourceType"] == "Patient":
            resource["name"] = [{"family": MARKER, "given": [MARKER]}]
            resource["address"] = [{"line": [MARKER], "city": MARKER}]
        if resource["resourceType"] == "Coverage":
            resource["subscriberId"] = MARKER
    assert submit(gateway, json.dumps(bundle).encode()).status_code == 200
    assert "MSA|AA" in asyncio.run(mllp_exchange(gateway.mllp, planted(samples.adt_a01(now).data)))
    assert asyncio.run(core_answer(gateway.http, planted(samples.core_270(now).data))).error_code == "Success"
    sample = samples.request_278("X1001", now)
    assert left_in_drop(gateway, planted(sample.data), f"{sample.trace}.x12", 2)
    claims, prefix = dropped_claims(2)
    claims = claims.replace("ZZTEST", MARKER).replace("*M000000", f"*{MARKER}")
    of_claims = left_in_drop(gateway, claims.replace("*60*", "*61*", 1).encode(), f"{prefix}.x12", 2)
    assert any("ST*277*" in answer and MARKER in answer for answer in of_claims), "its own sender gets the names back"
    assert not any(MARKER in path.name for path in gateway.drop.rglob("*"))
    # What is refused, too.
    submit(gateway, json.dumps({"resourceType": "Bundle", "type": MARKER, "entry": []}).encode())
    asyncio.run(mllp_exchange(gateway.mllp, f"MSH|^~\\&|A|B|C|D|20260115||ADT^A01||P|\rPID|1||{MARKER}\r".encode()))


async def kafka_surface(gateway: Gateway) -> str:
    """Keys, headers and values of every record of every topic."""
    consumer = AIOKafkaConsumer(bootstrap_servers=gateway.kafka, auto_offset_reset="earliest", enable_auto_commit=False)
    await consumer.start()
    try:
        topics = [name for name in await consumer.topics() if not name.startswith("__")]
        consumer.subscribe(topics)
        seen: list[str] = []
        quiet = 0
        while quiet < 3:
            batch = await consumer.getmany(timeout_ms=1000)
            quiet = 0 if batch else quiet + 1
            for records in batch.values():
                for record in records:
                    seen.append((record.key or b"").decode("latin-1"))
                    seen += [f"{name}={value.decode('latin-1')}" for name, value in record.headers]
                    seen.append((record.value or b"").decode("latin-1"))
        assert seen
        return "\n".join(seen)
    finally:
        await consumer.stop()


async def temporal_surface(gateway: Gateway) -> str:
    """Ids, attributes, memos and whole histories, as an operator without keys sees them."""
    client = await Client.connect(gateway.temporal(), namespace="gateway")
    seen: list[str] = []
    async for found in client.list_workflows():
        seen += [found.id, str(found.search_attributes), str(found.typed_search_attributes)]
        history = await client.get_workflow_handle(found.id, run_id=found.run_id).fetch_history()
        seen.append(history.to_json())
    assert seen
    return "\n".join(seen)


def test_markers_appear_nowhere_outside(gateway: Gateway) -> None:
    send_everything(gateway)
    wait_for(
        "the journal has it",
        60,
        lambda: int(str(rows(gateway, "SELECT count(*) AS n FROM workflow.message_journal")[0]["n"])) >= 4,
    )
    logs = gateway.logs()
    ports = {int(port) for port in re.findall(r'"port": (\d+), "event": "metrics.serving"', logs)}
    metrics = ""
    for port in ports:
        try:
            metrics += httpx.get(f"http://127.0.0.1:{port}/metrics", timeout=5).text
        except httpx.HTTPError:
            continue  # a role that was restarted has another port
    assert "gateway_messages_total" in metrics
    open_columns = rows(
        gateway,
        "SELECT e.event_data::text || e.metadata::text || coalesce(e.step_id, '') AS t FROM workflow.workflow_events e "
        "UNION ALL SELECT k.kind || k.token FROM workflow.case_keys k "
        "UNION ALL SELECT i.workflow_key FROM workflow.workflow_instances i "
        "UNION ALL SELECT j.subject || j.message_key || j.ledger::text FROM workflow.message_journal j "
        "UNION ALL SELECT d.idempotency_key || d.attributes::text FROM workflow.deliveries d",
    )
    surfaces = {
        "logs": logs,
        "metrics": metrics,
        "kafka": asyncio.run(kafka_surface(gateway)),
        "temporal": asyncio.run(temporal_surface(gateway)),
        "postgres": "\n".join(str(row["t"]) for row in open_columns),
    }
    assert [name for name, text in surfaces.items() if MARKER in text] == []
