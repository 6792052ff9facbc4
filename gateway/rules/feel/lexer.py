"""The words of FEEL, cut by one expression without nested repetition: linear in the text.

Standard: DMN 1.5, 10.3.1.2 and 10.3.1.4 (tokens, names, white space). Limits: 20,000 characters.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from gateway.core.errors import ConfigurationError

MAX_FEEL = 20_000
_TOKEN = re.compile(
    r"(?P<blank>\s+|//[^\n]*)"
    r'|(?P<string>"(?:[^"\\]|\\.)*")'
    r"|(?P<number>(?:\d+(?:\.\d+)?|\.\d+)(?:[eE][+-]?\d+)?)"
    r"|(?P<mark>\*\*|\.\.|<=|>=|!=|->|[-+*/(){}\[\]<>=,:;.@?'])"
    r"|(?P<name>[^\W\d][\w]*)"
)


@dataclass(frozen=True, slots=True)
class Word:
    """A token."""

    kind: str
    text: str
    at: int


def cut(text: str) -> list[Word]:
    """The tokens of a text. Raises ConfigurationError for a character FEEL has no use for."""
    if len(text) > MAX_FEEL:
        raise ConfigurationError(f"more than {MAX_FEEL} characters of FEEL")
    found, offset = [], 0
    while offset < len(text):
        match = _TOKEN.match(text, offset)
        if match is None:
            raise ConfigurationError("not FEEL", location=f"column {offset + 1}")
        if match.lastgroup != "blank":
            found.append(Word(match.lastgroup or "", match.group(), offset))
        offset = match.end()
    found.append(Word("end", "", offset))
    return found


def unescape(text: str) -> str:
    """The content of a FEEL string literal."""
    simple = {"n": "\n", "t": "\t", "r": "\r", '"': '"', "\\": "\\", "'": "'"}

    def one(match: re.Match[str]) -> str:
        body = match[1]
        return chr(int(body[1:], 16)) if body[0] in "uU" else simple.get(body, match[0])

    return re.sub(r"\\(u[0-9A-Fa-f]{4}|U[0-9A-Fa-f]{6}|.)", one, text[1:-1])
