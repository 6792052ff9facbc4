"""A scripted server on 127.0.0.1: a payer, an EHR, an authorization server, or a client's key set."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from gateway.infra.http import HttpSettings, serve


@dataclass
class Payer:
    """A scripted server."""

    url: str = ""
    seen: list[tuple[str, str, dict[str, str], bytes]] = field(default_factory=list)
    answer: Callable[[Request], Response] = field(default=lambda _: Response(b"{}", 200))
    tokens: int = 0
    token_answer: Callable[[int], Response] = field(
        default=lambda n: JSONResponse({"access_token": f"t{n}", "expires_in": 300, "token_type": "bearer"})
    )


@asynccontextmanager
async def payer() -> AsyncIterator[Payer]:
    scripted = Payer()

    async def any_path(request: Request) -> Response:
        body = await request.body()
        scripted.seen.append((request.method, request.url.path, dict(request.headers), body))
        return scripted.answer(request)

    async def token(request: Request) -> Response:
        scripted.tokens += 1
        return scripted.token_answer(scripted.tokens)

    routes = [
        Route("/token", token, methods=["POST"]),
        Route("/{p:path}", any_path, methods=["POST", "PUT", "GET", "DELETE"]),
    ]
    stop = asyncio.Event()
    started: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    listener = HttpSettings(address="127.0.0.1:0", grace_seconds=1)
    task = asyncio.create_task(serve(Starlette(routes=routes), listener, stop, ready=started.set_result))
    scripted.url = await asyncio.wait_for(started, 5)
    yield scripted
    stop.set()
    await task
