"""Log redaction: canaries in every place a value can hide; none may come out."""

from __future__ import annotations

import logging

import orjson
import structlog

from gateway.core.errors import InvalidMessage, Issue
from gateway.security.redact import MAX_TEXT, describe, redact, strip_arguments

CANARY = "JANE-CANARY-1970"


def test_unlisted_fields_and_odd_values_are_withheld_and_counted() -> None:
    event = {
        "event": "accepted",
        "tenant": "acme",
        "bytes": 12,
        "patient": CANARY,
        "body": CANARY.encode(),
        "status": {"name": CANARY},
        "codes": ["A1", ["nested", CANARY]],
    }
    kept = redact(None, "info", event)
    assert kept == {"event": "accepted", "tenant": "acme", "bytes": 12, "withheld": 4}


def test_lines_cannot_be_forged_nor_payloads_smuggled() -> None:
    kept = redact(None, "info", {"event": "a\nlevel=error\x1b[0m", "reason": "x" * 1000})
    assert "\n" not in kept["event"]
    assert "\x1b" not in kept["event"]
    assert len(kept["reason"]) == MAX_TEXT + 1


def test_a_foreign_exception_keeps_its_class_and_place_only() -> None:
    kept, others = {}, []
    try:
        int(CANARY)
    except ValueError as error:
        kept = redact(None, "error", {"event": "failed", "exc_info": error})
        others = [redact(None, "error", {"event": "failed", "exc_info": e}) for e in (True, (ValueError, error, None))]
    assert others == [kept, kept]
    assert kept["error_type"] == "ValueError"
    assert CANARY not in str(kept)
    assert any("test_redact.py" in frame for frame in kept["frames"])
    assert redact(None, "error", {"event": "failed", "exception": f"Traceback … {CANARY}"}) == {"event": "failed"}


def test_our_own_errors_keep_their_text() -> None:
    error = InvalidMessage(location="Bundle.entry[0]", issues=(Issue("required", "Claim.use", "use is missing"),))
    said = describe(error)
    assert (said["error_code"], said["issues"]) == ("invalid", ["required at Claim.use"])
    assert "Bundle.entry[0]" in said["error"]


def test_through_structlog_no_canary_leaves() -> None:
    lines: list[bytes] = []
    logger = structlog.wrap_logger(
        type("Sink", (), {"info": staticmethod(lines.append)})(),
        processors=[structlog.processors.add_log_level, redact, lambda *a: orjson.dumps(a[2])],
    )
    logger.info("accepted", case_id="c1", member=CANARY, facts={"name": CANARY})
    assert orjson.loads(lines[0]) == {"event": "accepted", "case_id": "c1", "level": "info", "withheld": 2}


def test_foreign_records_lose_their_arguments() -> None:
    record = logging.LogRecord("aiokafka", logging.INFO, __file__, 1, "sending %s", (CANARY,), None)
    assert strip_arguments(record)
    assert record.getMessage() == "sending %s"
