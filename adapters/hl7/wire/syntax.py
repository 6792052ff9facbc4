"""Delimiters, escape sequences and the null of one message (HL7 v2 chapter 2, encoding rules).

A value is unescaped only when a leaf is read: a delimiter that arrives escaped must never split, and a carriage
return that arrives as hexadecimal must never start a segment. What is not understood stays as it was written.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import NamedTuple

NULL = '""'
"""HL7's explicit null: "delete what you know", which is not the same as an absent value."""

_KEPT = r"Z{other}*|H|N|C[0-9A-Fa-f]{{4}}|M[0-9A-Fa-f]{{4,6}}|\.(?:br|sp|in|ti|fi|nf|ce|sk){other}{{0,6}}"
"""Sequences consumed whole but left as written: local ones, highlighting, character set switches, formatting."""


class Syntax(NamedTuple):
    """How one message is written: MSH-1, MSH-2 and the Python codec its bytes were decoded with.

    An empty character means "not in use": old senders shorten MSH-2. (A tuple, because what follows from a syntax is
    remembered by it, and a tuple's hash is computed without Python.)
    """

    field: str = "|"
    component: str = "^"
    repetition: str = "~"
    escape: str = "\\"
    subcomponent: str = "&"
    truncation: str = ""
    encoding: str = "utf-8"

    @property
    def encoding_characters(self) -> str:
        """MSH-2."""
        return self.component + self.repetition + self.escape + self.subcomponent + self.truncation


STANDARD = Syntax()
"""The recommended delimiters, in UTF-8."""


@lru_cache(maxsize=256)
def _sequences(syntax: Syntax) -> re.Pattern[str]:
    escape = re.escape(syntax.escape)
    kept = _KEPT.format(other=f"[^{escape}]")
    return re.compile(f"{escape}(?:([FSTREP])|X((?:[0-9A-Fa-f]{{2}})+)|(?:{kept})){escape}")


@lru_cache(maxsize=256)
def _letters(syntax: Syntax) -> dict[str, str]:
    letters = {
        "F": syntax.field,
        "S": syntax.component,
        "T": syntax.subcomponent,
        "R": syntax.repetition,
        "E": syntax.escape,
        "P": syntax.truncation,
    }
    return {letter: character for letter, character in letters.items() if character}


@lru_cache(maxsize=256)
def _table(syntax: Syntax) -> dict[int, str]:
    mark = syntax.escape
    table = {ord(character): f"{mark}{letter}{mark}" for letter, character in _letters(syntax).items()}
    # Bytes that would end a segment or a frame travel as hexadecimal.
    return table | {code: f"{mark}X{code:02X}{mark}" for code in (0x0A, 0x0B, 0x0D, 0x1C)}


def unescape(text: str, syntax: Syntax) -> str:
    """The value of one leaf. Unknown, local and unterminated sequences stay as written."""
    if not syntax.escape or syntax.escape not in text:
        return text
    letters = _letters(syntax)

    def replacement(match: re.Match[str]) -> str:
        letter, digits = match.group(1), match.group(2)
        if letter:
            return letters.get(letter, match.group())
        if digits:
            # The digits are bytes of the message's own character set; where they are not, no byte is lost.
            data = bytes.fromhex(digits)
            try:
                return data.decode(syntax.encoding)
            except UnicodeDecodeError:
                return data.decode("latin-1")
        return match.group()

    return _sequences(syntax).sub(replacement, text)


def escape(value: str, syntax: Syntax) -> str:
    """Inverse of `unescape`: a value as it may stand between delimiters. The null stays the null."""
    if not syntax.escape or value.isalnum():
        return value
    return value.translate(_table(syntax))


_LINES = {"br": "\n", "sp": "\n", "ce": "\n", "sk": " "}


def plain_text(text: str, syntax: Syntax) -> str:
    r"""A formatted-text leaf (FT, TX) as plain text: `\.br\` becomes a line end, highlighting goes."""
    if not syntax.escape or syntax.escape not in text:
        return text
    mark = re.escape(syntax.escape)

    def replacement(match: re.Match[str]) -> str:
        command, count = match.group(1), match.group(2)
        return _LINES.get(command or "", "") * (int(count) if count and count.isdigit() else 1)

    formatting = f"{mark}(?:[HN]|\\.(br|sp|in|ti|fi|nf|ce|sk)[+-]?(\\d{{0,2}})){mark}"
    return unescape(re.sub(formatting, replacement, text), syntax)
