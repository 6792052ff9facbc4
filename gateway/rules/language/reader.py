"""The token stream a parser stands on, and what every part of the language reads: words, facts, durations, values."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date, datetime

from gateway.core.errors import ConfigurationError
from gateway.rules import units
from gateway.rules.catalogue import Catalogue, ListEntry
from gateway.rules.documents.reading import decimal
from gateway.rules.language.lexer import Token, place, tokens_of, unquote
from gateway.rules.model import MAX_DEPTH, MAX_NODES, Duration, Fact, Literal

DURATIONS = {
    "day": "day", "days": "day", "week": "week", "weeks": "week", "month": "month", "months": "month", "year": "year",
    "years": "year",
}  # fmt: skip
KEYWORDS = frozenset(
    "is not in at less more than most least on or and before after between within then with plus to because known "
    "under true false any every no latest exactly other".split()
)


@dataclass(slots=True)
class Reader:
    """Position in a text, with the catalogue's labels as word sequences (longest first)."""

    text: str
    catalogue: Catalogue
    tokens: list[Token] = field(default_factory=list)
    at: int = 0
    depth: int = 0
    nodes: int = 0
    labels: dict[str, list[tuple[tuple[str, ...], str]]] = field(default_factory=dict)
    list_labels: dict[str, list[tuple[tuple[str, ...], ListEntry]]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Cut the text and index the labels by first word."""
        self.tokens = tokens_of(self.text)
        for label, path in self.catalogue.by_label.items():
            words = tuple(label.split())
            self.labels.setdefault(words[0], []).append((words, path))
        for entry in self.catalogue.lists.values():
            words = tuple(entry.label.split())
            self.list_labels.setdefault(words[0], []).append((words, entry))
        for found in self.labels.values():
            found.sort(key=lambda pair: -len(pair[0]))
        for lists in self.list_labels.values():
            lists.sort(key=lambda pair: -len(pair[0]))

    @property
    def token(self) -> Token:
        """The next token."""
        return self.tokens[self.at]

    def fail(self, text: str, token: Token | None = None) -> ConfigurationError:
        """The error with the line and column of a word, to be raised."""
        return ConfigurationError(text, location=place(self.text, (token or self.token).start))

    def sees(self, *words: str) -> bool:
        """Whether these words come next."""
        at = self.at
        for word in words:
            token = self.tokens[at]  # the last one, the end, is no word's equal
            if token.text != word or token.kind == "string":
                return False
            at += 1
        return True

    def take(self, *words: str) -> bool:
        """Step over these words if they come next."""
        if not self.sees(*words):
            return False
        self.at += len(words)
        return True

    def expect(self, *words: str) -> None:
        """Step over these words. Raises ConfigurationError at the word that is another."""
        for word in words:
            if not self.take(word):
                raise self.fail(f"expected {word!r}, found {self.token.text[:40]!r}")

    def next(self, kind: str, what: str) -> str:
        """The text of the next token, of one kind."""
        token = self.token
        if token.kind != kind:
            raise self.fail(f"expected {what}, found {token.text[:40]!r}")
        self.at += 1
        return token.text

    def string(self, what: str = "a quoted text") -> str:
        """A quoted text."""
        return unquote(self.next("string", what))

    def whole(self) -> int:
        """A whole number."""
        token = self.token
        text = self.next("number", "a whole number")
        if not text.lstrip("-").isdigit() or len(text) > 9:
            raise self.fail("expected a whole number", token)
        return int(text)

    def day(self) -> date:
        """A date."""
        token = self.token
        try:
            return date.fromisoformat(self.next("date", "a date YYYY-MM-DD"))
        except ValueError as error:
            raise self.fail("not a day of the calendar", token) from error

    def duration(self) -> Duration:
        """`12 months`."""
        count = self.whole()
        word = self.token.text
        if word not in DURATIONS or count < 0 or count > 9999:
            raise self.fail(f"expected days, weeks, months or years, found {word[:40]!r}")
        self.at += 1
        return Duration(count, DURATIONS[word])  # type: ignore[arg-type]

    def count_node(self) -> None:
        """Bound the size of a condition."""
        self.nodes += 1
        if self.nodes > MAX_NODES:
            raise self.fail(f"more than {MAX_NODES} parts in one condition")

    def deeper(self) -> None:
        """Bound the nesting of a condition."""
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise self.fail(f"nested deeper than {MAX_DEPTH}")

    def fact(self) -> Fact:
        """A fact by label (longest match) or path. Raises with the nearest one when there is none."""
        token = self.token
        if token.kind == "word":
            for words, path in self.labels.get(token.text, ()):
                if self.take(*words):
                    return Fact(path)
            if self.catalogue.find(token.text) is not None:
                self.at += 1
                return Fact(token.text)
        raise self._unknown_fact(token)

    def _unknown_fact(self, token: Token) -> ConfigurationError:
        if token.kind != "word":
            return self.fail(f"expected a fact, found {token.text[:40]!r}", token)
        words: list[str] = []
        for coming in self.tokens[self.at : self.at + 4]:
            if coming.kind != "word" or (words and coming.text in KEYWORDS):
                break
            words.append(coming.text)
        name = " ".join(words)[:80]
        return self.fail(f"no fact {name!r}{self.catalogue.hint(name)}", token)

    def list_entry(self) -> ListEntry:
        """A list by label or name."""
        token = self.token
        for words, entry in self.list_labels.get(token.text, ()) if token.kind == "word" else ():
            if self.take(*words):
                return entry
        if token.text in self.catalogue.lists:
            self.at += 1
            return self.catalogue.lists[token.text]
        lists = ", ".join(entry.label for entry in self.catalogue.lists.values())
        raise self.fail(f"expected one of {lists}, found {token.text[:40]!r}", token)

    def literal(self) -> Literal | None:
        """A value written out, or None when the next word is none."""
        token = self.token
        if token.kind == "string":
            return Literal("string", self.string())
        if token.kind == "number":
            self.at += 1
            number = decimal(token.text, place(self.text, token.start))
            return Literal("number", number, self.unit())
        if token.kind == "date":
            return self._date(token)
        if token.kind == "word" and token.text in ("true", "false"):
            self.at += 1
            return Literal("boolean", token.text == "true")
        return None

    def _date(self, token: Token) -> Literal:
        if len(token.text) == 10:
            return Literal("date", self.day())
        self.at += 1
        try:
            instant = datetime.fromisoformat(token.text)
        except ValueError as error:
            raise self.fail("not an instant", token) from error
        if instant.tzinfo is None:
            raise self.fail("an instant needs its offset, such as Z", token)
        return Literal("dateTime", instant)

    def unit(self) -> str:
        """A unit after a number, or nothing. `in` is a word of the language, not inches."""
        token = self.token
        if token.kind != "word" or token.text in KEYWORDS or units.dimension(token.text) is None:
            return ""
        self.at += 1
        return units.canonical(token.text)
