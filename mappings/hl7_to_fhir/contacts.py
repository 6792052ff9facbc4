"""Names, addresses and numbers to reach people at: XPN → HumanName, XAD → Address, XTN → ContactPoint."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from adapters.hl7.wire import NULL

from . import primitives
from .datatypes import EXTENSION, datatype, period
from .environment import Env, Parts, padded, part, subs
from .primitives import string
from .vocabulary import Vocabulary, vocabulary


@datatype("XPN", {1: "family", 2: "given", 3: "given", 4: "suffix", 5: "prefix", 6: "suffix", 7: "use",
                  8: "extension", 10: "period", 11: "extension", 12: "period.start", 13: "period.end",
                  14: "suffix", 15: "given"})  # fmt: skip
def xpn(parts: Parts, env: Env, _: Vocabulary | None) -> Any:
    """XPN → HumanName."""
    result = human_name(parts)
    if result is None or len(parts) < 8:
        return result
    if kind := part(parts, 7):
        target = vocabulary("NameType").lookup(kind)
        if target and target[1].endswith("name-use"):
            result["use"] = target[0]
        else:
            result.setdefault("extension", []).append(
                {"url": "urn:gateway:hl7v2:XPN.7", "valueCode": " ".join(kind.split())}
            )
    if representation := primitives.code(part(parts, 8)):
        url = EXTENSION + "iso21090-EN-representation"
        known = {"A": "ABC", "I": "IDE", "P": "SYL"}.get(representation)
        value = (
            {"url": url, "valueCode": known}
            if known
            else {"url": "urn:gateway:hl7v2:XPN.8", "valueCode": representation}
        )
        result.setdefault("extension", []).append(value)
    if span := period(part(parts, 12) or part(parts, 10), part(parts, 13) or part(parts, 10, 2), env):
        result["period"] = span
    if order := primitives.code(part(parts, 11)):
        result.setdefault("extension", []).append({"url": EXTENSION + "humanname-assembly-order", "valueCode": order})
    if professional := string(part(parts, 14)):
        result.setdefault("suffix", []).append(professional)
    if called := string(part(parts, 15)):
        result.setdefault("given", []).append(called)
    return result


_SURNAME = {
    2: "humanname-own-prefix",
    3: "humanname-own-name",
    4: "humanname-partner-prefix",
    5: "humanname-partner-name",
}


def human_name(parts: Parts, offset: int = 0) -> dict[str, Any] | None:
    """Family, given, middle, suffix, prefix, degree at `offset` + 1 … + 6 → HumanName."""
    result: dict[str, Any] = {}
    leaves = padded(parts)
    family = leaves[offset + 1]
    if family.strip() and family != NULL:
        result["family"] = family
        if extensions := _surname(parts, offset + 1):
            result["_family"] = {"extension": extensions}
    given = [word for word in leaves[offset + 2 : offset + 4] if word.strip() and word != NULL]
    if given:
        result["given"] = given
    prefix = leaves[offset + 5]
    if prefix.strip() and prefix != NULL:
        result["prefix"] = [prefix]
    suffixes = [word for word in (leaves[offset + 4], leaves[offset + 6]) if word.strip() and word != NULL]
    if suffixes:
        result["suffix"] = suffixes
    return result or None


def _surname(parts: Parts, component: int) -> list[dict[str, Any]]:
    """The parts of a family name (FN)."""
    return [
        {"url": EXTENSION + _SURNAME[number], "valueString": value}
        for number, value in enumerate(subs(parts, component)[1:5], 2)
        if value.strip()
    ]


@datatype("XPN-text", dict.fromkeys(range(1, 16), ""))
def xpn_text(parts: Parts, _env: Env, _: Vocabulary | None) -> Any:
    """XPN → one line of text."""
    order = [part(parts, number) for number in (5, 2, 3, 1, 4, 6)]
    return " ".join(word for word in order if word.strip() and word != '""') or None


@datatype("XAD", {1: "line", 2: "line", 3: "city", 4: "state", 5: "postalCode", 6: "country", 7: "use", 8: "line",
                  9: "district", 10: "extension", 12: "period", 13: "period.start", 14: "period.end",
                  19: "line"})  # fmt: skip
def xad(parts: Parts, env: Env, _: Vocabulary | None) -> Any:
    """XAD, AD, SAD → Address."""
    result: dict[str, Any] = {}
    leaves = padded(parts)
    lines = [leaf for leaf in subs(parts, 1) if leaf.strip() and leaf != NULL]
    lines += [text for text in (leaves[2], leaves[8], leaves[19]) if text.strip() and text != NULL]
    if kind := leaves[7]:
        for name, element in (("AddressType[Type]", "type"), ("AddressType[Use]", "use")):
            if target := vocabulary(name).lookup(kind):
                result[element] = target[0]
        if not result:
            result["extension"] = [{"url": "urn:gateway:hl7v2:XAD.7", "valueCode": " ".join(kind.split())}]
    if lines:
        result["line"] = lines
    for number, element in ((3, "city"), (9, "district"), (4, "state"), (5, "postalCode"), (6, "country")):
        if (text := leaves[number]).strip() and text != NULL:
            result[element] = text
    if len(parts) > 10:
        if census := string(leaves[10]):
            url = EXTENSION + "iso21090-ADXP-censusTract"
            result.setdefault("extension", []).append({"url": url, "valueString": census})
        if span := period(leaves[13] or leaves[12], leaves[14] or part(parts, 12, 2), env):
            result["period"] = span
    return result or None


_PHONE_EXTENSIONS = {
    5: "contactpoint-country",
    6: "contactpoint-area",
    7: "contactpoint-local",
    8: "contactpoint-extension",
}


@lru_cache(maxsize=512)
def _coded(kind: str, equipment: str) -> tuple[str, str, bool]:
    """System and use of a number by its codes (XTN.2, XTN.3), and whether they say that it is a mail address."""
    target = vocabulary("TelecommunicationEquipmentType").lookup(equipment) if equipment else None
    known = vocabulary("TelecommunicationUseCode").lookup(kind) if kind else None
    system = target[0] if target and target[1].endswith("contact-point-system") else "phone"
    use = next((found[0] for found in (target, known) if found and found[1].endswith("contact-point-use")), "")
    return system, use, equipment.lower() == "internet" or kind == "NET"


@datatype("XTN", {1: "value", 2: "use", 3: "system", 4: "value", 5: "extension", 6: "extension", 7: "extension",
                  8: "extension", 9: "extension", 12: "value", 13: "period.start", 14: "period.end",
                  18: "rank"})  # fmt: skip
def xtn(parts: Parts, env: Env, _: Vocabulary | None) -> Any:
    """XTN, TN → ContactPoint. The unformatted number wins over the parts, the parts over the old first component."""
    leaves = padded(parts)
    first, kind, equipment, mail = leaves[1:5]
    system, use, mailing = _coded(kind, equipment)
    value = ""
    if mailing or (mail and not equipment):
        system, value = "email", mail or first
    numbers = leaves[5:9]
    country, area, local, extension = numbers
    assembled = " ".join(word for word in (f"+{country.lstrip('+')}" if country else "", area, local) if word)
    if extension and assembled:
        assembled += f" X{extension}"
    value = value or leaves[12] or (assembled if local else "") or first or assembled or mail
    if not value.strip() or value == NULL:
        return None
    result: dict[str, Any] = {"system": system, "value": value}
    if use:
        result["use"] = use
    extensions: list[dict[str, Any]] = [
        {"url": EXTENSION + _PHONE_EXTENSIONS[number], "valueString": text}
        for number, text in zip((5, 6, 7, 8), numbers, strict=True)
        if text.strip() and text != NULL
    ]
    if kind and not use:
        extensions.append({"url": "urn:gateway:hl7v2:XTN.2", "valueCode": " ".join(kind.split())})
    if note := string(leaves[9]):
        extensions.append({"url": "urn:gateway:hl7v2:XTN.9", "valueString": note})
    if extensions:
        result["extension"] = extensions
    if len(parts) > 13:
        if span := period(leaves[13], leaves[14], env):
            result["period"] = span
        if (rank := primitives.integer(leaves[18], 1)) is not None:
            result["rank"] = rank
    return result
