"""The stack: provisions and starts Kafka, PostgreSQL and Temporal at once, and ends them together.

    with Stack(settings).up() as addresses:
        …

One folder holds all state:

    data/{kafka,postgres,temporal}   what must survive
    logs/<server>.log                what the servers say
    secrets/                         generated passwords, mode 600
    run/                             process ids, addresses, generated configuration: made anew at each start
    ports.json                       the ports of last time

One stack per folder: `run/lock` is held by the process that started it and by each guard, so it is free only when
every server is really gone.
"""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Callable, Iterable
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from pathlib import Path
from types import TracebackType
from typing import Any

from gateway.core.errors import ConfigurationError, GatewayError
from gateway.stack import kafka, postgres, temporal
from gateway.stack.cache import cache_folder
from gateway.stack.ports import HOST, Ports
from gateway.stack.process import Launch, Server, born, end_orphan, read_json, running, write_json
from gateway.stack.progress import Progress, on_console
from gateway.stack.settings import NAMESPACE, PARTS, Addresses, Part, StackSettings

FOLDERS = {"": 0o711, "data": 0o711, "logs": 0o700, "run": 0o700, "secrets": 0o700}
"""Modes: PostgreSQL's account may pass to its data, nobody else may look."""
LOCK_PATIENCE = 40.0
"""Seconds a start waits for the servers of a stack that was just killed; more than the longest grace."""


class Stack:
    """The servers of one state folder, or some of them."""

    def __init__(
        self, settings: StackSettings, parts: Iterable[Part] = PARTS, progress: Progress | None = None
    ) -> None:
        self._settings = settings
        self._parts = [part for part in PARTS if part in set(parts)]
        self._progress = progress
        self._state = settings.state.expanduser().resolve()
        self._cache = cache_folder(settings.cache)
        self._ports = Ports(self._state / "ports.json")
        self._servers: dict[str, Server] = {}
        self._lock = -1
        self._closing = False
        self.addresses = Addresses()

    def up(self) -> Stack:
        """Start everything and wait until it serves.

        Raises ConfigurationError (what is set cannot work) or Unavailable (a registry or a server does not answer);
        then nothing is left running.
        """
        progress = self._progress or on_console()
        self._closing = False
        try:
            self._take_folder(progress)
            found = self._start_parts(progress)
            self.addresses = Addresses(**found)
            self._write_run_file()
        except BaseException:
            self.down()
            raise
        finally:
            progress.close()
        return self

    def down(self) -> None:
        """End all servers and wait until they are gone. Data stays."""
        self._closing = True
        for server in self._servers.values():
            server.ask_to_stop()
        for server in self._servers.values():
            server.stop()
        self._servers.clear()
        self._ports.release()
        if self._lock >= 0:
            (self._state / "run" / "stack.json").unlink(missing_ok=True)
            os.close(self._lock)
            self._lock = -1

    def dead(self) -> str | None:
        """The name of a server that ended by itself, if any."""
        return next((name for name, server in self._servers.items() if not server.alive()), None)

    def __enter__(self) -> Addresses:
        return self.addresses

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.down()

    def _take_folder(self, progress: Progress) -> None:
        run = self._state / "run"
        for folder, mode in FOLDERS.items():
            if not (path := self._state / folder).exists():  # a folder somebody else made stays as it is
                path.mkdir(parents=True)
                path.chmod(mode)
        self._lock = os.open(run / "lock", os.O_RDWR | os.O_CREAT, 0o600)
        deadline = time.monotonic() + LOCK_PATIENCE
        waited = False
        while not _try_lock(self._lock):
            owner = read_json(run / "stack.json")
            if running(owner) or time.monotonic() > deadline:
                os.close(self._lock)
                self._lock = -1
                who = f" by process {owner['pid']}" if owner else ""
                raise ConfigurationError(f"the state folder {self._state} is in use{who}: `gateway stack status`")
            progress.doing("stack", "waiting for the servers of the last run to end")
            waited = True
            time.sleep(0.1)
        if waited:
            progress.done("stack", "they have ended")
        for record in run.glob("*.json"):
            end_orphan(record) if record.stem != "stack" else record.unlink()

    def _start_parts(self, progress: Progress) -> dict[str, str]:
        starters: dict[str, Callable[[Callable[[str], None]], dict[str, str]]] = {
            "kafka": self._start_kafka,
            "postgres": self._start_postgres,
            "temporal": self._start_temporal,
        }

        def start(part: Part) -> dict[str, str]:
            def tell(text: str) -> None:
                if self._closing:
                    raise _Closing
                progress.doing(part, text)

            tell("looking for it")
            try:
                found = starters[part](tell)
            except GatewayError:
                progress.done(part, "failed")
                raise
            progress.done(part, f"at {found[part].rpartition('@')[2]}")
            return found

        with ThreadPoolExecutor(max_workers=len(PARTS)) as pool:
            futures = [pool.submit(start, part) for part in self._parts]
            try:
                wait(futures, return_when=FIRST_EXCEPTION)
            finally:  # one failed, or Ctrl-C: the others end too; what they have fetched is kept
                self._closing = any(not future.done() or future.exception() for future in futures)
        errors = [error for future in futures if (error := future.exception()) and not isinstance(error, _Closing)]
        for error in errors:
            if not isinstance(error, GatewayError):
                raise error
        if errors:
            raise type(errors[0])("; ".join(str(error) for error in errors))
        return {name: value for future in futures for name, value in future.result().items()}

    def _serve(self, part: Part, launch: Launch, answers: Callable[[], bool], tell: Callable[[str], None]) -> None:
        def answers_or_closing() -> bool:
            tell("starting")
            return answers()

        tell("starting")
        self._servers[part] = Server(launch, inherit=(self._lock,))
        self._servers[part].wait_until(answers_or_closing, self._settings.start_timeout)

    def _start_kafka(self, tell: Callable[[str], None]) -> dict[str, str]:
        if (address := self._settings.kafka) is not None:
            kafka.reachable(address)
            return {"kafka": address}
        libraries = kafka.program(self._cache, tell, use_installed=self._settings.installed)
        port = self._ports.choose("kafka", self._settings.kafka_port)
        launch = kafka.launch(
            libraries,
            self._state,
            port=port,
            controller=self._ports.choose("kafka_controller"),
            heap_megabytes=self._settings.kafka_heap_megabytes,
        )
        self._serve("kafka", launch, lambda: kafka.answers(port), tell)
        return {"kafka": f"{HOST}:{port}"}

    def _start_postgres(self, tell: Callable[[str], None]) -> dict[str, str]:
        if (address := self._settings.postgres) is not None:
            if postgres.attempt(address) != "connected":
                raise ConfigurationError("the PostgreSQL address in the settings takes no connection")
            return {"postgres": address}
        found = postgres.programs(self._state, use_installed=self._settings.installed)
        port = self._ports.choose("postgres", self._settings.postgres_port)
        launch = postgres.launch(found, self._state, port)

        def answers() -> bool:
            return postgres.answers(self._state, port, lambda: postgres.create_database(found, self._state, port))

        self._serve("postgres", launch, answers, tell)
        return {"postgres": postgres.url(self._state, port)}

    def _start_temporal(self, tell: Callable[[str], None]) -> dict[str, str]:
        if (address := self._settings.temporal) is not None:
            if not temporal.answers(address):
                raise ConfigurationError(
                    f"the Temporal address in the settings does not answer or has no namespace {NAMESPACE}"
                )
            return {"temporal": address}
        path = temporal.program(self._cache, tell, use_installed=self._settings.installed)
        port = self._ports.choose("temporal", self._settings.temporal_port)
        ui = self._ports.choose("temporal_ui", self._settings.temporal_ui_port) if self._settings.temporal_ui else None
        launch = temporal.launch(path, self._state, port=port, ui_port=ui)
        self._serve("temporal", launch, lambda: temporal.answers(f"{HOST}:{port}"), tell)
        return {"temporal": f"{HOST}:{port}"} | ({"temporal_ui": f"http://{HOST}:{ui}"} if ui else {})

    def _write_run_file(self) -> None:
        body: dict[str, Any] = {"pid": os.getpid(), "born": born(os.getpid()), "at": time.time()}
        write_json(self._state / "run" / "stack.json", body | {"addresses": self.addresses.as_json()})


class _Closing(Exception):
    """The stack is being taken down; a part that is still starting gives up."""


def _try_lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def addresses_of(state: Path) -> Addresses | None:
    """The addresses of the stack that is running in a folder, or None."""
    record = read_json(state.expanduser().resolve() / "run" / "stack.json")
    return Addresses(**record["addresses"]) if running(record) else None
