"""MTOM packages: `multipart/related; type="application/xop+xml"` → root part and the others by `cid:` reference.

Own splitter on bytes: a MIME library would decode, re-wrap or normalize line ends, and a checksum is over exact bytes.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from email.message import Message
from urllib.parse import unquote

from adapters.soap.wire.envelope import Fault

MAXIMUM_PARTS = 8
_HEAD_END = re.compile(rb"\r?\n\r?\n")
_BOUNDARY = re.compile(r"[0-9A-Za-z'()+_,./:=? -]{1,70}")


def media_type(content_type: str) -> tuple[str, Mapping[str, str]]:
    """`Content-Type` header → type in lower case and its parameters by lower-case name."""
    message = Message()
    message["Content-Type"] = content_type.replace("\r", " ").replace("\n", " ")
    parameters = message.get_params(failobj=[]) or []
    return message.get_content_type(), {name.lower(): value for name, value in parameters[1:]}


def split_package(data: bytes, content_type: str) -> tuple[bytes, dict[str, bytes]]:
    """HTTP body → (root XML, other parts by their `cid:` reference). A plain body is its own root.

    Raises Fault (Sender) on a broken package.
    """
    kind, parameters = media_type(content_type)
    if kind != "multipart/related":
        return data, {}
    boundary = parameters.get("boundary", "")
    if not _BOUNDARY.fullmatch(boundary):
        raise Fault("Sender", "the multipart package names no boundary")
    parts = [_part(chunk) for chunk in _chunks(data, boundary.encode("ascii"))]
    start = parameters.get("start", "").strip("<>")
    root = next((body for name, body in parts if name == start), None) if start else (parts[0][1] if parts else None)
    if root is None:
        raise Fault("Sender", "the multipart package has no root part")
    return root, {f"cid:{name}": body for name, body in parts}


def _chunks(data: bytes, boundary: bytes) -> list[bytes]:
    """The parts between the delimiter lines; the line end before a delimiter belongs to the delimiter (RFC 2046)."""
    delimiter = re.compile(rb"(?:\A|\r?\n)--" + re.escape(boundary) + rb"(--)?[ \t]*(?:\r?\n|\Z)")
    chunks: list[bytes] = []
    position: int | None = None
    for match in delimiter.finditer(data):
        if position is not None:
            chunks.append(data[position : match.start()])
        if match[1]:
            return chunks
        position = match.end()
        if len(chunks) >= MAXIMUM_PARTS:
            raise Fault("Sender", f"more than {MAXIMUM_PARTS} parts")
    raise Fault("Sender", "the multipart package does not end")


def _part(chunk: bytes) -> tuple[str, bytes]:
    """(content id, body) of one part. Only identity transfer encodings: MTOM over HTTP is binary."""
    end = _HEAD_END.search(chunk)
    if end is None:
        raise Fault("Sender", "a part of the package has no headers")
    head = chunk[: end.start()].decode("latin-1")
    headers = {
        name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in head.splitlines())
    }
    if headers.get("content-transfer-encoding", "binary").lower() not in {"binary", "8bit", "7bit"}:
        raise Fault("Sender", "a part of the package has a transfer encoding other than binary")
    return unquote(headers.get("content-id", "").strip("<>")), chunk[end.end() :]
