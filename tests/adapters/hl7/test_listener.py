"""The listener on real sockets: nothing is answered positively before accept returned, whatever peers do."""

from __future__ import annotations

import asyncio
import socket
from typing import Any

import pytest

from adapters.hl7.wire.mllp import FS, VT, frame
from gateway.core.envelope import Intake, Reception
from gateway.core.errors import OwnError, Unavailable
from gateway.core.ports import Accepted
from gateway.testing import MemoryAccept


class GatedAccept(MemoryAccept):
    """Accepts a message only when its gate is opened."""

    def __init__(self) -> None:
        super().__init__()
        self.gates: dict[str, asyncio.Event] = {}
        self.started: list[str] = []

    def gate(self, control_id: str) -> asyncio.Event:
        return self.gates.setdefault(control_id, asyncio.Event())

    async def __call__(self, intake: Intake, reception: Reception) -> Accepted:
        self.started.append(intake.natural_key[0])
        await self.gate(intake.natural_key[0]).wait()
        return await super().__call__(intake, reception)


def ids(accept: MemoryAccept) -> list[str]:
    return [intake.natural_key[0] for intake, _ in accept.accepted]


async def until(condition: Any) -> None:
    for _ in range(500):
        if condition():
            return
        await asyncio.sleep(0.01)
    raise AssertionError("did not happen within five seconds")


async def test_a_message_is_answered_after_it_is_durable(listen: Any, connect: Any, adt: Any) -> None:
    accept = GatedAccept()
    client = await connect(await listen(accept))
    await client.send(adt("C1"))
    await until(lambda: accept.started == ["C1"])
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(client.reader.read(1), 0.1)
    accept.gate("C1").set()
    assert await client.code() == "AA C1"
    intake, reception = accept.accepted[0]
    assert reception.source == "hl7/test"
    assert reception.tenant == "t1"
    assert intake.raw.data == adt("C1")


async def test_pipelined_answers_keep_the_order_while_produces_overlap(listen: Any, connect: Any, adt: Any) -> None:
    accept = GatedAccept()
    client = await connect(await listen(accept))
    names = [f"C{n}" for n in range(10)]
    await client.send(*[adt(name, patient=name) for name in names])
    await until(lambda: len(accept.started) == 10)
    for name in reversed(names):
        accept.gate(name).set()
    assert [await client.code() for _ in names] == [f"AA {name}" for name in names]
    assert ids(accept) == names[::-1]


async def test_a_full_buffer_holds_up_nobody_else(listen: Any, connect: Any, adt: Any, codec: Any) -> None:
    loop, turn, turns = asyncio.get_running_loop(), [0], []
    read = codec.read

    def reading(raw: Any, reception: Any) -> Any:
        turns.append(turn[0])
        return read(raw, reception)

    def tick() -> None:
        turn[0] += 1
        if turn[0] > 0:
            loop.call_soon(tick)

    codec.read = reading
    client = await connect(await listen(MemoryAccept()))
    tick()
    await client.send(*[adt(f"C{n}", patient=f"P{n}") for n in range(20)])
    assert [await client.code() for _ in range(20)] == [f"AA C{n}" for n in range(20)]
    assert len(set(turns)) == 20, "one message is started in a turn of the loop"
    turn[0] = -1_000_000


async def test_messages_of_one_patient_are_published_in_order(listen: Any, connect: Any, adt: Any) -> None:
    accept = GatedAccept()
    client = await connect(await listen(accept))
    await client.send(adt("C1"), adt("C2"), adt("X1", patient="P2"), adt("C3"))
    await until(lambda: set(accept.started) == {"C1", "X1"})
    for name in ("C3", "C2", "X1", "C1"):
        accept.gate(name).set()
    assert [await client.code() for _ in range(4)] == ["AA C1", "AA C2", "AA X1", "AA C3"]
    assert [name for name in ids(accept) if name != "X1"] == ["C1", "C2", "C3"]


async def test_a_merge_is_published_between_what_came_before_and_after_it(listen: Any, connect: Any, adt: Any) -> None:
    accept = GatedAccept()
    client = await connect(await listen(accept))
    merge = adt("M").replace(b"ADT^A01", b"ADT^A40")
    await client.send(adt("C1"), adt("X1", patient="P2"), merge, adt("C2"), adt("X2", patient="P2"), adt("C3"))
    await until(lambda: set(accept.started) == {"C1", "X1"})
    for name in ("C3", "X2", "C2", "M", "C1"):
        accept.gate(name).set()
    await asyncio.sleep(0.05)
    assert ids(accept) == ["C1"], "the merge waits for the other patient, too"
    accept.gate("X1").set()
    assert [await client.code() for _ in range(6)] == [f"AA {name}" for name in ("C1", "X1", "M", "C2", "X2", "C3")]
    assert ids(accept)[:3] == ["C1", "X1", "M"]


@pytest.mark.parametrize(("accept_code", "code"), [("", "AE"), ("AL", "CE")])
@pytest.mark.parametrize("failure", [Unavailable(), OwnError()])
async def test_a_failed_produce_is_never_a_yes(
    listen: Any, connect: Any, adt: Any, accept_code: str, code: str, failure: OwnError
) -> None:
    accept = MemoryAccept(failure=failure)
    client = await connect(await listen(accept))
    message = adt("C1", accept=accept_code)
    assert await client.ask(message) == f"{code} C1"
    accept.failure = None
    assert await client.ask(message) == f"{code[0]}A C1"
    assert ids(accept) == ["C1"]


async def test_a_produce_that_hangs_is_answered_within_the_deadline(listen: Any, connect: Any, adt: Any) -> None:
    accept = GatedAccept()
    client = await connect(await listen(accept, accept_timeout=0.2))
    assert await client.ask(adt("C1")) == "AE C1"
    accept.gate("C1").set()
    assert await client.ask(adt("C1")) == "AA C1"


async def test_a_partner_may_prefer_silence_to_a_negative_answer(listen: Any, connect: Any, adt: Any) -> None:
    partner = {"name": "hosp", "applications": ["EHR|HOSP"], "on_failure": "silent"}
    accept = MemoryAccept(failure=Unavailable())
    client = await connect(await listen(accept, partners=[partner]))
    await client.send(adt("C1"))
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(client.reader.read(1), 0.2)
    accept.failure = None
    assert await client.ask(adt("C1")) == "AA C1"
    assert accept.accepted[0][1].client == "hosp"
    assert accept.accepted[0][1].source == "hl7/hosp"


async def test_a_defect_of_ours_is_answered_and_hurts_nobody_else(
    listen: Any, connect: Any, adt: Any, codec: Any, seen: Any
) -> None:
    good = codec.read

    def read(raw: Any, reception: Any) -> Any:
        if b"|BAD|" in raw.data:
            raise KeyError("DOE^JANE")
        return good(raw, reception)

    codec.read = read
    accept = MemoryAccept()
    client = await connect(await listen(accept))
    await client.send(adt("C1"), adt("BAD"), adt("C2"))
    assert [await client.code() for _ in range(3)] == ["AA C1", "AE BAD", "AA C2"]
    assert seen.named("hl7.defect")[0]["error"] == "KeyError"
    assert "JANE" not in str(seen.events)


async def test_the_same_bytes_get_the_same_answer_once_accepted(listen: Any, connect: Any, adt: Any, seen: Any) -> None:
    accept = MemoryAccept()
    listener = await listen(accept)
    one, two = await connect(listener), await connect(listener)
    answers = []
    for client in (one, two, one):
        await client.send(adt("C1"))
        answers.append(await client.answer())
    assert len(set(answers)) == 1
    assert ids(accept) == ["C1"]
    assert len(seen.named("hl7.duplicate")) == 2


async def test_copies_in_flight_wait_for_the_first(listen: Any, connect: Any, adt: Any) -> None:
    accept = GatedAccept()
    listener = await listen(accept)
    one, two = await connect(listener), await connect(listener)
    await one.send(adt("C1"))
    await two.send(adt("C1"))
    await until(lambda: accept.started == ["C1"])
    accept.gate("C1").set()
    assert await one.answer() == await two.answer() != b""
    assert ids(accept) == ["C1"]


async def test_a_reused_control_id_is_a_conflict(listen: Any, connect: Any, adt: Any, seen: Any) -> None:
    accept = MemoryAccept()
    client = await connect(await listen(accept))
    assert await client.ask(adt("C1")) == "AA C1"
    await client.send(adt("C1", patient="P9"))
    answer = await client.answer()
    assert b"MSA|AE|C1" in answer
    assert b"205^Duplicate key identifier" in answer
    assert ids(accept) == ["C1"]
    assert len(seen.named("hl7.conflict")) == 1


async def test_a_refused_message_may_be_corrected_under_its_id(listen: Any, connect: Any, adt: Any) -> None:
    accept = MemoryAccept()
    client = await connect(await listen(accept))
    assert await client.ask(adt("C1", patient="")) == "AE C1"
    assert await client.ask(adt("C1")) == "AA C1"


@pytest.mark.parametrize(
    ("policy", "second", "count"),
    [("off", "AA C1", 2), ("control-id", "AE C1", 1), ("control-id-and-time", "AA C1", 2)],
)
async def test_partners_choose_what_makes_a_duplicate(
    listen: Any, connect: Any, adt: Any, policy: str, second: str, count: int
) -> None:
    accept = MemoryAccept()
    partner = {"name": "hosp", "applications": ["EHR|*"], "duplicates": policy}
    client = await connect(await listen(accept, partners=[partner]))
    assert await client.ask(adt("C1")) == "AA C1"
    assert await client.ask(adt("C1", patient="P2").replace(b"20260301", b"20260302")) == second
    assert len(accept.accepted) == count


async def test_senders_are_bound_to_their_names(listen: Any, connect: Any, adt: Any, seen: Any) -> None:
    accept = MemoryAccept()
    partners = [{"name": "a", "applications": ["EHR|HOSP"]}, {"name": "b", "applications": ["LAB|*"]}]
    client = await connect(await listen(accept, partners=partners, unknown_partners=False))
    assert await client.ask(adt("C1")) == "AA C1"
    assert await client.ask(adt("C2", sender="LAB|ANY")) == "AA C2"
    assert await client.ask(adt("C3", sender="EVIL|HOSP")) == "AR C3"
    # A batch of our own name must not smuggle a message in another's.
    assert await client.ask(b"BHS|^~\\&|EHR|HOSP\r" + adt("C4", sender="EVIL|HOSP") + b"BTS|1\r") == "AR "
    assert await client.ask(adt("C5") + adt("C6", sender="EVIL|HOSP")) == "AR C5"
    assert [reception.client for _, reception in accept.accepted] == ["a", "b"]
    assert len(seen.named("hl7.security")) == 3


async def test_a_network_list_keeps_others_out(listen: Any, connect: Any, adt: Any, seen: Any) -> None:
    client = await connect(await listen(MemoryAccept(), networks=["10.0.0.0/8"]))
    assert await client.closed()
    assert seen.named("hl7.security")[0]["reason"] == "network"


async def test_connection_caps(listen: Any, connect: Any, adt: Any, seen: Any) -> None:
    listener = await listen(MemoryAccept(), connections_per_peer=2)
    kept = [await connect(listener), await connect(listener)]
    await until(lambda: listener.connections == 2)
    refused = await connect(listener)
    await until(lambda: seen.named("hl7.busy"))
    assert [await client.ask(adt("C1")) for client in kept] == ["AA C1", "AA C1"]
    kept[0].writer.close()
    await until(lambda: listener.connections == 1)
    assert await (await connect(listener)).ask(adt("C2")) == "AA C2"
    assert refused


async def test_too_many_in_flight_are_asked_to_come_back(listen: Any, connect: Any, adt: Any) -> None:
    accept = GatedAccept()
    client = await connect(await listen(accept, in_flight=2))
    await client.send(*[adt(f"C{n}", patient=f"P{n}") for n in range(4)])
    await until(lambda: len(accept.started) == 2)
    accept.gate("C0").set()
    accept.gate("C1").set()
    assert [await client.code() for _ in range(4)] == ["AA C0", "AA C1", "AR C2", "AR C3"]


async def test_reading_stops_while_the_pipeline_is_full(listen: Any, connect: Any, adt: Any) -> None:
    accept = GatedAccept()
    listener = await listen(accept, pipeline=3)
    client = await connect(listener)
    for n in range(10):
        await client.send(adt(f"C{n}", patient=f"P{n}"))
        await asyncio.sleep(0.01)
    assert len(accept.started) <= 4
    for n in range(10):
        accept.gate(f"C{n}").set()
    assert [await client.code() for _ in range(10)] == [f"AA C{n}" for n in range(10)]


async def test_more_messages_than_the_pipeline_in_one_read_wait_and_are_not_sent_away(
    listen: Any, connect: Any, adt: Any
) -> None:
    accept = GatedAccept()
    listener = await listen(accept, pipeline=3, in_flight=3)
    client = await connect(listener)
    names = [f"C{n}" for n in range(50)]
    await client.send(*[adt(name, patient=name) for name in names])
    await until(lambda: len(accept.started) == 3)
    await asyncio.sleep(0.05)
    assert len(accept.started) == listener.in_flight == 3
    for name in names:
        accept.gate(name).set()
    assert [await client.code() for _ in names] == [f"AA {name}" for name in names]
    await until(lambda: listener.in_flight == 0)
    await client.send(*[adt(f"D{n}", patient="P") for n in range(20)])
    await until(lambda: "D0" in accept.started)
    client.writer.transport.abort()
    accept.gate("D0").set()
    for n in range(20):
        accept.gate(f"D{n}").set()
    await until(lambda: listener.in_flight == 0)


async def test_a_peer_that_does_not_read_is_cut(listen: Any, connect: Any, adt: Any, seen: Any) -> None:
    listener = await listen(MemoryAccept(), slow_peer_timeout=0.5, pipeline=100_000, in_flight=100_000)
    narrow = socket.socket()  # whose buffer is full after some answers, not after megabytes of them
    narrow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    narrow.connect(("127.0.0.1", listener.port))
    client = await connect(listener, sock=narrow)
    message = frame(adt("C1"))

    async def flood() -> None:
        while True:
            client.writer.write(message * 200)
            await client.writer.drain()

    with pytest.raises(ConnectionError):
        await asyncio.wait_for(flood(), 50)
    assert seen.named("hl7.closed")[0]["reason"] == "slow-peer"
    await until(lambda: listener.connections == 0 and listener.in_flight == 0)


async def test_a_frame_that_does_not_end_and_an_idle_peer_are_closed(
    listen: Any, connect: Any, adt: Any, seen: Any
) -> None:
    listener = await listen(MemoryAccept(), frame_timeout=0.5, idle_timeout=0.5)
    slow, idle = await connect(listener), await connect(listener)
    assert await idle.ask(adt("C1")) == "AA C1"
    slow.writer.write(VT + adt("C2"))
    for _ in range(4):  # trickling does not help
        await asyncio.sleep(0.1)
        slow.writer.write(b"x")
    assert await slow.closed()
    await until(lambda: listener.connections == 0)
    assert {fields["reason"] for fields in seen.named("hl7.closed")} == {"frame-timeout", "idle"}
    assert seen.named("mllp.truncated")


async def test_what_is_no_message_is_refused_on_the_wire(listen: Any, connect: Any, adt: Any, seen: Any) -> None:
    accept = MemoryAccept()
    listener = await listen(accept, frame=2_000)
    client = await connect(listener)
    assert await client.ask(b"GET / HTTP/1.1\r\n") == "AR "
    assert await client.ask(b"") == "AR "
    assert await client.ask(adt("C1").replace(b"DOE", b"D" + FS + b"E")) == "AE C1"
    assert await client.ask(adt("CX").replace(b"EHR", b"E" + FS + b"R")) == "AE CX"
    client.writer.write(VT + adt("LOST") + frame(adt("C2")))
    assert await client.code() == "AA C2"
    assert await client.ask(adt("BIG", extra="NTE|" + "x" * 3_000)) == "AR BIG"
    assert await client.code() == ""
    assert ids(accept) == ["C2"]
    assert [fields["reason"] for fields in seen.named("mllp.truncated")] == ["restarted"]


async def test_a_frame_cut_by_the_end_of_the_stream_is_never_answered(listen: Any, connect: Any, adt: Any) -> None:
    accept = MemoryAccept()
    client = await connect(await listen(accept))
    client.writer.write(frame(adt("C1")) + VT + adt("C2"))
    client.writer.write_eof()
    assert [await client.code(), await client.code()] == ["AA C1", ""]
    assert ids(accept) == ["C1"]


async def test_a_half_closed_peer_still_gets_its_answers(listen: Any, connect: Any, adt: Any) -> None:
    accept = GatedAccept()
    client = await connect(await listen(accept))
    await client.send(adt("C1"))
    client.writer.write_eof()
    await until(lambda: accept.started == ["C1"])
    accept.gate("C1").set()
    assert [await client.code(), await client.code()] == ["AA C1", ""]


async def test_bytes_being_worked_on_are_bounded(listen: Any, connect: Any, adt: Any) -> None:
    accept = GatedAccept()
    listener = await listen(accept, buffered=65_536)
    client = await connect(listener)
    note = "NTE|1||" + "x" * 40_000
    await client.send(adt("C1", extra=note), adt("C2", patient="P2", extra=note))
    await until(lambda: accept.started == ["C1"])
    accept.gate("C1").set()
    assert [await client.code(), await client.code()] == ["AA C1", "AR C2"]
    accept.gate("C3").set()
    assert await client.ask(adt("C3", extra=note)) == "AA C3"


async def test_held_bytes_are_bounded(listen: Any, connect: Any, adt: Any) -> None:
    listener = await listen(MemoryAccept(), buffered=65_536)
    one, two = await connect(listener), await connect(listener)
    one.writer.write(VT + b"MSH|" + b"x" * 50_000)
    await one.writer.drain()
    await asyncio.sleep(0.05)
    two.writer.write(VT + b"MSH|" + b"x" * 50_000)
    await two.writer.drain()
    assert await two.code() == "AR "
    assert await two.code() == ""
    three = await connect(listener)
    assert await three.ask(adt("C1")) == "AA C1"


async def test_a_wrong_character_set_is_told_once_and_nothing_is_lost(
    listen: Any, connect: Any, adt: Any, seen: Any
) -> None:
    accept = MemoryAccept()
    client = await connect(await listen(accept))
    message = adt("C1").replace(b"DOE", "DÖE".encode("latin-1"))
    assert await client.ask(message) == "AA C1"
    assert seen.named("hl7.issues") == [{"codes": "charset-mismatch", "partner": ""}]
    assert accept.accepted[0][0].raw.data == message


async def test_stopping_finishes_what_was_received(listen: Any, connect: Any, adt: Any) -> None:
    accept = GatedAccept()
    listener = await listen(accept)
    client = await connect(listener)
    await client.send(adt("C1"), adt("C2", patient="P2"))
    client.writer.write(VT + adt("C3"))
    await until(lambda: len(accept.started) == 2)
    stopping = asyncio.create_task(listener.stop())
    await asyncio.sleep(0.05)
    assert not stopping.done()
    with pytest.raises(ConnectionRefusedError):
        await connect(listener)
    accept.gate("C1").set()
    accept.gate("C2").set()
    assert [await client.code() for _ in range(3)] == ["AA C1", "AA C2", ""]
    await stopping
    assert ids(accept) == ["C1", "C2"]


async def test_stopping_cuts_what_does_not_finish(listen: Any, connect: Any, adt: Any, seen: Any) -> None:
    accept = GatedAccept()
    listener = await listen(accept, drain_timeout=0.2)
    client = await connect(listener)
    await client.send(adt("C1"))
    await until(lambda: accept.started == ["C1"])
    await listener.stop()
    assert await client.closed()
    assert accept.accepted == []
    assert seen.named("hl7.drain-timeout")


async def test_release_2_commits_before_it_answers(listen: Any, connect: Any, adt: Any) -> None:
    accept = MemoryAccept()
    client = await connect(await listen(accept, release=2))
    await client.send(adt("C1"))
    assert await client.answer() == b"\x06"
    assert await client.code() == "AA C1"
    await client.send(adt("C2", accept="NE", application="NE"))
    assert await client.answer() == b"\x06"
    accept.failure = Unavailable()
    await client.send(adt("C3"))
    assert await client.answer() == b"\x15"
    assert await client.code() == "AE C3"


async def test_two_phases_come_as_two_frames(listen: Any, connect: Any, adt: Any) -> None:
    client = await connect(await listen(MemoryAccept()))
    await client.send(adt("C1", accept="AL", application="AL"))
    assert [await client.code(), await client.code()] == ["CA C1", "AA C1"]


async def test_a_batch_is_one_publish_per_message(listen: Any, connect: Any, adt: Any) -> None:
    accept = MemoryAccept()
    client = await connect(await listen(accept))
    await client.send(adt("C1") + adt("C2"))
    assert [await client.code(), await client.code()] == ["AA C1", "AA C2"]
    assert ids(accept) == ["C1", "C2"]


async def test_two_listeners_share_a_port(listen: Any, connect: Any, adt: Any) -> None:
    first = await listen(MemoryAccept(), reuse_port=True)
    second = await listen(MemoryAccept(), reuse_port=True, port=first.port)
    assert second.port == first.port
    assert await (await connect(first)).ask(adt("C1")) == "AA C1"


async def test_new_partners_hold_from_the_next_message(listen: Any, connect: Any, adt: Any) -> None:
    listener = await listen(MemoryAccept(), partners=[{"name": "a", "applications": ["EHR|HOSP"]}])
    client = await connect(listener)
    assert await client.ask(adt("C1")) == "AA C1"
    other = listener.settings.model_validate(
        {
            **listener.settings.model_dump(),
            "partners": [{"name": "a", "applications": ["LAB|*"]}],
            "unknown_partners": False,
        }
    )
    listener.use(other)
    assert await client.ask(adt("C2")) == "AR C2"
