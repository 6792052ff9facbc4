"""Answers to 278 inquiries: the cases there are, whatever rail they came by, as 278 responses (005010X215)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from adapters.x12.outbound import render
from adapters.x12.settings import PartnerProfile
from adapters.x12.wire import guide
from gateway.app.core import App, now
from gateway.core.envelope import Intake, Reception
from gateway.store.fhir_edge import PostgresCaseSearch
from gateway.store.x12_ledger import PostgresNumbers
from mappings.decision_to_claimresponse import pended
from mappings.inquire import FoundCase, match_query, matches
from mappings.x12_inquiry import answer

MOST_CASES = 50
"""Authorizations told of in answer to one inquiry."""


def inquiries(app: App) -> Callable[[Intake, Reception, PartnerProfile], Awaitable[bytes]]:
    """Answers one inquiry with an interchange: a set for each case found, or one that says that there is none."""
    search, numbers = PostgresCaseSearch(app.cases, pended), PostgresNumbers(app.database)

    async def told(intake: Intake, reception: Reception, profile: PartnerProfile) -> bytes:
        query = match_query(intake.resource or {})
        candidates = await search.candidates(reception.tenant, query.keys, MOST_CASES)
        found: list[FoundCase | None] = [case for case in candidates if matches(query, case)]
        moment = now()
        trees = [answer(intake.reply["event"], case, moment) for case in found or [None]]
        outbound = await render(
            guide("278_inquiry_response"), trees, profile, numbers, tenant=reception.tenant, now=moment
        )
        return outbound.data

    return told
