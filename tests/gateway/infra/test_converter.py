"""Payloads of Temporal: one cache of type adapters for a whole process, and the types that are converted."""

from __future__ import annotations

from datetime import UTC, datetime

from gateway.infra.temporal import SharedPydanticConverter, data_converter
from gateway.security.cipher import DerivedKeys, EnvelopeCipher
from workflows.inputs import CaseInput, StepOutcome

CIPHER = EnvelopeCipher(DerivedKeys({"k1": b"1" * 32}, "k1"))
NOW = datetime(2026, 11, 28, tzinfo=UTC)
CASE = CaseInput(
    case_id="c", tenant="t", subject="s", definition={"steps": []}, definition_hash="h", received_at=NOW, due_at=NOW
)


def test_each_run_of_a_workflow_uses_the_same_adapters() -> None:
    first, second = (SharedPydanticConverter().converters[b"json/plain"] for _ in range(2))
    assert first is second


async def test_what_goes_in_comes_out_and_nothing_lies_open() -> None:
    converter = data_converter(CIPHER)
    given = [CASE, StepOutcome(outcome="A1", version=2, decision={"note": "PLAIN"}), None]
    payloads = await converter.encode(given)
    assert all(payload.metadata["encoding"] == b"binary/sealed" for payload in payloads)
    assert not any(b"PLAIN" in payload.data for payload in payloads)
    assert await converter.decode(payloads, [CaseInput, StepOutcome, type(None)]) == given
