"""Receiving: every complete file exactly once, no incomplete file ever, whatever happens in between."""

from __future__ import annotations

import asyncio
import gzip
import io
import os
import zipfile

import pytest

from adapters.sftp.wire import Claim
from gateway.core.errors import EndpointUnavailable, Unavailable
from gateway.infra.sftp import SftpSession
from tests.adapters.sftp.bench import Bench, message


async def test_whole_way(bench: Bench) -> None:
    bench.put("batch.x12", message(7))
    assert await bench.poll_twice(bench.poller()) == 1
    raw, reception = bench.received[0]
    assert raw.data == message(7)
    assert (reception.source, reception.attributes["fileName"]) == ("sftp/clearinghouse-a", "batch.x12")
    assert (
        (bench.server.folder / "outbound" / f"answer_{raw.sha256[:12]}.txt").read_bytes().endswith(raw.sha256.encode())
    )
    assert bench.files("inbound") == bench.files("processing") == []
    assert bench.files("archive")[0].startswith("batch.x12~")
    assert [event for event, _ in bench.reports] == ["taken", "done"]


async def test_growing_upload_is_taken_once_and_whole(bench: Bench) -> None:
    poller, whole = bench.poller(), message(3, "y" * 5000)
    session = await poller.connect()
    for part in range(1, 11):
        bench.put("slow.x12", whole[: len(whole) * part // 10])
        await poller.poll(session)
        bench.pass_time(1.0)
    assert bench.received == []
    bench.pass_time(10.0)
    assert await poller.poll(session) == 1
    assert [raw.data for raw, _ in bench.received] == [whole]
    session.close()


async def test_stable_but_cut_off_is_never_parsed(bench: Bench) -> None:
    bench.put("cut.x12", message(3)[:-3])
    poller = bench.poller(incomplete_seconds=100.0)
    assert await bench.poll_twice(poller) == 0
    assert bench.files("inbound") == ["cut.x12"]
    assert await bench.poll_twice(poller, 200.0) == 0
    assert (bench.received, bench.files("inbound"), bench.files("outbound")) == ([], [], [])
    assert bench.files("error")[0].startswith("cut.x12~")
    assert "incomplete" in [event for event, _ in bench.reports]


async def test_cut_off_upload_resumed_by_the_partner_is_taken(bench: Bench) -> None:
    bench.put("cut.x12", message(3)[:-3])
    poller = bench.poller()
    await bench.poll_twice(poller)
    bench.put("cut.x12", message(3))
    assert await bench.poll_twice(poller) == 1


async def test_rename_mode_ignores_temporary_names(bench: Bench) -> None:
    for name in ("a.x12.tmp", ".a.x12", "a.x12.filepart", "a.part"):
        bench.put(name, message(1))
    poller = bench.poller(ready="rename")
    assert await bench.poll_twice(poller) == 0
    (bench.server.folder / "inbound/a.x12.tmp").rename(bench.server.folder / "inbound/a.x12")
    assert await bench.poll_twice(poller) == 1
    assert len(bench.received) == 1


async def test_marker_mode_waits_for_the_marker_and_removes_it(bench: Bench) -> None:
    bench.put("a.x12", message(1))
    poller = bench.poller(ready="marker")
    assert await bench.poll_twice(poller) == 0
    bench.put("a.done", b"")
    assert await bench.poll_twice(poller) == 1
    assert bench.files("inbound") == []
    bench.put("a.x12", message(2))
    assert await bench.poll_twice(poller) == 0


async def test_same_name_with_other_content(bench: Bench) -> None:
    poller = bench.poller()
    bench.put("daily.x12", message(1))
    await bench.poll_twice(poller)
    bench.put("daily.x12", message(2))
    await bench.poll_twice(poller)
    assert [raw.data for raw, _ in bench.received] == [message(1), message(2)]
    assert len(bench.files("archive")) == len(bench.files("outbound")) == 2


async def test_same_file_again_gets_the_same_answer_file(bench: Bench) -> None:
    poller = bench.poller()
    for _ in range(2):
        bench.put("daily.x12", message(1))
        await bench.poll_twice(poller)
    assert len(bench.files("outbound")) == 1
    assert "answer-conflict" not in [event for event, _ in bench.reports]


async def test_two_pollers_take_each_file_once(bench: Bench) -> None:
    for number in range(12):
        bench.put(f"f{number:02d}.x12", message(number))
    pollers = [bench.poller(owner, ready="rename") for owner in ("a", "b", "c")]
    sessions = [await poller.connect() for poller in pollers]
    done = await asyncio.gather(
        *(poller.poll(session) for poller, session in zip(pollers, sessions, strict=True)), return_exceptions=True
    )
    for session in sessions:
        session.close()
    assert done == [count for count in done if isinstance(count, int)]
    assert sum(count for count in done if isinstance(count, int)) == 12
    assert sorted(raw.data or b"" for raw, _ in bench.received) == [message(number) for number in range(12)]
    assert bench.files("processing") == []


async def test_not_durable_means_held_and_tried_again(bench: Bench) -> None:
    async def fail() -> None:
        raise Unavailable

    bench.on_receive = fail
    bench.put("a.x12", message(1))
    poller = bench.poller()
    assert await bench.poll_twice(poller) == 0
    assert (len(bench.files("processing")), bench.files("outbound")) == (1, [])
    bench.on_receive = None
    first = bench.clock.now
    assert await bench.poll_twice(poller) == 1
    assert bench.received[0][1].received_at <= first


async def test_crash_after_claim_is_resumed_by_owner_at_once_and_by_others_after_the_lease(bench: Bench) -> None:
    async def crash() -> None:
        raise RuntimeError("killed")

    bench.on_receive = crash
    bench.put("a.x12", message(1))
    bench.put("b.x12", message(2))
    await bench.poll_twice(bench.poller("a"))
    claimed_at = bench.clock.now
    bench.on_receive = None
    other = bench.poller("b", lease_seconds=600.0)
    assert await bench.poll_twice(other) == 0
    assert await bench.poll_twice(other, 700.0) == 2
    assert all(reception.received_at <= claimed_at for _, reception in bench.received)
    assert bench.files("processing") == []


async def test_a_claim_taken_over_meanwhile_is_no_trouble(bench: Bench) -> None:
    poller = bench.poller()
    session = await poller.connect()
    assert await poller._handle(session, Claim("gone.x12", 1, 1, "a")) is False
    session.close()
    assert bench.reports == []


async def test_a_file_we_may_not_read_does_not_stop_the_others(bench: Bench) -> None:
    if bench.server.drop is not None and os.geteuid() == 0:
        pytest.skip("the own drop runs as root here and may read everything")
    bench.put("a.x12", message(1)).chmod(0)
    bench.put("b.x12", message(2))
    assert await bench.poll_twice(bench.poller()) == 1
    assert "denied" in [event for event, _ in bench.reports]


async def test_crash_between_answer_and_archive(bench: Bench) -> None:
    bench.put("a.x12", message(1))
    poller = bench.poller()
    session = await poller.connect()
    real = SftpSession.move

    def cut(self: SftpSession, source: str, target: str) -> str:
        if "/archive/" in f"/{target}":
            raise EndpointUnavailable("cut")
        return real(self, source, target)

    SftpSession.move = cut  # type: ignore[method-assign,assignment]
    try:
        await poller.poll(session)
        bench.pass_time(10.0)
        with pytest.raises(EndpointUnavailable):
            await poller.poll(session)
    finally:
        SftpSession.move = real  # type: ignore[method-assign]
    assert await poller.poll(session) == 1
    session.close()
    assert (len(bench.files("outbound")), len(bench.files("archive")), bench.files("processing")) == (1, 1, [])


async def test_packed_files(bench: Bench) -> None:
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as packed:
        packed.writestr("../inner.x12", message(2))
    bench.put("a.x12.gz", gzip.compress(message(1)))
    bench.put("b.zip", archive.getvalue())
    bench.put("bomb.gz", gzip.compress(message(3, "0" * 5_000_000)))
    bench.put("cut.gz", gzip.compress(message(4))[:-4])
    bench.put("noise.zip", b"\x00" * 100)
    assert await bench.poll_twice(bench.poller()) == 2
    assert sorted(reception.attributes["fileName"] for _, reception in bench.received) == ["a.x12", "inner.x12"]
    assert len(bench.files("error")) == 3


async def test_too_large_file_is_set_aside(bench: Bench) -> None:
    bench.put("big.x12", message(1, "x" * 5000))
    await bench.poll_twice(bench.poller(maximum_bytes=1000))
    assert (len(bench.files("error")), bench.received) == (1, [])


async def test_reports_name_no_file(bench: Bench) -> None:
    bench.put("JOHN-DOE-19700101.x12", message(1))
    await bench.poll_twice(bench.poller())
    assert bench.reports
    assert "DOE" not in str(bench.reports)


async def test_run_reconnects_after_a_cut(bench: Bench) -> None:
    stop = asyncio.Event()
    poller = bench.poller(ready="rename", poll_seconds=0.05, longest_pause=0.2)
    task = asyncio.create_task(poller.run(stop))
    for number in range(1, 4):
        bench.put(f"f{number}.x12", message(number))
        async with asyncio.timeout(20):
            # Cut before it is archived, a file is received again: how many there were says nothing.
            while message(number) not in {raw.data for raw, _ in bench.received}:  # noqa: ASYNC110
                await asyncio.sleep(0.02)
        if bench.server.drop is not None:
            bench.server.drop.cut()
    stop.set()
    await task
    assert {raw.data for raw, _ in bench.received} == {message(1), message(2), message(3)}
