"""The fact catalogue as data: mappings/facts.yaml, read once."""

from __future__ import annotations

from functools import cache
from importlib import resources

from gateway.rules.catalogue import Catalogue, catalogue_of
from gateway.rules.files import read_yaml


@cache
def catalogue() -> Catalogue:
    """The catalogue that mappings fill and rules read. Raises ConfigurationError when the file is broken."""
    return catalogue_of(read_yaml(resources.files(__package__).joinpath("facts.yaml").read_bytes(), "facts.yaml"))
