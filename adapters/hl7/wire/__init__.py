"""HL7 version 2 on the wire: frames, messages, batches, acknowledgements. Pure: bytes in, values out.

Standard: HL7 v2.1–2.9, chapter 2 (control) and 2.10 (batches); MLLP release 1 and 2 (transport specification).

    frame      VT message FS CR
    file       [FHS] { [BHS] { message } [BTS] } [FTS]
    message    MSH { segment }            segment    name { | field } CR
    field      repetition { ~ repetition }
    repetition component { ^ component }   component  sub { & sub }
    leaf       text with escapes \\F\\ \\S\\ \\T\\ \\R\\ \\E\\ \\P\\ \\Xhh..\\

The five delimiters are the message's own (MSH-1, MSH-2); its character set is MSH-18 (table 0211).

Limits: 16 MiB a message (documents travel in OBX-5), 50,000 segments, 2,000 fields a segment, 250,000 delimiters:
several times what real feeds send, small enough that one sender cannot exhaust an edge. See `Limits`, `mllp.Limits`.

Not handled: the XML encoding of v2; UTF-16 and UTF-32 (their bytes collide with the frame's); CNS 11643 (no codec);
character set switches inside a field by \\C..\\ and \\M..\\ (kept as written); validation against message profiles.
"""

from __future__ import annotations

from .build import Value, Verbatim, compose, replace, segment, timestamp
from .message import Message, Path, Repetition, Segment, parse_path, write
from .reader import LIMITS, Limits, parse, read_header
from .syntax import NULL, STANDARD, Syntax, escape, plain_text, unescape

__all__ = [
    "LIMITS",
    "NULL",
    "STANDARD",
    "Limits",
    "Message",
    "Path",
    "Repetition",
    "Segment",
    "Syntax",
    "Value",
    "Verbatim",
    "compose",
    "escape",
    "parse",
    "parse_path",
    "plain_text",
    "read_header",
    "replace",
    "segment",
    "timestamp",
    "unescape",
    "write",
]
