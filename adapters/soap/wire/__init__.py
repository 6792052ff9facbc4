"""The CORE connectivity envelope in SOAP 1.2: bytes ⇄ typed messages. Pure.

Standard: CAQH CORE connectivity rule vC2.2.0 (envelope namespace `…/CORERule2.2.0.xsd`) over SOAP 1.2 document/literal
(W3C, 2007), MTOM/XOP 1.0 for batch payloads, WS-Security UsernameToken profile 1.1.

    Envelope
    ├── Header   wsse:Security/wsse:UsernameToken (optional), anything else unless mustUnderstand
    └── Body     exactly one COREEnvelope… element: unqualified children, in the order of `messages.FIELDS`

Three kinds of answer, from the outside in: a SOAP fault when the SOAP itself is bad (`envelope.Fault`); an envelope
with an ErrorCode when a CORE field is bad (`messages.problems`); an envelope with `Success` whose payload says what is
wrong with the X12 (TA1, 999).

Limits: the caller caps the body; one text node holds at most 10 MB (libxml2 without huge_tree: larger batches come as
MTOM attachments), nesting 256, 50 header blocks, 40 children of the body element, 8 MIME parts: far above any real
CORE message, low enough that a hostile one costs milliseconds.
Not handled: DTDs, processing instructions and entities (SOAP 1.2 forbids them); WS-Addressing (accepted, ignored);
XML signatures and SAML (a mandatory one is refused, never ignored); the vC1.1.0 MIME multipart and vC4.0.0 envelopes.
"""

from adapters.soap.wire.envelope import Fault, Soap, parse_envelope
from adapters.soap.wire.messages import ERROR_TEXTS, KINDS, CoreMessage, Expectations, Kind, problems, read_message
from adapters.soap.wire.multipart import split_package
from adapters.soap.wire.payload import checksum, decode_payload, payload_type
from adapters.soap.wire.render import render_answer, render_fault
from adapters.soap.wire.security import UsernameToken

__all__ = [
    "ERROR_TEXTS",
    "KINDS",
    "CoreMessage",
    "Expectations",
    "Fault",
    "Kind",
    "Soap",
    "UsernameToken",
    "checksum",
    "decode_payload",
    "parse_envelope",
    "payload_type",
    "problems",
    "read_message",
    "render_answer",
    "render_fault",
    "split_package",
]
