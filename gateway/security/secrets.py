"""Secrets by reference: configuration names where a secret is, never the secret itself.

A reference is `env:NAME` or `file:PATH`. A file loses one trailing newline, as editors add one. Key material is
base64 (standard or URL alphabet). Anything else in place of a reference is refused, so that a secret pasted into a
configuration file fails at start instead of living in version control.
"""

from __future__ import annotations

import base64
import binascii
import os
from collections.abc import Mapping
from pathlib import Path

from gateway.core.errors import ConfigurationError


def secret(reference: str, *, environment: Mapping[str, str] | None = None) -> bytes:
    """The bytes behind a reference. Raises ConfigurationError, which names the reference and never the value."""
    scheme, _, name = reference.partition(":")
    if scheme == "env" and name:
        value = (os.environ if environment is None else environment).get(name)
        if not value:
            raise ConfigurationError(f"environment variable {name} is not set")
        return value.encode()
    if scheme == "file" and name:
        try:
            return Path(name).read_bytes().removesuffix(b"\n").removesuffix(b"\r")
        except OSError as error:
            raise ConfigurationError(f"secret file cannot be read: {error.strerror}", location=name) from error
    # The text itself may be the secret somebody pasted: say what was expected, not what was found.
    raise ConfigurationError("not a secret reference: write env:NAME or file:PATH")


def key_bytes(reference: str, *, size: int = 32, environment: Mapping[str, str] | None = None) -> bytes:
    """A key of exactly `size` bytes, stored in base64. Raises ConfigurationError."""
    text = secret(reference, environment=environment)
    try:
        key = base64.b64decode(text.strip().translate(bytes.maketrans(b"-_", b"+/")), validate=True)
    except (binascii.Error, ValueError) as error:
        raise ConfigurationError("key is not base64", location=reference) from error
    if len(key) != size:
        raise ConfigurationError(f"key has {len(key)} bytes, {size} are needed", location=reference)
    return key
