"""FHIR XML to and from FHIR JSON (R4 2.6.1, 2.6.2): element order, attributes for id, url and value, XHTML inside.

A document type declaration is refused before any XML parser sees it: no entities, no external files, no network.
Comments and processing instructions are dropped. The JSON form is the same `dict` that `parse_json` gives.
"""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal, InvalidOperation
from typing import Any

from lxml import etree

from adapters.fhir.wire.json_form import LIMITS, Limits, check_tree
from adapters.fhir.wire.schema import RESOURCE, XHTML, Element, elements, is_resource
from gateway.core.errors import InvalidMessage, LimitExceeded, MalformedMessage

FHIR = "http://hl7.org/fhir"
XHTML_NAMESPACE = "http://www.w3.org/1999/xhtml"
SCHEMA_LOCATION = "{http://www.w3.org/2001/XMLSchema-instance}schemaLocation"
"""Allowed on any resource, and without meaning (R4 2.6.1)."""
_INTEGERS = frozenset({"Integer", "PositiveInt", "UnsignedInt", "Integer64"})


def from_xml(body: bytes, limits: Limits = LIMITS) -> dict[str, Any]:
    """Read one resource in XML. Raises LimitExceeded and MalformedMessage, never repeating what was sent."""
    if len(body) > limits.size:
        raise LimitExceeded(f"body larger than {limits.size} bytes")
    if body.count(b"<") > limits.nodes:
        raise LimitExceeded(f"more than {limits.nodes} elements")
    try:
        text = body.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise MalformedMessage("not UTF-8", location=f"byte {error.start}") from None
    if "<!DOCTYPE" in text or "<!ENTITY" in text:
        raise MalformedMessage("a document type declaration is not allowed")
    if text.lstrip().startswith("<?xml"):
        text = text[text.find("?>") + 2 :]
    parser = etree.XMLParser(
        resolve_entities=False, no_network=True, load_dtd=False, remove_comments=True, remove_pis=True
    )
    try:
        root = etree.fromstring(text.strip(), parser)
    except etree.XMLSyntaxError as error:
        raise MalformedMessage("not XML", location=f"line {error.lineno or 0}") from None
    except ValueError:
        raise MalformedMessage("not XML") from None
    resource = _read_resource(root, etree.QName(root).localname, limits.depth)
    check_tree(resource, limits)
    return resource


def to_xml(resource: dict[str, Any]) -> bytes:
    """Write one resource in XML with the R4 element order. Raises InvalidMessage for elements R4 does not have."""
    root = _write_resource(resource, "")
    etree.cleanup_namespaces(root)
    return etree.tostring(root, encoding="UTF-8", xml_declaration=True)


def _read_resource(node: etree._Element, path: str, depth: int) -> dict[str, Any]:
    name = etree.QName(node)
    if name.namespace != FHIR or not is_resource(name.localname):
        raise MalformedMessage("not a FHIR R4 resource", location=path)
    return {"resourceType": name.localname} | _read_complex(node, name.localname, path, depth)


def _read_complex(node: etree._Element, type_name: str, path: str, depth: int) -> dict[str, Any]:
    if depth <= 0:
        raise LimitExceeded("nested too deep", location=path)
    shapes = elements(type_name)
    value: dict[str, Any] = {}
    for attribute, content in _attributes(node):
        if attribute == SCHEMA_LOCATION:
            continue
        if (attribute == "id" and not is_resource(type_name)) or (attribute == "url" and type_name == "Extension"):
            value[attribute] = content
        else:
            raise MalformedMessage("an attribute FHIR does not have", location=path)
    if (node.text or "").strip() or any((child.tail or "").strip() for child in node):
        raise MalformedMessage("text outside of a value attribute", location=path)
    for child in node:
        name = etree.QName(child)
        shape = shapes.get(name.localname)
        inside = f"{path}.{name.localname}" if shape else path
        expected = XHTML_NAMESPACE if shape and shape.type == XHTML else FHIR
        if shape is None or name.namespace != expected:
            raise MalformedMessage("an element R4 does not have here", location=inside)
        _read_child(value, child, name.localname, shape, inside, depth - 1)
    return value


def _attributes(node: etree._Element) -> Iterator[tuple[str, str]]:
    """Name and value, one by one: `attrib.items()` looks each one up from the first, which takes seconds for thousands.

    The first that FHIR does not have ends the reading.
    """
    return ((str(name), str(node.get(name))) for name in node.attrib)


def _read_child(value: dict[str, Any], node: etree._Element, name: str, shape: Element, path: str, depth: int) -> None:
    companion: dict[str, Any] | None = None
    if shape.type == XHTML:
        content: Any = etree.tostring(node, encoding="unicode", with_tail=False)
    elif shape.type == RESOURCE:
        if len(node) != 1:
            raise MalformedMessage("one resource expected", location=path)
        content = _read_resource(node[0], path, depth)
    elif shape.primitive:
        content, companion = _read_primitive(node, shape, path, depth)
    else:
        content = _read_complex(node, shape.type, path, depth)
    if not shape.many:
        if name in value or f"_{name}" in value:
            raise MalformedMessage("an element that may not repeat", location=path)
        if content is not None:
            value[name] = content
        if companion:
            value[f"_{name}"] = companion
        return
    siblings = value.setdefault(name, [])
    siblings.append(content)
    companions = value.get(f"_{name}")
    if companion and companions is None:
        companions = value[f"_{name}"] = [None] * (len(siblings) - 1)
    if companions is not None:
        companions.append(companion)


def _read_primitive(node: etree._Element, shape: Element, path: str, depth: int) -> tuple[Any, dict[str, Any] | None]:
    companion: dict[str, Any] = {}
    content: Any = None
    for attribute, text in _attributes(node):
        if attribute == "value":
            content = _typed(text, shape.type, path)
        elif attribute == "id":
            companion["id"] = text
        else:
            raise MalformedMessage("an attribute FHIR does not have", location=path)
    for child in node:
        if etree.QName(child) != etree.QName(FHIR, "extension"):
            raise MalformedMessage("an element R4 does not have here", location=path)
        companion.setdefault("extension", []).append(_read_complex(child, "Extension", f"{path}.extension", depth))
    return content, companion or None


def _typed(text: str, type_name: str, path: str) -> Any:
    if type_name == "bool":
        if text not in ("true", "false"):
            raise MalformedMessage("not a boolean", location=path)
        return text == "true"
    if type_name in _INTEGERS or type_name == "Decimal":
        if len(text) > LIMITS.digits:
            raise LimitExceeded("a number too long", location=path)
        try:
            number = Decimal(text)
        except InvalidOperation:
            raise MalformedMessage("not a number", location=path) from None
        if not number.is_finite() or abs(number.adjusted()) > LIMITS.exponent:
            raise LimitExceeded("a number out of range", location=path)
        return int(number) if number == number.to_integral_value() and _plain(text) else number
    return text


def _plain(text: str) -> bool:
    return len(text) <= 18 and text.lstrip("-").isdigit()


def _write_resource(resource: dict[str, Any], path: str) -> etree._Element:
    type_name = resource.get("resourceType")
    if not isinstance(type_name, str) or not is_resource(type_name):
        raise InvalidMessage("not a FHIR R4 resource", location=path)
    node = etree.Element(etree.QName(FHIR, type_name), nsmap={None: FHIR})  # type: ignore[dict-item]
    _write_complex(node, {k: v for k, v in resource.items() if k != "resourceType"}, type_name, path or type_name, True)
    return node


def _write_complex(
    node: etree._Element, value: dict[str, Any], type_name: str, path: str, resource: bool = False
) -> None:
    shapes = elements(type_name)
    if any(name.removeprefix("_") not in shapes for name in value):
        raise InvalidMessage("an element R4 does not have here", location=path)
    for name, shape in shapes.items():
        if name not in value and f"_{name}" not in value:
            continue
        if (name == "id" and not resource) or (name == "url" and type_name == "Extension"):
            node.set(name, str(value[name]))
            continue
        contents, companions = value.get(name), value.get(f"_{name}")
        if not shape.many:
            contents, companions = [contents], [companions]
        contents, companions = contents or [], companions or []
        for index in range(max(len(contents), len(companions))):
            content = contents[index] if index < len(contents) else None
            companion = companions[index] if index < len(companions) else None
            _write_child(node, name, shape, content, companion, f"{path}.{name}")


def _write_child(parent: etree._Element, name: str, shape: Element, content: Any, companion: Any, path: str) -> None:
    if shape.type == XHTML and isinstance(content, str):
        parser = etree.XMLParser(resolve_entities=False, no_network=True, load_dtd=False)
        try:
            parent.append(etree.fromstring(content, parser))
        except etree.XMLSyntaxError:
            raise InvalidMessage("a narrative that is not XHTML", location=path) from None
        return
    node = etree.SubElement(parent, etree.QName(FHIR, name))
    if shape.type == RESOURCE:
        node.append(_write_resource(content, path))
    elif not shape.primitive:
        _write_complex(node, content, shape.type, path)
    else:
        if isinstance(companion, dict):
            _write_complex(node, companion, "Element", path)
        if content is not None:
            text = ("true" if content else "false") if isinstance(content, bool) else str(content)
            node.set("value", text)
