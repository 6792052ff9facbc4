"""Rule sets shipped with the gateway: one folder each, with scenarios beside the rules.

`load("demo", catalogue)` gives a release. Templates are starting points: a payer copies one, sets its own codes and
dates, and releases it as its own. Codes under licence (CPT) are never here: such sets hold made-up codes to replace.
What no public source gives (a reason of list 886, the plan's own document) says "to be set by the policy owner".
"""

from __future__ import annotations

from importlib import resources

from gateway.core.errors import ConfigurationError
from gateway.rules.catalogue import Catalogue
from gateway.rules.files import assemble
from gateway.rules.release import Release, release


def names() -> list[str]:
    """The shipped templates."""
    root = resources.files(__name__)
    return sorted(each.name for each in root.iterdir() if each.joinpath("ruleset.yaml").is_file())


def files_of(name: str) -> dict[str, bytes]:
    """The files of one template. Raises ConfigurationError for an unknown name."""
    if name not in names():
        raise ConfigurationError(f"no template {name[:40]!r}; there are {', '.join(names())}")
    folder = resources.files(__name__).joinpath(name)
    return {each.name: each.read_bytes() for each in folder.iterdir() if each.is_file()}


def load(name: str, catalogue: Catalogue) -> Release:
    """The release of a template. Raises ConfigurationError."""
    return release(assemble(files_of(name), catalogue), catalogue)
