"""HL7 v2 → FHIR, messages a second on one core: ours beside python-hl7's parse alone and the LinuxForHealth converter.

    python benchmarks/hl7_to_fhir.py                      all, on an ADT^A01, an ORU^R01 and an RQA^I08 of our own
    python benchmarks/hl7_to_fhir.py --seconds 2 --without linuxforhealth

What to look at are the ratios; absolute figures are the machine's. All take processor time; ours and python-hl7 on the
messages of 500 patients: number, name, birth date and control id differ, doctors and wards do not, as in a feed.

    parse           our wire layer alone, to segments and fields
    convert         parse, map to a Bundle, count the ledger
    edge            all of codec and accept stage but Kafka: convert, facts, acknowledgement, tokens, headers, JSON body
    python-hl7      its parse alone: no mapping at all
    linuxforhealth  its convert, in a warm JVM (one thread; Maven fetches it)
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import hl7

from adapters.hl7.wire import parse
from gateway.core.envelope import Raw, Reception
from gateway.registry import PARKED, TOPICS
from gateway.security.cipher import IdentityCipher
from gateway.security.tokens import Tokens
from gateway.stages.accept import AcceptStage
from mappings.hl7_codec import Hl7Codec
from mappings.hl7_to_fhir import convert

HERE = Path(__file__).parent
CASES = HERE.parent / "tests" / "mappings" / "hl7" / "cases"
MESSAGES = ("adt_a01_admission", "oru_r01_results", "rqa_i08_request")
RECEPTION = Reception(tenant="t", source="hl7/bench", received_at=datetime(2026, 3, 1, tzinfo=UTC), client="bench")


PATIENTS = 500


def variants(raw: bytes) -> list[bytes]:
    """The message as it comes for other patients."""
    made = []
    for number in range(PATIENTS):
        lines = [line.split(b"|") for line in raw.split(b"\r")]
        for fields in lines:
            if fields[0] == b"MSH":
                fields[9] = b"C%08d" % number
            elif fields[0] == b"PID":
                fields[3] = b"^".join((b"%08d" % number, *fields[3].split(b"^")[1:]))
                fields[5] = b"^".join((b"DOE%d" % number, *fields[5].split(b"^")[1:]))
                fields[7] = b"19%02d%02d%02d" % (number % 90, 1 + number % 12, 1 + number % 28)
        made.append(b"\r".join(b"|".join(fields) for fields in lines))
    return made


def edge() -> Callable[[bytes], object]:
    """Codec and accept stage; sealing is off, as in the demo profile."""
    codec = Hl7Codec()
    stage = AcceptStage(
        publisher=None,  # type: ignore[arg-type]  # nothing is published here
        blobs=None,  # type: ignore[arg-type]
        cipher=IdentityCipher(),
        token=Tokens(b"benchmark-benchmark-benchmark-key"),
        routes=TOPICS,
        parked_topic=PARKED,
    )

    def work(raw: bytes) -> object:
        reading = codec.read(Raw.of(raw, "application/hl7-v2"), RECEPTION)
        envelope = stage.envelope(reading.intakes[0], RECEPTION)
        return envelope.headers(), envelope.body(), reading.answer(None)

    return work


def rate(work: Callable[[Any], object], messages: Sequence[Any], seconds: float) -> float:
    """Messages a second of processor time: the best of three rounds, after a warm-up."""
    for message in messages:
        work(message)
    best = 0.0
    for _ in range(3):
        start, count = time.process_time(), 0
        while time.process_time() - start < seconds / 3:
            work(messages[count % len(messages)])
            count += 1
        best = max(best, count / (time.process_time() - start))
    return best


def linuxforhealth(raw: bytes, seconds: float) -> float | None:
    """Its rate, or None where Java or Maven is missing or it does not run."""
    if not (shutil.which("mvn") and shutil.which("java")):
        return None
    cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "authorization-gateway" / "linuxforhealth"
    libraries = cache / "libs"
    try:
        if not libraries.is_dir():
            cache.mkdir(parents=True, exist_ok=True)
            shutil.copy(HERE / "linuxforhealth" / "pom.xml", cache / "pom.xml")
            command = ["mvn", "-q", "-B", "dependency:copy-dependencies", f"-DoutputDirectory={libraries}"]
            subprocess.run(command, cwd=cache, check=True, stdout=sys.stderr, timeout=600)
        with tempfile.NamedTemporaryFile(suffix=".hl7") as file:
            file.write(raw)
            file.flush()
            program = [str(HERE / "linuxforhealth" / "Convert.java"), file.name, str(seconds)]
            command = ["java", "-cp", f"{libraries}/*", *program]
            done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=240 + 20 * seconds)
        return float(done.stdout.strip().splitlines()[-1])
    except (subprocess.SubprocessError, ValueError, IndexError, OSError):
        return None


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seconds", type=float, default=3.0, help="for each figure")
    parser.add_argument("--without", nargs="*", default=[], help="systems to leave out")
    options = parser.parse_args()
    for name in MESSAGES:
        raw = (CASES / name / "message.hl7").read_bytes().replace(b"\n", b"\r")
        messages = variants(raw)
        texts = [message.decode() for message in messages]
        rates: dict[str, float | None] = {
            "parse": rate(parse, messages, options.seconds),
            "convert": rate(lambda message: convert(parse(message)), messages, options.seconds),
            "edge": rate(edge(), messages, options.seconds),
            "python-hl7": rate(hl7.parse, texts, options.seconds),
        }
        if "linuxforhealth" not in options.without:
            rates["linuxforhealth"] = linuxforhealth(raw, options.seconds)
        base = rates["convert"] or 1.0
        print(f"\n{name} ({len(raw)} bytes)")
        for system, found in rates.items():
            shown = "does not run here"
            if found is not None:
                shown = f"{1e6 / found:7.0f} µs   {found:8.0f}/s   convert is {base / found:6.2f} x"
            print(f"  {system:15} {shown}")


if __name__ == "__main__":
    main()
