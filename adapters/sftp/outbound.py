"""Leaving files in a partner's drop: temporary name, size check, rename without overwriting; one attempt per call."""

from __future__ import annotations

import asyncio
import re

from adapters.sftp.settings import SftpEndpoint
from gateway.core.errors import ConfigurationError, EndpointUnavailable
from gateway.core.ports import Outbound, Receipt
from gateway.infra.sftp import HostKeyRefused, SftpSession, SftpTarget

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,119}")


class SftpSender:
    """A `Sender` for one endpoint. `attributes["fileName"]` of an Outbound names the file; a resend keeps its name."""

    def __init__(self, endpoint: SftpEndpoint, target: SftpTarget) -> None:
        self._endpoint = endpoint
        self._target = target
        self._session: SftpSession | None = None
        self._turn = asyncio.Lock()

    async def send(self, outbound: Outbound) -> Receipt:
        """Leave the file. The same file already there counts as sent: the last attempt was cut before its answer.

        Raises EndpointUnavailable, EndpointRefused (credentials, permission, another file of that name). A host key
        that is not pinned means later: the file is not at fault, and goes out once somebody has looked at the key.
        """
        name = outbound.attributes.get("fileName", "")
        if not _NAME.fullmatch(name):
            raise ConfigurationError("an outbound file needs a name of A-Z a-z 0-9 . _ - with at most 120 characters")
        async with self._turn:
            try:
                await asyncio.to_thread(self._deposit, name, outbound.data)
            except EndpointUnavailable:
                await self._drop()
                raise
            except HostKeyRefused as error:
                raise EndpointUnavailable("the server's host key is not one of the pinned ones") from error
        return Receipt(accepted=True, reference=name)

    async def close(self) -> None:
        """Close the connection."""
        async with self._turn:
            await self._drop()

    def _deposit(self, name: str, data: bytes) -> None:
        if self._session is None:
            self._session = SftpSession.open(self._target)
        self._session.deposit(self._endpoint.outbound, name, data)

    async def _drop(self) -> None:
        session, self._session = self._session, None
        if session is not None:
            await asyncio.to_thread(session.close)
