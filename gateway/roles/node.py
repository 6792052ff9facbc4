"""A whole gateway on one machine: the servers it needs, its keys, its topics and schema, and one process per role.

state/secrets/   keys made at the first start (mode 600)      state/run/gateway.json   addresses and process ids
state/logs/      one log file per role                        state/partners/          profiles the demo makes
"""

from __future__ import annotations

import asyncio
import base64
import json
import os
import secrets
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gateway.core.errors import Unavailable
from gateway.core.settings import Settings, host_port
from gateway.core.topics import Profile, parse
from gateway.infra import topics_admin
from gateway.infra.processes import READY, Child, Supervisor, role_command
from gateway.infra.telemetry import logger
from gateway.roles.demo_drop import demo_drop
from gateway.roles.process import ROLES
from gateway.stack import Addresses, Stack, StackSettings
from gateway.stack.ports import Ports
from gateway.store.migrations import upgrade

READY_SECONDS = 180.0
GIVE_UP_AFTER = 4
"""A role that ends this often right after its start will not come up by itself."""

log = logger("node")


@dataclass(slots=True)
class Node:
    """What runs: addresses, the bearer token of the demo profile, the supervisor."""

    settings: Settings
    addresses: Addresses
    environment: dict[str, str]
    supervisor: Supervisor
    ready_folder: Path
    drop_folder: Path | None = None
    bearer: str = ""
    urls: dict[str, str] = field(default_factory=dict)

    async def wait_ready(self, tell: Callable[[str], None]) -> None:
        """Until every role says so. Raises Unavailable naming those that do not, and where their logs are."""
        loop = asyncio.get_running_loop()
        end = loop.time() + READY_SECONDS
        names = {child.name for child in self.supervisor.children}
        while loop.time() < end:
            waiting = sorted(name for name in names if not (self.ready_folder / name).exists())
            if not waiting:
                return
            dying = sorted(child.name for child in self.supervisor.children if child.quick_deaths >= GIVE_UP_AFTER)
            if dying:
                raise Unavailable(f"{', '.join(dying)} cannot start; the reason is in {self.settings.state}/logs")
            tell(f"waiting for {', '.join(waiting)}")
            await asyncio.sleep(0.1)
        raise Unavailable(
            f"not ready after {READY_SECONDS:.0f} s: {', '.join(waiting)}; see {self.settings.state}/logs"
        )


def key_file(state: Path, name: str, make: Callable[[], bytes]) -> str:
    """The reference of a secret kept in the state folder, made at the first start."""
    path = state / "secrets" / name
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(make())
    return f"file:{path}"


def _key() -> bytes:
    return base64.b64encode(secrets.token_bytes(32))


def _token() -> bytes:
    return secrets.token_urlsafe(24).encode()


def _address(settings: Settings, name: str, ports: Ports) -> str:
    """What to bind: a port that is set, and then it must be free; the usual one if nothing is set; else a free one."""
    given: str = getattr(settings, name)
    host, port = host_port(given)
    if name in settings.model_fields_set:
        port = ports.choose(name, port or None, host=host)
    else:
        port = ports.choose(name, host=host, favourite=port)
    return f"{given.rpartition(':')[0]}:{port}"


def prepared(settings: Settings, addresses: Addresses, state: Path, ports: Ports) -> dict[str, str]:
    """The environment of the roles: addresses, keys and ports. Secrets go by reference, never as arguments."""
    http, mllp = _address(settings, "http", ports), _address(settings, "mllp", ports)
    given = {
        "PROFILE": settings.profile,
        "STATE": str(state),
        "KAFKA": addresses.kafka,
        "TEMPORAL": addresses.temporal,
        "POSTGRES": addresses.postgres,
        "HTTP": http,
        "MLLP": mllp,
        "PUBLIC_URL": settings.public_url if "public_url" in settings.model_fields_set else f"http://{http}",
        "TOKEN_KEY": settings.token_key or key_file(state, "token.key", _key),
        "CIPHER_KEY": settings.cipher_key or key_file(state, "cipher.key", _key),
        "LOG_LEVEL": settings.log_level,
        "EDGE_PROCESSES": str(settings.edge_processes),
        "WORKER_PROCESSES": str(settings.worker_processes),
    }
    if settings.profile == "demo":
        given["BEARER_TOKEN"] = settings.bearer_token or key_file(state, "bearer.token", _token)
    if settings.partners is not None:
        given["PARTNERS"] = str(settings.partners)
    return os.environ | {f"GATEWAY_{name}": value for name, value in given.items()}


def children(settings: Settings, environment: dict[str, str], roles: tuple[str, ...], logs: Path) -> list[Child]:
    """One process per role; edges and workers as many as the settings say."""
    counts = {"edge": settings.edge_processes, "worker": settings.worker_processes}
    named = [
        (role, role if counts.get(role, 1) == 1 else f"{role}-{number}")
        for role in roles
        for number in range(1, counts.get(role, 1) + 1)
    ]
    return [
        Child(
            name=name,
            arguments=role_command(role),
            environment=environment | {"GATEWAY_NAME": name},
            log=logs / f"{name}.log",
        )
        for role, name in named
    ]


@contextmanager
def node(
    settings: Settings, stack: StackSettings, tell: Callable[[str], None], roles: tuple[str, ...] = ROLES
) -> Iterator[Node]:
    """Start the servers, bring topics and schema up to date, and prepare (not yet run) the roles."""
    state = settings.state.expanduser().resolve()
    with ExitStack() as running:
        addresses = running.enter_context(Stack(stack).up())
        tell("schema")
        upgrade(addresses.postgres)
        tell("topics")
        asyncio.run(apply_topics(settings, addresses.kafka))
        drop_folder = None
        if settings.profile == "demo" and settings.partners is None and "sftp" in roles:
            drop_folder, partners = running.enter_context(demo_drop(state, settings.tenant))
            settings = settings.model_copy(update={"partners": partners})
        ports = Ports(state / "ports.json")
        running.callback(ports.release)
        environment = prepared(settings, addresses, state, ports)
        ready = state / "run" / "ready"
        ready.mkdir(parents=True, exist_ok=True)
        for stale in ready.iterdir():
            stale.unlink()
        environment[READY] = str(ready)
        logs = state / "logs"
        logs.mkdir(parents=True, exist_ok=True)
        run_file = state / "run" / "gateway.json"
        supervisor = Supervisor(children(settings, environment, roles, logs))
        made = Node(settings, addresses, environment, supervisor, ready, drop_folder)
        made.urls = {
            "http": environment["GATEWAY_PUBLIC_URL"],
            "mllp": environment["GATEWAY_MLLP"],
            "temporal": addresses.temporal_ui,
            "kafka": addresses.kafka,
        }
        if settings.profile == "demo":
            made.bearer = (
                Path(environment["GATEWAY_BEARER_TOKEN"].removeprefix("file:")).read_text(encoding="utf-8").strip()
            )
        supervisor.on_change = lambda pids: _write(run_file, {"urls": made.urls, "pids": pids})
        try:
            yield made
        finally:
            run_file.unlink(missing_ok=True)


def _write(path: Path, content: dict[str, Any]) -> None:
    temporary = path.with_suffix(".tmp")
    temporary.write_text(json.dumps(content, indent=2), encoding="utf-8")
    temporary.replace(path)


async def apply_topics(settings: Settings, kafka: str) -> None:
    """Create what is missing; refuse a start on a cluster that differs from the catalogue in what cannot be changed."""
    catalogue = parse(settings.topics.read_text(encoding="utf-8"))
    profile: Profile = "embedded" if settings.kafka is None else "cluster"
    async with topics_admin.admin(kafka) as client:
        await topics_admin.apply(client, catalogue.wanted(profile))
