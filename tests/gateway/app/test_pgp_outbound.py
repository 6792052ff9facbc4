"""What goes into a drop that wants PGP is encrypted when it is rendered, and only that."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from gateway.app.deliveries import encrypted
from gateway.core.ports import Outbound
from gateway.infra.pgp import decrypt
from gateway.partners import Partner
from gateway.stages.deliver import Letter
from tests.adapters.sftp.test_pgp import LIMIT, PASSPHRASE, key, theirs
from tests.gateway.stages.test_deliver import letter

pytestmark = [
    pytest.mark.skipif(shutil.which("gpg") is None, reason="gpg is not installed"),
    pytest.mark.timeout(120),
]

PLAIN = Outbound(
    endpoint="sftp/secret-partner",
    data=b"ISA*~",
    media_type="application/EDI-X12",
    idempotency_key="k",
    attributes={"fileName": "A_278_000000001.x12"},
)


async def render(_letter: Letter) -> Outbound:
    return PLAIN


def partner(name: str, folder: Path, *, pgp: bool) -> Partner:
    drop = {"name": name, "host": "127.0.0.1", "user": "u", "host_keys": ["SHA256:x"], "private_key": "env:KEY"}
    own = {"private_key": f"file:{folder}/own", "passphrase": f"file:{folder}/phrase"}
    agreed = own | {"partner_key": f"file:{folder}/partner"}
    return Partner.model_validate({"name": name, "sftp": drop | ({"pgp": agreed} if pgp else {})})


async def test_only_the_drop_that_wants_it_gets_encrypted_files(tmp_path: Path) -> None:
    (tmp_path / "own").write_bytes(key("gateway", PASSPHRASE)[1])
    (tmp_path / "phrase").write_bytes(PASSPHRASE)
    (tmp_path / "partner").write_bytes(key("partner")[0])
    sealing = encrypted([partner("secret-partner", tmp_path, pgp=True), partner("open", tmp_path, pgp=False)], render)
    assert await sealing(letter("sftp/open")) == PLAIN
    sent = await sealing(letter("sftp/secret-partner"))
    assert decrypt(sent.data, theirs(), limit=LIMIT, signed=True) == PLAIN.data
    assert sent.attributes == {"fileName": "A_278_000000001.x12.pgp"}
    assert (sent.idempotency_key, sent.media_type) == ("k", "application/pgp-encrypted")
