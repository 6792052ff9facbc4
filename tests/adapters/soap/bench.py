"""The CORE edge with a codec and an accept stage that keep what they saw."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field
from typing import Any

import httpx
from starlette.applications import Starlette

from adapters.soap.inbound import Credentials, Services, routes
from adapters.soap.settings import SoapSettings
from gateway.core.envelope import Intake, Raw, Reception
from gateway.core.errors import Issue
from gateway.core.ports import Reading
from gateway.testing import FixedClock, MemoryAccept

ACKNOWLEDGEMENT = (
    b"ISA*00*          *00*          *ZZ*PLAN0009       *ZZ*CLINIC7        *260115*1200*^*00501*000000001*0*T*:~\n"
    b"GS*FA*PLAN0009*CLINIC7*20260115*1200*1*X*005010X231A1~\nST*999*0001*005010X231A1~\nAK1*HI*42*005010X217~\n"
    b"AK9*A*1*1*1~\nSE*4*0001~\nGE*1*1~\nIEA*1*000000001~\n"
)
RESULTS = ACKNOWLEDGEMENT.replace(b"GS*FA", b"GS*HN").replace(b"999", b"277").replace(b"005010X231A1", b"005010X214")
ANSWER = ACKNOWLEDGEMENT.replace(b"GS*FA", b"GS*HI").replace(b"999", b"278").replace(b"005010X231A1", b"005010X217")


@dataclass
class OneIntake:
    """A codec that takes everything as one message."""

    seen: list[Raw] = field(default_factory=list)
    is_refusing: bool = False
    issues: tuple[Issue, ...] = ()

    def read(self, raw: Raw, reception: Reception) -> Reading:
        self.seen.append(raw)
        intake = Intake(
            type="authorization.request",
            format="x12",
            natural_key=("1",),
            case_key=("1",),
            ordering_key=("1",),
            raw=raw,
        )
        return Reading(
            intakes=(intake,), answer=lambda _: ACKNOWLEDGEMENT, refused=self.is_refusing, issues=self.issues
        )


@dataclass
class Bench:
    """An edge under test and everything around it."""

    settings: SoapSettings
    codec: OneIntake = field(default_factory=OneIntake)
    accept: MemoryAccept = field(default_factory=MemoryAccept)
    clock: FixedClock = field(default_factory=FixedClock)
    asked: list[Credentials] = field(default_factory=list)
    client_name: str | None = "clinic"
    answer: bytes | None = ANSWER
    told: bytes | None = None
    """The answer to a question: the codec's message is one."""
    results: bytes | None = RESULTS
    refused: list[tuple[bytes, list[str]]] = field(default_factory=list)
    later: dict[tuple[str, str, str], bytes] = field(default_factory=dict)
    """Decided later, by tenant, client and PayloadID."""

    def app(self) -> Starlette:
        numbers = itertools.count(1)

        async def authenticate(credentials: Credentials) -> str | None:
            self.asked.append(credentials)
            return self.client_name

        async def respond(_accepted: Any, _reception: Reception) -> bytes | None:
            return self.answer

        async def ask(_intake: Intake, _reception: Reception) -> bytes | None:
            return self.told

        async def results(_reading: Reading, _reception: Reception) -> bytes | None:
            return self.results

        async def later(*key: str) -> bytes:
            return self.later.get(key, b"")  # type: ignore[call-overload,no-any-return]

        async def refused(raw: Raw, _reception: Reception, issues: Any) -> None:
            self.refused.append((raw.data or b"", [issue.code for issue in issues]))

        services = Services(
            accept=self.accept,
            codec=self.codec,
            authenticate=authenticate,
            clock=self.clock,
            new_id=lambda: f"00000000-0000-4000-8000-{next(numbers):012d}",
            respond=respond,
            ask=ask,
            results=results,
            later=later,
            refused=refused,
        )
        return Starlette(routes=routes(services, self.settings))

    def http(self) -> httpx.AsyncClient:
        return httpx.AsyncClient(transport=httpx.ASGITransport(app=self.app()), base_url="http://edge")
