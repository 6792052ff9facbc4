"""Typed answer → SOAP bytes: CORE response elements and faults. Built with lxml, so nothing needs escaping by hand."""

from __future__ import annotations

import base64
from collections.abc import Mapping

from lxml import etree

from adapters.soap.wire.envelope import CORE, SOAP_11, SOAP_12, Fault
from adapters.soap.wire.messages import Kind
from adapters.soap.wire.payload import checksum

_UNSAFE_IN_XML = frozenset(range(0x20)) - {0x09, 0x0A}
"""Control characters XML 1.0 forbids, and carriage return, which parsers turn into line feed."""


def render_answer(kind: Kind, fields: Mapping[str, str], payload: bytes | None) -> bytes:
    """The response element for `kind` in an envelope. Length and checksum of a batch payload are computed here.

    `fields` has the text of every field except those three. A real-time payload that XML cannot carry goes as base64.
    """
    values = dict(fields)
    if payload is not None:
        values["Payload"] = _payload_text(payload, is_text=kind.mode == "RealTime")
        values["PayloadLength"] = str(len(payload))
        values["CheckSum"] = checksum(payload)
    envelope, body = _envelope(SOAP_12)
    answer = etree.SubElement(body, f"{{{CORE}}}{kind.answer}", nsmap={"core": CORE})
    for name in kind.answer_fields:
        if name in values:
            etree.SubElement(answer, name).text = values[name]
    return _bytes(envelope)


def render_fault(fault: Fault) -> bytes:
    """The fault in the SOAP version the sender speaks, with Upgrade or NotUnderstood headers where they are due."""
    if fault.soap_11:
        envelope, body = _envelope(SOAP_11)
        _upgrade(envelope)
        element = etree.SubElement(body, f"{{{SOAP_11}}}Fault")
        etree.SubElement(element, "faultcode").text = f"env:{fault.kind}"
        etree.SubElement(element, "faultstring").text = fault.message
        return _bytes(envelope)
    envelope, body = _envelope(SOAP_12)
    if fault.kind == "VersionMismatch":
        _upgrade(envelope)
    if fault.not_understood:
        name = etree.QName(fault.not_understood)
        header = _header(envelope)
        block = etree.SubElement(header, f"{{{SOAP_12}}}NotUnderstood", nsmap={"missing": name.namespace or "urn:none"})
        block.set("qname", f"missing:{name.localname}")
    element = etree.SubElement(body, f"{{{SOAP_12}}}Fault")
    code = etree.SubElement(element, f"{{{SOAP_12}}}Code")
    etree.SubElement(code, f"{{{SOAP_12}}}Value").text = f"env:{fault.kind}"
    reason = etree.SubElement(element, f"{{{SOAP_12}}}Reason")
    text = etree.SubElement(reason, f"{{{SOAP_12}}}Text")
    text.set("{http://www.w3.org/XML/1998/namespace}lang", "en")
    text.text = fault.message
    return _bytes(envelope)


def _payload_text(payload: bytes, *, is_text: bool) -> str:
    if is_text and not _UNSAFE_IN_XML.intersection(payload):
        try:
            return payload.decode()
        except UnicodeDecodeError:
            pass
    return base64.b64encode(payload).decode("ascii")


def _envelope(namespace: str) -> tuple[etree._Element, etree._Element]:
    envelope = etree.Element(f"{{{namespace}}}Envelope", nsmap={"env": namespace})
    return envelope, etree.SubElement(envelope, f"{{{namespace}}}Body")


def _header(envelope: etree._Element) -> etree._Element:
    header = etree.Element(f"{{{etree.QName(envelope).namespace}}}Header")
    envelope.insert(0, header)
    return header


def _upgrade(envelope: etree._Element) -> None:
    """Tell an old sender which version to speak (SOAP 1.2 part 1, appendix A)."""
    upgrade = etree.SubElement(_header(envelope), f"{{{SOAP_12}}}Upgrade", nsmap={"soap12": SOAP_12})
    etree.SubElement(upgrade, f"{{{SOAP_12}}}SupportedEnvelope").set("qname", "soap12:Envelope")


def _bytes(envelope: etree._Element) -> bytes:
    return etree.tostring(envelope, xml_declaration=True, encoding="utf-8")
