"""The poller of one partner's drop: look → claim → read → receive → answer → archive.

A claim is a rename into the processing folder: of any number of pollers the file system lets one win. A crash at any
later point leaves the claimed file there; its owner, or after the lease another poller, does the steps again from the
start. Every step is idempotent: `receive` recognizes what it has seen, an answer already there is not written twice.
"""

from __future__ import annotations

import asyncio
import hashlib
import random
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from adapters.sftp.settings import PgpSettings, SftpEndpoint
from adapters.sftp.wire import (
    Claim,
    Entry,
    Rules,
    Sighting,
    decrypted_name,
    is_packed,
    look,
    markers,
    parse_claim,
    ready_files,
    unpack,
)
from gateway.core.envelope import Raw, Reception
from gateway.core.errors import (
    ConfigurationError,
    EndpointRefused,
    EndpointUnavailable,
    GatewayError,
    LimitExceeded,
    MalformedMessage,
    Unavailable,
)
from gateway.core.ports import Clock
from gateway.infra import pgp
from gateway.infra.sftp import HostKeyRefused, MissingFile, SftpSession, SftpTarget

HEAD = 128
ENCRYPTED = ".pgp"
TAIL = 4096
"""Bytes shown to `complete`: an interchange header has 106; a trailer and some line ends fit into the tail."""


@dataclass(frozen=True, slots=True)
class AnswerFile:
    """A file to leave for the partner. The name must be the same whenever the same answer is made again."""

    name: str
    data: bytes


Receive = Callable[[Raw, Reception], Awaitable[Sequence[AnswerFile]]]
"""Read, accept and answer one file. Raises GatewayError when it could not be made durable: it will be called again."""

Complete = Callable[[bytes, bytes], bool]
"""(first bytes, last bytes) of a file → whether it is all there."""

Report = Callable[[str, str], None]
"""(event, opaque name of the file or endpoint): taken, done, held, defect, denied, incomplete, unreadable,
answer-conflict, connection, refused, host-key. Metrics and alerts hang on it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Services:
    """What a poller needs from the world."""

    receive: Receive
    complete: Complete
    secret: Callable[[str], bytes]
    clock: Clock
    monotonic: Callable[[], float]
    owner: str
    """This poller's name, unique among all that poll the same drop, the same after a restart: `[A-Za-z0-9-]`."""
    media_type: str = "application/edi-x12"
    report: Report = lambda _event, _name: None


def target_of(endpoint: SftpEndpoint, secret: Callable[[str], bytes]) -> SftpTarget:
    """Resolve the endpoint's secrets. Raises ConfigurationError."""
    return SftpTarget(
        host=endpoint.host,
        port=endpoint.port,
        user=endpoint.user,
        host_keys=endpoint.host_keys,
        private_key=secret(endpoint.private_key).decode() if endpoint.private_key else None,
        password=secret(endpoint.password).decode() if endpoint.password else None,
        timeout=endpoint.timeout,
    )


def pgp_keys(settings: PgpSettings, secret: Callable[[str], bytes]) -> pgp.PgpKeys:
    """Resolve the keys. Raises ConfigurationError."""
    passphrase = secret(settings.passphrase) if settings.passphrase else b""
    return pgp.PgpKeys(own=secret(settings.private_key), passphrase=passphrase, partner=secret(settings.partner_key))


class Poller:
    """Polls one endpoint until told to stop. Raises ConfigurationError when it needs gpg and there is none."""

    def __init__(self, endpoint: SftpEndpoint, services: Services) -> None:
        self._endpoint = endpoint
        self._services = services
        self._sightings: dict[str, Sighting] = {}
        if endpoint.pgp is not None:
            pgp.program()
        self._rules = Rules(
            pattern=endpoint.pattern,
            mode=endpoint.ready,
            marker_suffixes=endpoint.marker_suffixes,
            stable_seconds=endpoint.stable_seconds,
        )

    async def run(self, stop: asyncio.Event) -> None:
        """Poll, reconnecting with growing, jittered pauses; a refusal (host key, password) pauses longest at once."""
        failures = 0
        while not stop.is_set():
            try:
                session = await self.connect()
                try:
                    failures = 0
                    while not stop.is_set():
                        await self.poll(session)
                        await _pause(stop, self._endpoint.poll_seconds)
                finally:
                    await asyncio.to_thread(session.close)
            except EndpointRefused as error:
                self._services.report(
                    "host-key" if isinstance(error, HostKeyRefused) else "refused", self._endpoint.name
                )
                failures = 30
            except EndpointUnavailable:
                self._services.report("connection", self._endpoint.name)
                failures = min(failures + 1, 30)
            if failures:
                longest = min(self._endpoint.longest_pause, self._endpoint.poll_seconds * 2.0**failures)
                await _pause(stop, random.uniform(longest / 2, longest))

    async def connect(self) -> SftpSession:
        """A session, with our folders made. Raises EndpointUnavailable, EndpointRefused, ConfigurationError."""
        target = target_of(self._endpoint, self._services.secret)
        session = await asyncio.to_thread(SftpSession.open, target)
        try:
            await asyncio.to_thread(self._make_folders, session)
        except BaseException:
            session.close()
            raise
        return session

    def _make_folders(self, session: SftpSession) -> None:
        endpoint = self._endpoint
        if endpoint.create_folders:
            for folder in filter(None, (endpoint.processing, endpoint.archive, endpoint.error, endpoint.outbound)):
                session.make_folder(folder)

    async def poll(self, session: SftpSession) -> int:
        """One look: finish what was claimed, claim what is ready. Returns how many files were finished.

        Raises EndpointUnavailable, EndpointRefused when the connection fails.
        """
        endpoint, now = self._endpoint, self._services.monotonic()
        found = await asyncio.to_thread(session.listing, endpoint.inbound)
        entries = [Entry(file.name, file.size, file.modified) for file in found]
        self._sightings = look(entries, self._sightings, now)
        claimed = await asyncio.to_thread(session.listing, endpoint.processing)
        turns = asyncio.Semaphore(endpoint.concurrency)

        async def work(step: Callable[[SftpSession], Awaitable[bool]]) -> bool:
            async with turns:
                channel = await asyncio.to_thread(session.another)
                try:
                    return await step(channel)
                finally:
                    await asyncio.to_thread(channel.close_channel)

        jobs = [self._resumption(claim) for claim in map(parse_claim, sorted(file.name for file in claimed)) if claim]
        jobs += [self._taking(entry) for entry in ready_files(self._sightings, self._rules, now)]
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(_gently(work(job))) for job in jobs]
        return _sum([task.result() for task in tasks])

    def _resumption(self, claim: Claim) -> Callable[[SftpSession], Awaitable[bool]]:
        """Work on a file found in the processing folder, when it is ours or its owner has been silent too long."""

        async def resume(channel: SftpSession) -> bool:
            services = self._services
            now = int(services.clock().timestamp())
            if claim.owner == services.owner:
                return await self._handle(channel, claim)
            if now - claim.since < self._endpoint.lease_seconds:
                return False
            mine = Claim(claim.name, claim.received, now, services.owner)
            folder = self._endpoint.processing
            moved = await asyncio.to_thread(channel.move, f"{folder}/{claim.file_name}", f"{folder}/{mine.file_name}")
            return moved == "moved" and await self._handle(channel, mine)

        return resume

    def _taking(self, entry: Entry) -> Callable[[SftpSession], Awaitable[bool]]:
        """Claim a ready file and work on it; leave an incomplete one until it is complete or too old."""

        async def take(channel: SftpSession) -> bool:
            endpoint, services = self._endpoint, self._services
            source = f"{endpoint.inbound}/{entry.name}"
            if not self._is_wrapped(entry.name):
                try:
                    head, tail = await asyncio.to_thread(channel.ends, source, head=HEAD, tail=TAIL)
                except MissingFile:
                    return False  # another poller was faster, or the partner took it back
                except EndpointRefused:
                    services.report("denied", _opaque(entry.name))
                    return False
                if not services.complete(head, tail):
                    return await self._incomplete(channel, entry)
            now = int(services.clock().timestamp())
            claim = Claim(entry.name, now, now, services.owner)
            moved = await asyncio.to_thread(channel.move, source, f"{endpoint.processing}/{claim.file_name}")
            if moved != "moved":
                return False
            self._sightings.pop(entry.name, None)  # the next file of this name is another one
            services.report("taken", _opaque(entry.name))
            return await self._handle(channel, claim)

        return take

    def _is_wrapped(self, name: str) -> bool:
        """Whether the file's own first and last bytes say nothing of its content."""
        endpoint = self._endpoint
        return (endpoint.pgp is not None and endpoint.pgp.inbound) or (endpoint.allow_packed and is_packed(name))

    def _unwrapped(self, name: str, data: bytes) -> tuple[str, bytes]:
        """(name, content), decrypted and unpacked. Raises MalformedMessage, LimitExceeded, ConfigurationError."""
        endpoint, most = self._endpoint, self._endpoint.maximum_bytes
        if endpoint.pgp is not None and endpoint.pgp.inbound:
            keys = pgp_keys(endpoint.pgp, self._services.secret)
            limit = min(most, max(len(data) * endpoint.maximum_ratio, 4096))
            data = pgp.decrypt(data, keys, limit=limit, signed=endpoint.pgp.require_signature)
            name = decrypted_name(name)
        if endpoint.allow_packed:
            name, data = unpack(name, data, limit=most, ratio=endpoint.maximum_ratio)
        return name, data

    def _leave(self, channel: SftpSession, answer: AnswerFile) -> None:
        """Leave an answer, encrypted where agreed. Encrypted twice it would differ, so a name that is there is done."""
        endpoint, name, data = self._endpoint, answer.name, answer.data
        if endpoint.pgp is not None and endpoint.pgp.outbound:
            name += ENCRYPTED
            if channel.size(f"{endpoint.outbound}/{name}") is not None:
                return
            data = pgp.encrypt(data, pgp_keys(endpoint.pgp, self._services.secret), sign=endpoint.pgp.sign)
        channel.deposit(endpoint.outbound, name, data)

    async def _incomplete(self, channel: SftpSession, entry: Entry) -> bool:
        """An upload that has not ended: an error only after it stood still for long."""
        still = self._services.monotonic() - self._sightings[entry.name].since
        if still >= self._endpoint.incomplete_seconds:
            now = int(self._services.clock().timestamp())
            claim = Claim(entry.name, now, now, self._services.owner)
            source = f"{self._endpoint.inbound}/{entry.name}"
            await asyncio.to_thread(_set_aside, channel, source, self._endpoint.error, claim)
            self._services.report("incomplete", _opaque(entry.name))
        return False

    async def _handle(self, channel: SftpSession, claim: Claim) -> bool:
        """All steps after the claim; safe to repeat from the start."""
        endpoint, services = self._endpoint, self._services
        path = f"{endpoint.processing}/{claim.file_name}"
        await self._remove_markers(channel, claim)
        try:
            data = await asyncio.to_thread(channel.read, path, limit=endpoint.maximum_bytes)
            name, data = await asyncio.to_thread(self._unwrapped, claim.name, data)
            if not services.complete(data[:HEAD], data[-TAIL:]):
                raise MalformedMessage("the file is cut off")
        except (LimitExceeded, MalformedMessage):
            await asyncio.to_thread(_set_aside, channel, path, endpoint.error, claim)
            services.report("unreadable", _opaque(claim.name))
            return False
        except MissingFile:
            return False  # our lease ran out and another poller took it over
        except EndpointRefused:
            services.report("denied", _opaque(claim.name))
            return False
        except (ConfigurationError, Unavailable):
            services.report("held", _opaque(claim.name))
            return False
        try:
            answers = await services.receive(Raw.of(data, services.media_type), self._reception(claim, name))
        except GatewayError:
            services.report("held", _opaque(claim.name))
            return False
        except Exception:  # noqa: BLE001 - a defect on one file must not stop the others; the file stays claimed
            services.report("defect", _opaque(claim.name))
            return False
        for answer in answers:
            try:
                await asyncio.to_thread(self._leave, channel, answer)
            except EndpointRefused:
                services.report("answer-conflict", _opaque(answer.name))
            except (ConfigurationError, Unavailable):
                services.report("held", _opaque(claim.name))
                return False
        if endpoint.archive:
            await asyncio.to_thread(_set_aside, channel, path, endpoint.archive, claim)
        else:
            await asyncio.to_thread(channel.remove, path)
        services.report("done", _opaque(claim.name))
        return True

    async def _remove_markers(self, channel: SftpSession, claim: Claim) -> None:
        """A claimed file's markers go at once: left behind they would release a later, unfinished upload."""
        if self._rules.mode != "marker":
            return
        listing = await asyncio.to_thread(channel.listing, self._endpoint.inbound)
        names = {file.name for file in listing}
        if claim.name in names:
            return  # already the next upload: its marker is its own
        for marker in markers(claim.name, names, self._rules.marker_suffixes):
            await asyncio.to_thread(channel.remove, f"{self._endpoint.inbound}/{marker}")

    def _reception(self, claim: Claim, name: str) -> Reception:
        return Reception(
            tenant=self._endpoint.tenant,
            source=f"sftp/{self._endpoint.name}",
            received_at=datetime.fromtimestamp(claim.received, UTC),
            media_type=self._services.media_type,
            client=self._endpoint.name,
            attributes={"fileName": name},
        )


def _set_aside(channel: SftpSession, path: str, folder: str, claim: Claim) -> None:
    """Move a finished file; two of one name within a second must not be in each other's way."""
    if channel.move(path, f"{folder}/{claim.file_name}") == "exists":
        channel.move(path, f"{folder}/{claim.file_name}.{random.randrange(1 << 32):08x}")


async def _gently(job: Awaitable[bool]) -> bool | GatewayError:
    """A task's error as its result, so that one lost file does not cancel the others."""
    try:
        return await job
    except GatewayError as error:
        return error


def _sum(results: Sequence[bool | GatewayError]) -> int:
    """How many finished. Raises the first error."""
    for result in results:
        if isinstance(result, GatewayError):
            raise result
    return sum(bool(result) for result in results)


async def _pause(stop: asyncio.Event, seconds: float) -> None:
    """Sleep, or wake up to stop."""
    try:
        await asyncio.wait_for(stop.wait(), seconds)
    except TimeoutError:
        pass


def _opaque(name: str) -> str:
    """A file name for logs: partners put anything into names."""
    return hashlib.sha256(name.encode()).hexdigest()[:12]
