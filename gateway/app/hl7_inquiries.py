"""Answers to questions in HL7 v2 after the state of an authorization: from the cases there are, whatever rail they
came by. A question is not accepted to Kafka and makes no case (decisions 0048, 0072)."""

from __future__ import annotations

import base64
from dataclasses import replace
from typing import TYPE_CHECKING

from adapters.hl7.inbound import Inquire
from gateway.app.core import App, now
from gateway.core.envelope import Intake, Reception
from gateway.core.ports import Reading
from gateway.store.fhir_edge import PostgresCaseSearch
from mappings.decision_to_claimresponse import pended
from mappings.hl7_codec import control_id
from mappings.hl7_inquiry import answer, lookup, means

if TYPE_CHECKING:
    from temporalio.client import Client

MOST_CASES = 50
"""Cases under one number that are looked at."""


def inquiries(app: App, client: Client) -> Inquire:
    """Answers one question: on its connection, or on ours where the partner wants answers there."""
    search = PostgresCaseSearch(app.cases, pended)

    async def told(intake: Intake, reception: Reception) -> bytes:
        candidates = await search.candidates(reception.tenant, lookup(intake.facts), MOST_CASES)
        found = next((case for case in candidates if means(intake.facts, case)), None)
        return answer(
            intake.raw.data or b"",
            found,
            control_id=control_id(intake.raw, 2),
            at=now(),
            charset=intake.reply["charset"],
        )

    async def inquire(reading: Reading, reception: Reception) -> bytes | None:
        from gateway.infra import temporal

        intake = reading.intakes[0]
        place = intake.reply["answer"]
        if place == "never":
            return reading.answer(None)
        business = await told(intake, reception)
        if place == "instead":
            return business
        if place == "later":
            content = base64.b64encode(business).decode("ascii")
            letter = app.accept.envelope(replace(intake, reply=intake.reply | {"application": content}), reception)
            await temporal.start_acknowledgement(client, letter)
            return reading.answer(None)
        return (reading.answer(None) or b"") + business

    return inquire
