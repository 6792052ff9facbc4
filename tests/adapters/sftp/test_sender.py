"""Sending, host keys, and the session below both."""

from __future__ import annotations

import asyncio
import hashlib
import time

import paramiko
import pytest

from adapters.sftp.outbound import SftpSender
from gateway.core.errors import ConfigurationError, EndpointRefused, EndpointUnavailable
from gateway.core.ports import Outbound
from gateway.infra.sftp import HostKeyRefused, SftpSession
from gateway.stages import deliver
from tests.adapters.sftp.bench import Bench, message
from tests.adapters.sftp.servers import new_key
from tests.gateway.stages.fakes import MemoryIntents


def outbound(data: bytes, name: str = "x12_278_000000001.x12") -> Outbound:
    return Outbound(
        endpoint="clearinghouse-a",
        data=data,
        media_type="application/edi-x12",
        idempotency_key="k",
        attributes={"fileName": name},
    )


async def test_send_and_resend(bench: Bench) -> None:
    sender = SftpSender(bench.endpoint(), bench.target())
    data = message(1, "z" * 700_000)
    assert (await sender.send(outbound(data))).accepted
    assert (await sender.send(outbound(data))).accepted
    await sender.close()
    assert bench.files("outbound") == ["x12_278_000000001.x12"]
    assert (bench.server.folder / "outbound/x12_278_000000001.x12").read_bytes() == data


async def test_never_overwrites(bench: Bench) -> None:
    sender = SftpSender(bench.endpoint(), bench.target())
    await sender.send(outbound(message(1)))
    with pytest.raises(EndpointRefused):
        await sender.send(outbound(message(2)))
    await sender.close()
    assert (bench.server.folder / "outbound/x12_278_000000001.x12").read_bytes() == message(1)


async def test_cut_before_rename_leaves_one_file_after_the_retry(bench: Bench) -> None:
    real = SftpSession.move

    def cut(self: SftpSession, source: str, target: str) -> str:
        raise EndpointUnavailable("cut")

    sender = SftpSender(bench.endpoint(), bench.target())
    SftpSession.move = cut  # type: ignore[method-assign,assignment]
    try:
        with pytest.raises(EndpointUnavailable):
            await sender.send(outbound(message(1)))
    finally:
        SftpSession.move = real  # type: ignore[method-assign]
    assert [name for name in bench.files("outbound") if not name.startswith(".")] == []
    await sender.send(outbound(message(1)))
    await sender.close()
    assert bench.files("outbound") == ["x12_278_000000001.x12"]


async def test_resumes_a_half_written_file(bench: Bench) -> None:
    data = message(1, "r" * 600_000)
    sender = SftpSender(bench.endpoint(), bench.target())
    session = await asyncio.to_thread(SftpSession.open, bench.target())
    folder = bench.endpoint().outbound
    temporary = f"{folder}/.part.x12.{hashlib.sha256(data).hexdigest()[:16]}.tmp"
    await asyncio.to_thread(session._write, temporary, data[:300_000])
    session.close()
    await sender.send(outbound(data, "part.x12"))
    await sender.close()
    assert bench.files("outbound") == ["part.x12"]
    assert (bench.server.folder / "outbound/part.x12").read_bytes() == data


async def test_two_attempts_at_once_leave_one_file(bench: Bench) -> None:
    senders = [SftpSender(bench.endpoint(), bench.target()) for _ in range(4)]
    data = message(1, "p" * 300_000)
    receipts = await asyncio.gather(*(sender.send(outbound(data)) for sender in senders))
    assert all(receipt.accepted for receipt in receipts)
    for sender in senders:
        await sender.close()
    assert bench.files("outbound") == ["x12_278_000000001.x12"]
    assert (bench.server.folder / "outbound/x12_278_000000001.x12").read_bytes() == data


async def test_a_file_moved_away_between_two_looks_counts_as_sent(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The other attempt finishes after we found its temporary file and before we look at its size."""
    data = message(1, "q" * 1_000)
    outbox = bench.server.folder / "outbound"
    temporary = outbox / f".part.x12.{hashlib.sha256(data).hexdigest()[:16]}.tmp"
    temporary.write_bytes(data)
    real = SftpSession.size

    def other_finishes_first(self: SftpSession, path: str) -> int | None:
        if path.endswith(".tmp") and temporary.exists():
            temporary.rename(outbox / "part.x12")
        return real(self, path)

    monkeypatch.setattr(SftpSession, "size", other_finishes_first)
    sender = SftpSender(bench.endpoint(), bench.target())
    assert (await sender.send(outbound(data, "part.x12"))).accepted
    await sender.close()
    assert bench.files("outbound") == ["part.x12"]


@pytest.mark.parametrize("name", ["", "../x", "a/b", "x" * 130, "JOHN DOE.x12"])
async def test_unsafe_names(name: str, bench: Bench) -> None:
    with pytest.raises(ConfigurationError):
        await SftpSender(bench.endpoint(), bench.target()).send(outbound(b"x", name))


async def test_host_keys(bench: Bench) -> None:
    _, other = new_key()
    with pytest.raises(HostKeyRefused):
        SftpSession.open(bench.target(host_keys=(other,)))
    for pins in ((other, bench.server.host_key), (bench.server.host_key,)):
        await asyncio.to_thread(lambda pins=pins: SftpSession.open(bench.target(host_keys=pins)).close())


async def test_a_file_for_a_server_with_another_host_key_waits_and_goes_out_once_it_is_pinned(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deliver, "QUICK_TRIES", 1)
    _, other = new_key()
    delivers = deliver.DeliverStage(
        intents=MemoryIntents(),
        senders={"drop": SftpSender(bench.endpoint(), bench.target(host_keys=(other,)))},
        renderers={},
        monotonic=time.monotonic,
        sleep=asyncio.sleep,
    )
    for _ in range(12):
        with pytest.raises(EndpointUnavailable):
            await delivers.send("tenant", "drop", outbound(b"x", "answer.x12"))
    assert delivers.breakers["drop"].wait(time.monotonic()) > 0, "the circuit is open"
    sender = SftpSender(bench.endpoint(), bench.target(host_keys=(other, bench.server.host_key)))
    assert (await sender.send(outbound(b"x", "answer.x12"))).accepted
    await sender.close()


async def test_wrong_host_key_is_reported_and_no_credential_is_sent(bench: Bench) -> None:
    _, other = new_key()
    if bench.server.drop is None:
        pytest.skip("only the own drop shows what it was asked")
    asked: list[str] = []
    from gateway.stack import sftp_drop

    real = sftp_drop._Login.check_auth_publickey
    sftp_drop._Login.check_auth_publickey = lambda self, user, key: asked.append(user) or real(self, user, key)  # type: ignore
    try:
        stop = asyncio.Event()
        task = asyncio.create_task(bench.poller(host_keys=(other,), poll_seconds=0.05).run(stop))
        async with asyncio.timeout(10):
            while not bench.reports:  # noqa: ASYNC110 - a test may wait simply
                await asyncio.sleep(0.02)
        stop.set()
        await task
    finally:
        sftp_drop._Login.check_auth_publickey = real  # type: ignore[method-assign]
    assert bench.reports[0][0] == "host-key"
    assert asked == []


async def test_wrong_user_key(bench: Bench) -> None:
    target = bench.target()
    bench.server.private_key = new_key()[0]
    with pytest.raises(EndpointRefused):
        SftpSession.open(bench.target())
    assert "PRIVATE" not in repr(target)


async def test_closing_what_was_cut_is_no_fault(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """A poller that ended by it would leave a partner's files lying until the role is started anew."""
    session = await asyncio.to_thread(SftpSession.open, bench.target())
    channel = session.another()

    def cut(_self: object, _data: object) -> None:
        raise EOFError

    monkeypatch.setattr(paramiko.packet.Packetizer, "write_all", cut)
    await asyncio.to_thread(channel.close_channel)
    await asyncio.to_thread(session.close)


async def test_nobody_listens() -> None:
    from gateway.infra.sftp import SftpTarget

    target = SftpTarget(host="127.0.0.1", port=9, user="u", host_keys=(new_key()[1],), private_key=new_key()[0])
    with pytest.raises(EndpointUnavailable):
        SftpSession.open(target)


async def test_a_server_that_loses_bytes_is_found_out(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    if bench.server.drop is None:
        pytest.skip("only the own drop can be made to lose bytes")
    from gateway.stack import sftp_drop

    def lossy(self: object, offset: int, data: bytes) -> int:
        return paramiko.SFTPHandle.write(self, offset, data[:-1])  # type: ignore[arg-type]

    monkeypatch.setattr(sftp_drop._Handle, "write", lossy, raising=False)
    sender = SftpSender(bench.endpoint(), bench.target())
    with pytest.raises(EndpointUnavailable, match="of"):
        await sender.send(outbound(message(1)))
    await sender.close()
    assert bench.files("outbound") == []
