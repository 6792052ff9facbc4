"""The XML of a DMN model as plain elements, hostile documents refused.

Limits: 4 MB; a document type definition of any kind ends the reading, so neither entities nor files nor the network
are ever touched.
"""

from __future__ import annotations

from collections.abc import Iterator

from lxml import etree

from gateway.core.errors import ConfigurationError
from gateway.rules.codes.files import xml_of

MAX_XML = 4_000_000
MAX_XML_DEPTH = 200


def parse(data: bytes) -> etree._Element:
    """The root element. Raises ConfigurationError."""
    if len(data) > MAX_XML:
        raise ConfigurationError(f"the model is larger than {MAX_XML} bytes")
    root = xml_of(data)
    if local(root) != "definitions":
        raise ConfigurationError("not a DMN model: its root must be definitions")
    return root


def local(element: etree._Element) -> str:
    """The name without its namespace; empty for comments."""
    return etree.QName(element).localname if isinstance(element.tag, str) else ""


def children(element: etree._Element, *names: str) -> list[etree._Element]:
    """Child elements of these names, in order."""
    return [child for child in element if local(child) in names]


def child(element: etree._Element | None, name: str) -> etree._Element | None:
    """The first child of a name."""
    found = children(element, name) if element is not None else []
    return found[0] if found else None


def elements(element: etree._Element) -> Iterator[etree._Element]:
    """Child elements, comments left out."""
    return (each for each in element if local(each))


def text_of(element: etree._Element | None) -> str:
    """The content of the `text` child."""
    found = child(element, "text")
    return (found.text or "").strip() if found is not None else ""


def name_of(element: etree._Element) -> str:
    """The name attribute, spaces normalized."""
    return " ".join((element.get("name") or "").split())
