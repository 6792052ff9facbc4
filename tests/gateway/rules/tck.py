"""A runner for the DMN Technology Compatibility Kit: models and expected values from a checkout named by the reader."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

from lxml import etree

from gateway.core.errors import ConfigurationError
from gateway.rules.dmn import read_model
from gateway.rules.feel.values import equal, read_temporal

CASE = "{http://www.omg.org/spec/DMN/20160719/testcase}"
INSTANCE = "{http://www.w3.org/2001/XMLSchema-instance}"
NUMBERS = ("decimal", "double", "integer", "int", "float", "long")


@dataclass(frozen=True)
class Result:
    """One test case: its place, whether it passed, and whether an engine that answers null would have."""

    name: str
    passed: bool
    null_passes: bool
    detail: str


def value_of(element: Any) -> Any:
    """A value, list or context of the kit."""
    components = element.findall(f"{CASE}component")
    if components:
        return {each.get("name"): value_of(each) for each in components}
    if (items := element.find(f"{CASE}list")) is not None:
        return [value_of(each) for each in items.findall(f"{CASE}item")]
    value = element.find(f"{CASE}value")
    if value is None or value.get(f"{INSTANCE}nil") == "true":
        return None
    kind, text = (value.get(f"{INSTANCE}type") or "xsd:string").partition(":")[2], value.text or ""
    if kind in NUMBERS:
        return Decimal(text)
    if kind == "boolean":
        return text == "true"
    return text if kind == "string" else read_temporal(text)


def alike(left: Any, right: Any) -> bool:
    """Equal, numbers within the kit's tolerance."""
    if isinstance(left, Decimal) and isinstance(right, Decimal):
        return abs(left - right) <= Decimal("1e-8")
    if isinstance(left, list) and isinstance(right, list):
        return len(left) == len(right) and all(map(alike, left, right))
    if isinstance(left, dict) and isinstance(right, dict):
        return left.keys() == right.keys() and all(alike(left[key], right[key]) for key in left)
    return left is right is None or equal(left, right) is True


def run(folder: Path, *, tables_only: bool = False) -> Iterator[Result]:
    """Every test case below a folder, with the engine under test."""
    for file in sorted(folder.glob("*/*-test-*.xml")):
        tests = etree.parse(file)
        name = tests.findtext(f"{CASE}modelName") or ""
        data = (file.parent / name).read_bytes()
        if tables_only and b"decisionTable" not in data:
            continue
        others = {each.name: each.read_bytes() for each in file.parent.glob("*.dmn") if each.name != name}
        model = read_model(data, others)
        for case in tests.findall(f"{CASE}testCase"):
            yield _case(f"{file.stem}/{case.get('id')}", case, model.evaluate)


def _case(name: str, case: Any, evaluate: Callable[[str, dict[str, Any]], Any]) -> Result:
    inputs = {each.get("name"): value_of(each) for each in case.findall(f"{CASE}inputNode")}
    passed = null_passes = True
    detail = ""
    for node in case.findall(f"{CASE}resultNode"):
        wanted = node.find(f"{CASE}expected")
        expected = value_of(wanted) if wanted is not None else None
        try:
            found = evaluate(node.get("name"), inputs)
        except ConfigurationError as error:
            found = f"refused: {error}"
        refused = isinstance(found, str) and found.startswith("refused: ")
        null_passes = null_passes and expected is None
        if not (alike(found, expected) or (refused and node.get("errorResult") == "true")):
            passed, detail = False, f"{node.get('name')}: {found!r} is not {expected!r}"
    return Result(name, passed, null_passes, detail)
