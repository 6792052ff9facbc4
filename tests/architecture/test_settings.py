"""Every setting says what it means, and a misspelt one is refused."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from typing import Any

import pytest
from pydantic import BaseModel

from tests.architecture.tree import ADAPTERS

MODULES = (
    "gateway.core.settings",
    "gateway.partners",
    "gateway.stack.settings",
    "workflows.definitions",
    *(f"adapters.{adapter}.settings" for adapter in ADAPTERS),
)


def models() -> Iterator[type[BaseModel]]:
    for name in MODULES:
        for value in vars(importlib.import_module(name)).values():
            if isinstance(value, type) and issubclass(value, BaseModel) and value.__module__ == name:
                yield value


@pytest.mark.parametrize("model", list(models()), ids=lambda model: f"{model.__module__}.{model.__name__}")
def test_described_and_closed(model: type[BaseModel]) -> None:
    assert [name for name, field in model.model_fields.items() if not field.description] == []
    config: dict[str, Any] = dict(model.model_config)
    assert config.get("extra") == "forbid"


def test_every_adapter_has_settings() -> None:
    found = {model.__module__ for model in models()}
    assert found >= {f"adapters.{adapter}.settings" for adapter in ADAPTERS}
