"""Character sets: MSH-18 and table 0211 to Python codecs; decoding that never drops a byte.

Decoding comes before splitting: the bytes of a Japanese, Chinese or Korean character may equal a delimiter.
"""

from __future__ import annotations

CODECS: dict[str, str] = {
    "": "",
    "ASCII": "ascii",
    "ISO IR6": "ascii",
    "ISO IR-6": "ascii",
    "ISO IR 6": "ascii",
    **{f"8859/{part}": f"iso8859-{part}" for part in (1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 13, 14, 15, 16)},
    "ISO IR13": "iso2022_jp_ext",
    "ISO IR14": "iso2022_jp_ext",
    "ISO IR87": "iso2022_jp_ext",
    "ISO IR159": "iso2022_jp_ext",
    "GB 18030-2000": "gb18030",
    "KS X 1001": "euc_kr",
    "BIG-5": "big5",
    "UNICODE": "utf-8",
    "UNICODE UTF-8": "utf-8",
    "UTF-8": "utf-8",
    "UTF8": "utf-8",
    "WINDOWS-1252": "cp1252",
}
"""Table 0211 (and the spellings senders use instead) to codecs. UTF-16 and UTF-32 cannot travel in frames of single
bytes; CNS 11643-1992 has no codec: both fall under "mismatch" and are decoded by trial."""

DEFAULT = "utf-8"
"""Where neither MSH-18 nor the partner says: ASCII's superset, then the trial order below."""

STATEFUL = frozenset({"iso2022_jp_ext"})
"""Codecs whose characters are written in ASCII bytes between escape sequences: ASCII bytes may be anything there."""

_TRIALS = ("utf-8", "cp1252", "latin-1")
"""The last one takes any byte, so decoding always ends and always can be undone."""


def codec_for(declared: list[str], default: str | None) -> tuple[str, bool]:
    """The codec for MSH-18's repetitions and whether the declaration was understood.

    An empty first repetition followed by alternates is ASCII with escape sequences (`~ISO IR87`).
    """
    if not declared:
        return default or DEFAULT, True
    names = [CODECS.get(name.strip().upper()) for name in declared]
    for name in names:
        if name in STATEFUL:
            return name, True
    first = names[0]
    if first is None:
        return default or DEFAULT, False
    return first or default or DEFAULT, True


def decode(data: bytes, codec: str) -> tuple[str, str]:
    """The text, and the codec that really fitted: the declared one, else UTF-8, else Windows Latin, else Latin 1."""
    if codec not in STATEFUL and data.isascii():
        return data.decode("ascii"), codec
    for candidate in (codec, *_TRIALS):
        try:
            return data.decode(candidate), candidate
        except UnicodeDecodeError:
            continue
    raise AssertionError("latin-1 decodes every byte")


def encode(text: str, codec: str) -> bytes:
    """Bytes in the given codec; a character it does not have becomes `?`, never an error."""
    return text.encode(codec, errors="replace")
