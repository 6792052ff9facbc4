"""Text → words with their places. One regular expression without nested repetition: linear in the text."""

from __future__ import annotations

import re
from typing import NamedTuple

from gateway.core.errors import ConfigurationError
from gateway.rules.model import MAX_TEXT

_TOKEN = re.compile(
    r"(?P<blank>[ \t\r\n]+|\#[^\n]*)"
    r'|(?P<string>"(?:[^"\\\n]|\\["\\n])*")'
    r"|(?P<date>\d{4}-\d\d-\d\d(?:T[0-9:.]+(?:Z|[+-]\d\d:\d\d)?)?)"
    r"|(?P<number>-?\d+(?:\.\d+)?)"
    r"|(?P<word>[A-Za-z_\[{%µ][A-Za-z0-9_.\-/\[\]{}%µ]*)"
    r"|(?P<mark>[(),])"
    r"|(?P<other>.)"
)


class Token(NamedTuple):
    """A word, string, number, date, mark or the end; `start` and `end` are offsets into the text."""

    kind: str
    text: str
    start: int
    end: int


def tokens_of(text: str) -> list[Token]:
    """All tokens and one of kind `end`. Raises ConfigurationError for a text beyond the limit or an open quote.

    A character that begins nothing is a token of kind `other`: at home in a citation, refused by the parser elsewhere.
    """
    if len(text) > MAX_TEXT:
        raise ConfigurationError(f"more than {MAX_TEXT} characters of rule text", location="line 1 column 1")
    found: list[Token] = []
    offset = 0
    while offset < len(text):
        match = _TOKEN.match(text, offset)
        if match is None:  # the last alternative takes any character
            raise ConfigurationError("unreadable text", location=place(text, offset))
        if match.group() == '"':  # looked for its end in vain, which every later quote would do again
            raise ConfigurationError("a text in quotes that does not end on its line", location=place(text, offset))
        if match.lastgroup != "blank":
            found.append(Token(match.lastgroup or "", match.group(), match.start(), match.end()))
        offset = match.end()
    found.append(Token("end", "the end", offset, offset))
    return found


def place(text: str, offset: int) -> str:
    """`line 3 column 14`, both from one."""
    line = text.count("\n", 0, offset)
    return f"line {line + 1} column {offset - (text.rfind(chr(10), 0, offset) + 1) + 1}"


def unquote(text: str) -> str:
    """The content of a string token."""
    return re.sub(r"\\(.)", lambda match: "\n" if match[1] == "n" else match[1], text[1:-1])


def quote(text: str) -> str:
    """Inverse of `unquote`."""
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n") + '"'
