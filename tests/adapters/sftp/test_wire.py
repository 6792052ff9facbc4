"""Names, readiness and unpacking: pure rules."""

from __future__ import annotations

import gzip
import io
import zipfile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.sftp.wire import (
    Claim,
    Entry,
    Rules,
    is_candidate,
    look,
    markers,
    parse_claim,
    ready_files,
    unpack,
)
from gateway.core.errors import LimitExceeded, MalformedMessage

RULES = Rules(pattern=r".+\.x12", mode="stable", stable_seconds=10.0)
names = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,60}", fullmatch=True)


@given(names, st.integers(0, 10**10), st.integers(0, 10**10), st.from_regex(r"[A-Za-z0-9-]{1,20}", fullmatch=True))
def test_claims_read_back(name: str, received: int, since: int, owner: str) -> None:
    claim = Claim(name, received, since, owner)
    assert parse_claim(claim.file_name) == claim


@pytest.mark.parametrize("name", ["a.x12", "a~1~b", "a~x~1~b", "~1~1~b", "a~1~1~"])
def test_other_files_are_no_claims(name: str) -> None:
    assert parse_claim(name) is None


@pytest.mark.parametrize(
    "name", [".a.x12", "a.x12.tmp", "a.TMP", "a.x12.filepart~", "ü.x12", "a b.x12", "../a.x12", "a.txt"]
)
def test_names_that_are_never_taken(name: str) -> None:
    assert not is_candidate(name, RULES)


def test_stable_means_unchanged_for_the_whole_time() -> None:
    seen = look([Entry("a.x12", 10, 1.0)], {}, 0.0)
    assert ready_files(seen, RULES, 0.0) == []
    seen = look([Entry("a.x12", 20, 1.0)], seen, 9.0)
    assert ready_files(seen, RULES, 18.0) == []
    seen = look([Entry("a.x12", 20, 1.0)], seen, 19.0)
    assert [entry.name for entry in ready_files(seen, RULES, 19.0)] == ["a.x12"]
    assert look([], seen, 20.0) == {}


def test_stable_with_no_time_still_needs_two_looks() -> None:
    rules = Rules(pattern=".*", mode="stable")
    seen = look([Entry("a.x12", 10, 1.0)], {}, 0.0)
    assert ready_files(seen, rules, 0.0) == []
    assert len(ready_files(look([Entry("a.x12", 10, 1.0)], seen, 1.0), rules, 1.0)) == 1


def test_oldest_first_and_empty_never() -> None:
    rules = Rules(pattern=".*", mode="rename")
    entries = [Entry("b", 1, 2.0), Entry("a", 1, 2.0), Entry("c", 1, 1.0), Entry("empty", 0, 0.0)]
    assert [entry.name for entry in ready_files(look(entries, {}, 0.0), rules, 0.0)] == ["c", "a", "b"]


def test_markers_by_whole_name_or_stem() -> None:
    assert markers("a.x12", ["a.x12", "a.done", "a.x12.ok", "b.done"], (".done", ".ok")) == ["a.done", "a.x12.ok"]


def zipped(*members: tuple[str, bytes]) -> bytes:
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members:
            archive.writestr(name, data)
    return target.getvalue()


@given(st.binary(max_size=2000))
def test_packed_content_comes_back(data: bytes) -> None:
    assert unpack("a.x12.gz", gzip.compress(data), limit=10_000, ratio=1000) == ("a.x12", data)
    assert unpack("a.zip", zipped(("in.x12", data)), limit=10_000, ratio=1000) == ("in.x12", data)
    assert unpack("a.x12", data, limit=1, ratio=2) == ("a.x12", data)


def test_concatenated_gzip_members() -> None:
    assert unpack("a.gz", gzip.compress(b"one") + gzip.compress(b"two"), limit=100, ratio=100)[1] == b"onetwo"


@pytest.mark.parametrize(
    ("name", "data", "error"),
    [
        ("bomb.gz", gzip.compress(bytes(10_000_000)), LimitExceeded),
        ("bomb.zip", zipped(("a", bytes(10_000_000))), LimitExceeded),
        ("two.zip", zipped(("a", b"1"), ("b", b"2")), LimitExceeded),
        ("cut.gz", gzip.compress(b"hello")[:-2], MalformedMessage),
        ("noise.gz", b"noise", MalformedMessage),
        ("noise.zip", b"noise", MalformedMessage),
    ],
)
def test_what_is_not_unpacked(name: str, data: bytes, error: type[Exception]) -> None:
    with pytest.raises(error):
        unpack(name, data, limit=5_000_000, ratio=100)


@given(st.binary(max_size=300), st.sampled_from(["a.gz", "a.zip"]))
def test_noise_is_refused_with_our_own_errors(data: bytes, name: str) -> None:
    try:
        unpack(name, data, limit=1000, ratio=10)
    except (LimitExceeded, MalformedMessage):
        pass
