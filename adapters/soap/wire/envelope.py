"""Bytes → SOAP 1.2 envelope, hardened: nothing is resolved, fetched or expanded.

The text is decoded here, by a closed list of encodings, so that the search for a DTD and the XML parser read the same
characters; a document type declaration is refused before libxml2 sees a byte.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime

from lxml import etree

from adapters.soap.wire.security import WSSE, UsernameToken, expiry, username_token
from gateway.core.errors import SenderError

SOAP_12 = "http://www.w3.org/2003/05/soap-envelope"
SOAP_11 = "http://schemas.xmlsoap.org/soap/envelope/"
CORE = "http://www.caqh.org/SOAP/WSDL/CORERule2.2.0.xsd"
ADDRESSING = "http://www.w3.org/2005/08/addressing"

ROLES = ("", f"{SOAP_12}/role/next", f"{SOAP_12}/role/ultimateReceiver")
"""Header blocks for these roles are addressed to us."""

MAXIMUM_HEADERS = 50
MAXIMUM_FIELDS = 40

_DECLARATION = re.compile(r"\s*<\?xml\s[^>]{0,200}\?>")
_ENCODING = re.compile(rb"""^\s*<\?xml\s[^>]{0,120}?encoding\s*=\s*["']([A-Za-z0-9._-]{1,40})["']""")
_ENCODINGS = {"utf-8": "utf-8", "us-ascii": "ascii", "iso-8859-1": "latin-1", "windows-1252": "cp1252"}
_MARKS = ((b"\xff\xfe", "utf-16"), (b"\xfe\xff", "utf-16"), (b"\xef\xbb\xbf", "utf-8-sig"))


class Fault(SenderError):
    """The SOAP message itself cannot be processed; becomes a SOAP fault."""

    code = "soap-fault"

    def __init__(self, kind: str, message: str, *, not_understood: str = "", soap_11: bool = False) -> None:
        """`kind`: VersionMismatch, MustUnderstand, Sender or Receiver (SOAP 1.2 part 1, 5.4.6)."""
        super().__init__(message)
        self.kind = kind
        self.not_understood = not_understood
        self.soap_11 = soap_11
        """The sender speaks SOAP 1.1 and must be answered in it."""


@dataclass(frozen=True, slots=True)
class Soap:
    """A parsed envelope: the one body element, and who says it sent it."""

    body: etree._Element
    token: UsernameToken | None
    expires: datetime | None
    """wsu:Timestamp/wsu:Expires, UTC."""


def decode(data: bytes) -> str:
    """XML bytes → text without its XML declaration, in UTF-8, UTF-16 with a mark, ASCII, Latin-1 or Windows-1252.

    Raises Fault (Sender) on another encoding or on bytes that are not in it.
    """
    encoding = next((name for mark, name in _MARKS if data.startswith(mark)), "")
    if not encoding:
        declared = _ENCODING.match(data[:200])
        encoding = _ENCODINGS.get(declared[1].decode("ascii").lower(), "") if declared else "utf-8"
    if not encoding:
        raise Fault("Sender", "this character encoding is not accepted; use UTF-8")
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError:
        raise Fault("Sender", "the bytes are not valid in the character encoding they claim") from None
    return _DECLARATION.sub("", text, count=1)


def refuse_prolog(text: str) -> None:
    """Refuse anything but white space and comments before the root element (SOAP 1.2 part 1, section 5).

    Raises Fault (Sender).
    """
    position = 0
    while True:
        position = text.find("<", position)
        if position < 0:
            return
        if text.startswith("<!--", position):
            position = text.find("-->", position)
            if position < 0:
                raise Fault("Sender", "not well-formed XML")
            continue
        if text.startswith("<!", position):
            raise Fault("Sender", "a document type declaration is not allowed in SOAP")
        if text.startswith("<?", position):
            raise Fault("Sender", "a processing instruction is not allowed in SOAP")
        return


def parse_xml(data: bytes) -> etree._Element:
    """Parse within the limits of the package; comments and processing instructions are dropped.

    Raises Fault (Sender).
    """
    text = decode(data)
    refuse_prolog(text)
    parser = etree.XMLParser(
        encoding="utf-8",
        resolve_entities=False,
        no_network=True,
        load_dtd=False,
        dtd_validation=False,
        huge_tree=False,
        remove_comments=True,
        remove_pis=True,
    )
    try:
        root = etree.fromstring(text.encode(), parser)
    except (etree.XMLSyntaxError, ValueError):
        raise Fault("Sender", "not well-formed XML") from None
    if root.getroottree().docinfo.doctype:  # type: ignore[union-attr]  # the stubs lack it
        raise Fault("Sender", "a document type declaration is not allowed in SOAP")
    return root


def parse_envelope(data: bytes) -> Soap:
    """Bytes → envelope. Checks version, mandatory headers and that the body holds one element.

    Raises Fault.
    """
    root = parse_xml(data)
    name = etree.QName(root)
    if name.localname != "Envelope":
        raise Fault("Sender", "the root element is not a SOAP envelope")
    if name.namespace != SOAP_12:
        raise Fault("VersionMismatch", "only SOAP 1.2 is spoken here", soap_11=name.namespace == SOAP_11)
    header = root.find(f"{{{SOAP_12}}}Header")
    body = root.find(f"{{{SOAP_12}}}Body")
    blocks = list(header) if header is not None else []
    if len(blocks) > MAXIMUM_HEADERS:
        raise Fault("Sender", f"more than {MAXIMUM_HEADERS} header blocks")
    security = None
    for block in blocks:
        if block.tag == f"{{{WSSE}}}Security":
            security = block
        _understand(block)
    if body is None or len(body) != 1 or len(body[0]) > MAXIMUM_FIELDS:
        raise Fault("Sender", "the body must hold exactly one CORE envelope")
    return Soap(body[0], username_token(security), expiry(security))


def _understand(block: etree._Element) -> None:
    """Refuse a mandatory header block that is addressed to us and that we do not process."""
    if block.get(f"{{{SOAP_12}}}mustUnderstand", "").strip() not in {"1", "true"}:
        return
    if block.get(f"{{{SOAP_12}}}role", "").strip() not in ROLES:
        return
    name = etree.QName(block)
    if name.namespace == ADDRESSING:
        return
    if block.tag == f"{{{WSSE}}}Security":
        known = {"UsernameToken", "Timestamp"}
        if all(etree.QName(child).localname in known for child in block):
            return
        raise Fault("MustUnderstand", "only a UsernameToken is processed as security token", not_understood=block.tag)
    raise Fault("MustUnderstand", "a mandatory header is not understood", not_understood=block.tag)
