"""The CORE messages as one table: which fields each has, in which order, and what a field must look like.

ErrorCode grammar (CORE 270, section 4.3): `Success`, `<Field>Required`, `<Field>Illegal`, `<Field>NotUnderstood`,
`VersionMismatch`, `UnAuthorized`, `ChecksumMismatched`, `Sender`, `Receiver`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from urllib.parse import unquote

from lxml import etree

from adapters.soap.wire.envelope import CORE, Fault
from adapters.soap.wire.payload import checksum, decode_payload
from gateway.core.errors import Issue, MalformedMessage

FIELDS = (
    "PayloadType",
    "ProcessingMode",
    "PayloadID",
    "PayloadLength",
    "TimeStamp",
    "SenderID",
    "ReceiverID",
    "CORERuleVersion",
    "CheckSum",
    "Payload",
    "ErrorCode",
    "ErrorMessage",
)
"""Every field of every message, in the schema's order."""

BATCH_FIELDS = ("PayloadLength", "CheckSum", "Payload")
"""Fields that a real-time message lacks (the first two) or that a batch message without payload leaves out."""

ANSWER_FIELDS = ("ErrorCode", "ErrorMessage")

ERROR_TEXTS = {
    "Success": "None",
    "Required": "the field is missing or empty",
    "Illegal": "the field has a value that is not allowed",
    "NotUnderstood": "the field has a value that is not known here",
    "VersionMismatch": "this version of the CORE rule is not served here",
    "UnAuthorized": "the sender could not be authenticated or may not do this",
    "ChecksumMismatched": "the SHA-1 checksum of the payload is another one",
    "Sender": "the envelope does not follow the schema",
    "Receiver": "the receiver cannot process the message now; send it again later",
}
"""Own wording of the error codes; the field name is put before it."""


@dataclass(frozen=True, slots=True)
class Kind:
    """One request element: its processing mode, its fields, and the element that answers it."""

    name: str
    mode: str
    answer: str
    required: tuple[str, ...]
    optional: tuple[str, ...] = ()

    @property
    def answer_fields(self) -> tuple[str, ...]:
        """Fields the answering element may have, in order."""
        absent = () if self.mode == "Batch" else ("PayloadLength", "CheckSum")
        return tuple(name for name in FIELDS if name not in absent)


def _request(*, without: Iterable[str]) -> tuple[str, ...]:
    return tuple(name for name in FIELDS if name not in {*without, *ANSWER_FIELDS})


def _batch(name: str, answer: str) -> Kind:
    return Kind(f"COREEnvelope{name}", "Batch", f"COREEnvelope{answer}", _request(without=BATCH_FIELDS), BATCH_FIELDS)


KINDS = {
    kind.name: kind
    for kind in (
        Kind(
            "COREEnvelopeRealTimeRequest",
            "RealTime",
            "COREEnvelopeRealTimeResponse",
            _request(without=("PayloadLength", "CheckSum")),
        ),
        Kind("COREEnvelopeBatchSubmission", "Batch", "COREEnvelopeBatchSubmissionResponse", _request(without=())),
        _batch("BatchSubmissionAckRetrievalRequest", "BatchSubmissionAckRetrievalResponse"),
        _batch("BatchResultsRetrievalRequest", "BatchResultsRetrievalResponse"),
        _batch("BatchResultsAckSubmission", "BatchResultsAckSubmissionResponse"),
    )
}
"""Served requests by element name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CoreMessage:
    """A request whose fields are present; `problems` says whether they are right."""

    kind: Kind
    fields: Mapping[str, str]
    """Field name → text, stripped; `Payload` is in `payload`."""
    payload: bytes
    shape: tuple[Issue, ...] = ()
    """What is wrong with the children as such: unknown, repeated, out of order, wrongly qualified."""

    @property
    def payload_id(self) -> str:
        """PayloadID in lower case: UUIDs compare without case (RFC 4122)."""
        return self.fields.get("PayloadID", "").lower()


@dataclass(frozen=True, slots=True, kw_only=True)
class Expectations:
    """What one endpoint accepts."""

    receivers: tuple[str, ...] = ()
    """Our ReceiverIDs; empty: any."""
    payload_types: tuple[str, ...] = ()
    """Patterns of PayloadType served here; empty: any that looks like one."""
    versions: tuple[str, ...] = ("2.2.0", "v2.2.0")
    is_strict: bool = False
    """Refuse qualified children and another order, as the published schema does; else read by local name."""


def read_message(body: etree._Element, parts: Mapping[str, bytes] | None = None) -> CoreMessage:
    """Body element → message; `parts` are the MIME parts by content id that XOP includes refer to.

    Raises Fault (Sender) when it is no CORE request that is served here.
    """
    name = etree.QName(body)
    kind = KINDS.get(name.localname)
    if kind is None or name.namespace != CORE:
        raise Fault("Sender", "the body element is not a CORE request that is served here")
    fields: dict[str, str] = {}
    shape: list[Issue] = []
    payload = b""
    last = -1
    for position, child in enumerate(body, start=1):
        field = etree.QName(child)
        where = f"{kind.name}[{position}]"
        if field.localname not in (*kind.required, *kind.optional):
            shape.append(Issue("Sender", where, "an element that does not belong here"))
            continue
        if field.localname in fields:
            shape.append(Issue(f"{field.localname}Illegal", where, "the field is repeated"))
            continue
        order = FIELDS.index(field.localname)
        if field.namespace or order < last:
            shape.append(Issue("Sender", where, "the field is qualified or out of order", severity="warning"))
        last = max(last, order)
        if field.localname == "Payload":
            fields["Payload"] = "present"
            payload = _payload(child, parts or {}, is_text=kind.mode == "RealTime")
        else:
            fields[field.localname] = _text(child).strip()
    return CoreMessage(kind=kind, fields=fields, payload=payload, shape=tuple(shape))


_XOP = "{http://www.w3.org/2004/08/xop/include}Include"


def _payload(element: etree._Element, parts: Mapping[str, bytes], *, is_text: bool) -> bytes:
    """The payload's bytes; empty when it is missing or cannot be read (then it is `PayloadIllegal`)."""
    include = element.find(_XOP)
    if include is not None:
        return parts.get(unquote(include.get("href", "")), b"")
    try:
        return decode_payload(_text(element), is_text=is_text)
    except MalformedMessage:
        return b""


def _text(element: etree._Element) -> str:
    return "".join(str(part) for part in element.itertext())


def _time_stamp(value: str) -> bool:
    """An xs:dateTime with a zone."""
    try:
        return "T" in value and datetime.fromisoformat(value).astimezone(UTC).year > 0 and bool(_ZONE.search(value))
    except (ValueError, OverflowError):
        return False


_ZONE = re.compile(r"(Z|[+-]\d\d:\d\d)$")
_UUID = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
_PAYLOAD_TYPE = re.compile(r"[A-Za-z0-9_]{1,100}")
_IDENTIFIER = re.compile(r"[\x21-\x7e]([\x20-\x7e]{0,48}[\x21-\x7e])?")
_LENGTH = re.compile(r"\d{1,10}")
_CHECKSUM = re.compile(r"[0-9a-fA-F]{40}")


def problems(message: CoreMessage, expected: Expectations) -> tuple[Issue, ...]:
    """Every violation, the one to be reported first: version, shape, then the fields in their order."""
    fields, kind = message.fields, message.kind
    found: list[Issue] = []

    def report(code: str, field: str) -> None:
        ending = next((end for end in ("Required", "Illegal", "NotUnderstood") if code == field + end), code)
        found.append(Issue(code, field, ERROR_TEXTS[ending]))

    version = fields.get("CORERuleVersion", "")
    if version and version not in expected.versions:
        report("VersionMismatch", "CORERuleVersion")
    found += [issue for issue in message.shape if issue.severity == "error" or expected.is_strict]
    for field in kind.required:
        if not fields.get(field):
            report(f"{field}Required", field)
    for field, legal in _LEGAL.items():
        value = fields.get(field)
        if value and not legal(value):
            report(f"{field}Illegal", field)
    if fields.get("ProcessingMode") not in (kind.mode, "", None):
        report("ProcessingModeIllegal", "ProcessingMode")
    if expected.receivers and fields.get("ReceiverID") and fields["ReceiverID"] not in expected.receivers:
        report("ReceiverIDIllegal", "ReceiverID")
    # Whoever serves results takes their acknowledgements, whose type no request has.
    kinds = () if "ResultsAck" in kind.name else expected.payload_types
    if kinds and fields.get("PayloadType") and not any(re.fullmatch(each, fields["PayloadType"]) for each in kinds):
        report("PayloadTypeNotUnderstood", "PayloadType")
    found += _payload_problems(message)
    return tuple(found)


_LEGAL: dict[str, Callable[[str], bool]] = {
    "PayloadType": lambda value: bool(_PAYLOAD_TYPE.fullmatch(value)),
    "PayloadID": lambda value: bool(_UUID.fullmatch(value)),
    "PayloadLength": lambda value: bool(_LENGTH.fullmatch(value)),
    "TimeStamp": _time_stamp,
    "SenderID": lambda value: bool(_IDENTIFIER.fullmatch(value)),
    "ReceiverID": lambda value: bool(_IDENTIFIER.fullmatch(value)),
    "CheckSum": lambda value: bool(_CHECKSUM.fullmatch(value)),
}


def _payload_problems(message: CoreMessage) -> list[Issue]:
    """Payload against its length and checksum. A missing payload was reported before."""
    fields = message.fields
    if "Payload" not in fields or (not message.payload and "Payload" in message.kind.optional):
        return []
    if not message.payload:
        return [Issue("PayloadIllegal", "Payload", "neither X12 nor base64 of X12, or its attachment is missing")]
    found = []
    length, digest = fields.get("PayloadLength", ""), fields.get("CheckSum", "")
    if _LENGTH.fullmatch(length) and int(length) != len(message.payload):
        found.append(Issue("PayloadLengthIllegal", "PayloadLength", "the payload has another length"))
    if _CHECKSUM.fullmatch(digest) and digest.lower() != checksum(message.payload):
        found.append(Issue("ChecksumMismatched", "CheckSum", ERROR_TEXTS["ChecksumMismatched"]))
    return found
