"""A codec of the wire alone and an accept stage that is a folder: what `gateway hl7 ack` and `listen` run on."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from adapters.hl7.wire import Message, Segment, parse, read_header
from adapters.hl7.wire.acknowledgement import acknowledge, refuse
from adapters.hl7.wire.batch import Stream, reply_batch, split
from adapters.hl7.wire.check import check, warnings
from gateway.core.envelope import Envelope, Intake, Raw, Reception
from gateway.core.errors import GatewayError, MalformedMessage, Unavailable
from gateway.core.ids import new_id
from gateway.core.ports import Accepted, Clock, Reading


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalCodec:
    """Reads and checks messages, maps nothing, and answers each as its header asks."""

    identify: Callable[[], str]
    clock: Clock

    def read(self, raw: Raw, reception: Reception) -> Reading:
        """A refused message refuses its whole file; a batch is answered by a batch."""
        data, charset = raw.data or b"", reception.attributes.get("charset")
        try:
            stream = split(data, charset=charset)
            messages = [parse(part, charset=charset) for part in stream.messages]
        except GatewayError as error:
            return self._broken(data, error)
        refusals = [check(message) for message in messages]
        refused = any(refusals)

        def answer(error: GatewayError | None) -> bytes | None:
            answers = [
                self._acknowledge(message, error or refusal)
                for message, refusal in zip(messages, refusals, strict=True)
            ]
            return self._together(stream, [given for given in answers if given is not None])

        intakes = [] if refused else [_intake(message) for message in messages]
        return Reading(intakes=intakes, answer=answer, refused=refused)

    def _broken(self, data: bytes, error: GatewayError) -> Reading:
        header: Segment | None = None
        try:
            header = read_header(data)
        except MalformedMessage:
            header = None

        def answer(other: GatewayError | None) -> bytes | None:
            if header is None or header.name != "MSH":
                return refuse(other or error, identify=self.identify, at=self.clock())
            return acknowledge(header, other or error, identify=self.identify, at=self.clock()).together()

        return Reading(answer=answer, refused=True)

    def _acknowledge(self, message: Message, error: GatewayError | None) -> bytes | None:
        return acknowledge(
            message.header,
            error,
            identify=self.identify,
            at=self.clock(),
            answered=message.first("MSA"),
            warnings=warnings(message),
        ).together()

    def _together(self, stream: Stream, answers: list[bytes]) -> bytes | None:
        if not stream.batched:
            return b"".join(answers) or None
        return reply_batch(stream, answers, control_id=self.identify(), at=self.clock())


def _intake(message: Message) -> Intake:
    header = message.header
    return Intake(
        type="clinical.message",
        format="hl7v2",
        natural_key=(header.get(3), header.get(4), message.control_id),
        case_key=(),
        ordering_key=(message.get("PID-3"),),
        raw=Raw.of(message.raw, "application/hl7-v2"),
    )


@dataclass(frozen=True, slots=True)
class Folder:
    """Accepts a message by writing it to disk, flushed; without a folder it only tells of it on standard output."""

    path: Path | None
    as_json: bool = False

    async def __call__(self, intake: Intake, reception: Reception) -> Accepted:
        """Store one message. Raises Unavailable when the disk does not take it."""
        identity = new_id(reception.received_at)
        if self.path is not None:
            await asyncio.to_thread(self._store, self.path / f"{identity}.hl7", intake.raw.data or b"")
        self._tell(identity, intake, reception)
        envelope = Envelope(
            id=identity,
            type=intake.type,
            source=reception.source,
            tenant=reception.tenant,
            time=reception.received_at,
            subject=identity,
            key=identity,
            dedupe_key=identity,
            format=intake.format,
            body_sha256=intake.raw.sha256,
            correlation_id=identity,
            facts={},
            resource=None,
            ledger={},
            raw=intake.raw,
            reply={},
        )
        return Accepted(envelope=envelope, topic="", partition=0, offset=0)

    def _store(self, file: Path, data: bytes) -> None:
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            part = file.with_suffix(".part")
            with part.open("wb") as target:
                target.write(data)
                target.flush()
                os.fsync(target.fileno())
            part.replace(file)  # a file with its name is whole
        except OSError as error:
            raise Unavailable(f"cannot write: {error.strerror}") from error

    def _tell(self, identity: str, intake: Intake, reception: Reception) -> None:
        row = {
            "id": identity,
            "controlId": intake.natural_key[-1],
            "size": intake.raw.size,
            "receivedAt": reception.received_at.isoformat(),
        }
        if self.as_json:
            print(json.dumps(row), flush=True)
        else:
            print(f"{row['receivedAt']} {row['controlId']} {row['size']} bytes {identity}", flush=True)
