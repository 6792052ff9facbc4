"""HL7 v2 → FHIR, messages a second on one core: ours beside python-hl7's parse alone and the LinuxForHealth converter.

    python benchmarks/hl7_to_fhir.py                      all, on an ADT^A01, an ORU^R01 and an RQA^I08 of our own
    python benchmarks/hl7_to_fhir.py --seconds 2 --without linuxforhealth

What to look at are the ratios; absolute figures are the machine's.

    parse           our wire layer alone, to segments and fields
    convert         parse, map to a Bundle, ledger of every leaf
    codec           convert, facts, keys, acknowledgement and the JSON of the envelope's body
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
from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import hl7
import orjson

from adapters.hl7.wire import parse
from gateway.core.envelope import Raw, Reception
from mappings.hl7_codec import Hl7Codec
from mappings.hl7_to_fhir import convert

HERE = Path(__file__).parent
CASES = HERE.parent / "tests" / "mappings" / "hl7" / "cases"
MESSAGES = ("adt_a01_admission", "oru_r01_results", "rqa_i08_request")
RECEPTION = Reception(tenant="t", source="hl7/bench", received_at=datetime(2026, 3, 1, tzinfo=UTC), client="bench")


def _exact(value: object) -> orjson.Fragment:
    if isinstance(value, Decimal):
        return orjson.Fragment(str(value))
    raise TypeError


def _codec(codec: Hl7Codec, raw: bytes) -> None:
    reading = codec.read(Raw.of(raw, "application/hl7-v2"), RECEPTION)
    intake = reading.intakes[0]
    ledger = intake.ledger.summary() if intake.ledger else {}
    body = {"facts": intake.facts, "resource": intake.resource, "ledger": ledger, "raw": intake.raw.as_json()}
    orjson.dumps(body, default=_exact)
    reading.answer(None)


def rate(work: Callable[[], object], seconds: float) -> float:
    """Calls a second: the best of three rounds, after a warm-up."""
    for _ in range(20):
        work()
    best = 0.0
    for _ in range(3):
        start, count = time.perf_counter(), 0
        while time.perf_counter() - start < seconds / 3:
            work()
            count += 1
        best = max(best, count / (time.perf_counter() - start))
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
            done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=120 + 4 * seconds)
        return float(done.stdout.strip().splitlines()[-1])
    except (subprocess.SubprocessError, ValueError, IndexError, OSError):
        return None


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seconds", type=float, default=3.0, help="for each figure")
    parser.add_argument("--without", nargs="*", default=[], help="systems to leave out")
    options = parser.parse_args()
    codec = Hl7Codec()
    for name in MESSAGES:
        raw = (CASES / name / "message.hl7").read_bytes().replace(b"\n", b"\r")
        text = raw.decode()
        rates: dict[str, float | None] = {
            "parse": rate(lambda raw=raw: parse(raw), options.seconds),
            "convert": rate(lambda raw=raw: convert(parse(raw)), options.seconds),
            "codec": rate(lambda raw=raw: _codec(codec, raw), options.seconds),
            "python-hl7": rate(lambda text=text: hl7.parse(text), options.seconds),
        }
        if "linuxforhealth" not in options.without:
            rates["linuxforhealth"] = linuxforhealth(raw, options.seconds)
        base = rates["convert"] or 1.0
        print(f"\n{name} ({len(raw)} bytes)")
        for system, found in rates.items():
            shown = "does not run here" if found is None else f"{found:10.0f}/s   convert is {base / found:6.2f} x"
            print(f"  {system:15} {shown}")


if __name__ == "__main__":
    main()
