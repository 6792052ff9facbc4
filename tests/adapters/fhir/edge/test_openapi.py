"""The OpenAPI document describes every route, and generated requests find no undocumented or failing answer."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis.specs.openapi.checks import positive_data_acceptance

from adapters.fhir.inbound.application import table
from tests.adapters.fhir.edge.fakes import TOKEN, World, running

# FHIR's rules (profiles, references) are beyond an OpenAPI schema: schema-valid data may be refused with 4xx.
EXAMPLES = int(os.environ.get("GATEWAY_FUZZ_EXAMPLES", "5"))


@pytest.fixture
async def world() -> AsyncIterator[World]:
    async with running() as started:
        yield started


async def test_every_route_is_documented(world: World) -> None:
    document = (await world.http.get("/openapi.json")).json()
    documented = {(method.upper(), path) for path, row in document["paths"].items() for method in row}
    assert documented == {(row.operation.method, row.operation.path) for row in table()}
    mounted = {(m, r.path) for r in world.application.routes for m in r.methods - {"HEAD"}}
    assert mounted - documented == {("GET", "/openapi.json"), ("GET", "/healthz")}
    assert (await world.http.get("/healthz")).status_code == 204


def fuzz(document: dict[str, Any], url: str) -> int:
    """Call every operation with generated requests; returns how many were sent."""
    schema = schemathesis.openapi.from_dict(document)
    sent = 0
    for found in schema.get_all_operations():
        operation = found.ok()

        @settings(
            max_examples=EXAMPLES,
            deadline=None,
            derandomize=True,
            database=None,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        @given(case=operation.as_strategy())
        def check(case: Any) -> None:
            nonlocal sent
            sent += 1
            token = {"Authorization": f"Bearer {TOKEN}"}
            response = case.call(base_url=url, headers=token, timeout=10)
            # Which credentials were meant to be good is said again, or a 200 counts as given to generated ones.
            case.validate_response(response, headers=token, excluded_checks=[positive_data_acceptance])

        check()
    return sent


@pytest.mark.timeout(180)
async def test_generated_requests_run_clean(world: World) -> None:
    document = (await world.http.get("/openapi.json")).json()
    sent = await asyncio.to_thread(fuzz, document, world.url)
    assert sent >= len(table())
