"""X12 beside its peers: the same generated 837P, the same run, ratios printed.

    python benchmarks/x12.py                      ours and pyx12
    python benchmarks/x12.py --peers              also linuxforhealth-x12 (own virtual environment, needs pydantic 1)
                                                  and staedi (Java, by Maven), fetched into a cache folder
    python benchmarks/x12.py --claims 20000 --memory 200

Figures are CPU seconds of the best of some runs (Java: of its main thread), so that other work on the machine matters
little. "Envelope and control counts only" reads twice, for counts and for elements. `--memory N` reads a file of N
megabytes in a process of its own and prints its peak.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

from adapters.x12.wire import InterchangeReport, Options, Unit, read, split
from tests.adapters.x12.samples import CLAIM_HEAD, CLAIM_UNIT, claims

CHUNK = 1 << 18
CACHE = Path.home() / ".cache" / "x12-benchmark"
STAEDI = "1.25.3"

JAVA = """
import io.xlate.edi.stream.*;
import java.io.*;
import java.lang.management.*;
import java.nio.file.*;

public class Bench {
    public static void main(String[] a) throws Exception {
        byte[] data = Files.readAllBytes(Path.of(a[0]));
        ThreadMXBean clock = ManagementFactory.getThreadMXBean();
        double best = 1e9;
        for (int run = 0; run < 12; run++) {
            long start = clock.getCurrentThreadCpuTime();
            EDIStreamReader reader = EDIInputFactory.newFactory().createEDIStreamReader(new ByteArrayInputStream(data));
            while (reader.hasNext()) reader.next();
            reader.close();
            double took = (clock.getCurrentThreadCpuTime() - start) / 1e9;
            if (run == 0) System.out.println(data.length / 1e6 / took);
            best = Math.min(best, took);
        }
        System.out.println(data.length / 1e6 / best);
    }
}
"""

LINUXFORHEALTH = """
import sys, time
from linuxforhealth.x12.io import X12ModelReader, X12SegmentReader
data = open(sys.argv[1]).read()
for reader in (X12SegmentReader, X12ModelReader):
    start = time.process_time()
    with reader(data) as opened:
        for _ in (opened.segments() if reader is X12SegmentReader else opened.models()):
            pass
    print(len(data) / 1e6 / (time.process_time() - start))
"""


def chunks(data: bytes) -> Iterator[bytes]:
    """The data as a file gives it."""
    return (data[at : at + CHUNK] for at in range(0, len(data), CHUNK))


def speed(work: Callable[[], object], size: int, runs: int = 3) -> float:
    """Megabytes per CPU second, best of some runs."""
    best = float("inf")
    for _ in range(runs):
        start = time.process_time()
        work()
        best = min(best, time.process_time() - start)
    return size / 1e6 / best


def control(data: bytes) -> None:
    """What staedi does: control structure and counts, every segment taken apart into its elements."""
    (report,) = read(chunks(data), Options(mode="control"))
    elements = sum(len(text.split("*")) for _, _, text in split(chunks(data)))
    if not isinstance(report, InterchangeReport) or report.outcome != "accepted" or not elements:
        raise SystemExit("the control structure is not accepted")


def pyx12_speed(data: bytes) -> float:
    """pyx12 with its maps in memory: the second run of two."""
    import pyx12.params
    from pyx12.x12n_document import x12n_document

    def work() -> None:
        if not x12n_document(pyx12.params.params(), io.StringIO(data.decode()), io.StringIO(), None):
            raise SystemExit("pyx12 does not accept the file")

    return speed(work, len(data), 2)


def staedi_speed(data: bytes, folder: Path) -> tuple[float, float] | None:
    """(cold, warm), checking control structure only; None without Java or Maven."""
    if not (shutil.which("javac") and shutil.which("mvn")):
        return None
    jar = CACHE / f"staedi-{STAEDI}.jar"
    if not jar.exists():
        copy = ["mvn", "-q", "dependency:copy", f"-Dartifact=io.xlate:staedi:{STAEDI}", f"-DoutputDirectory={CACHE}"]
        subprocess.run(copy, check=True)
    (folder / "Bench.java").write_text(JAVA)
    (folder / "claims.x12").write_bytes(data)
    run = ["java", "-cp", str(jar), str(folder / "Bench.java"), str(folder / "claims.x12")]
    out = subprocess.run(run, check=True, capture_output=True, text=True).stdout.split()
    return float(out[0]), float(out[1])


def linuxforhealth_speed(data: bytes, folder: Path) -> tuple[float, float] | None:
    """(segments only, validated models)."""
    home = CACHE / "linuxforhealth"
    python = home / "bin" / "python"
    if not python.exists():
        subprocess.run([sys.executable, "-m", "venv", str(home)], check=True)
        subprocess.run([str(python), "-m", "pip", "install", "-q", "linuxforhealth-x12", "pydantic<2"], check=True)
    (folder / "models.py").write_text(LINUXFORHEALTH)
    (folder / "a2.x12").write_bytes(data.replace(b"005010X222A1", b"005010X222A2"))
    run = subprocess.run(
        [str(python), str(folder / "models.py"), str(folder / "a2.x12")], capture_output=True, text=True, check=False
    )
    if run.returncode:
        print("linuxforhealth-x12 failed:", run.stderr.strip().splitlines()[-1][:200])
        return None
    out = run.stdout.split()
    return float(out[0]), float(out[1])


def memory(megabytes: int) -> dict[str, float]:
    """Read a long file, generated on the fly, in this process; its peak resident memory."""
    count = megabytes * 1_000_000 // len(CLAIM_UNIT.format(level=1, number=1))

    def stream() -> Iterator[bytes]:
        yield CLAIM_HEAD.encode()
        for start in range(1, count + 1, 800):
            stop = min(start + 800, count + 1)
            yield "".join(CLAIM_UNIT.format(level=at + 1, number=at) for at in range(start, stop)).encode()
        yield f"SE*{11 + 15 * count}*0001~GE*1*42~IEA*1*000000042~".encode()

    start = time.perf_counter()
    units = sum(isinstance(event, Unit) for event in read(stream(), Options(mode="units")))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {"claims": units, "seconds": round(time.perf_counter() - start, 1), "peak_mb": round(peak, 1)}


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--claims", type=int, default=5000)
    parser.add_argument("--peers", action="store_true")
    parser.add_argument("--memory", type=int, default=0)
    parser.add_argument("--only-memory", type=int, default=0, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.only_memory:
        print(json.dumps(memory(arguments.only_memory)))
        return
    data = claims(arguments.claims).encode()
    small = claims(min(arguments.claims, 1000)).encode()
    print(f"837P of {arguments.claims} claims, {len(data) / 1e6:.1f} MB; MB per CPU second")
    rows = {"split": speed(lambda: sum(1 for _ in split(chunks(data))), len(data))}
    rows["envelope and control counts only"] = speed(lambda: control(data), len(data))
    for mode in ("judge", "units", "trees"):
        rows[f"parse and validate ({mode})"] = speed(
            lambda mode=mode: sum(1 for _ in read(chunks(data), Options(mode=mode))), len(data)
        )
    ours, structure = rows["parse and validate (judge)"], rows["envelope and control counts only"]
    rows["pyx12 (parse, validate, 999)"] = pyx12_speed(small)
    if arguments.peers:
        CACHE.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory() as folder:
            found = linuxforhealth_speed(small, Path(folder))
            if found:
                rows["linuxforhealth (segments only)"], rows["linuxforhealth (models)"] = found
            java = staedi_speed(data, Path(folder))
            if java:
                rows["staedi cold (control structure only)"], rows["staedi warm (control structure only)"] = java
    for name, value in rows.items():
        ratio = "" if name.startswith(("split", "parse", "envelope")) else f"   ours / it: {ours / value:6.2f}"
        if name.startswith("staedi"):
            ratio += f"   like with like: {structure / value:6.2f}"
        print(f"  {name:40} {value:8.2f}{ratio}")
    if arguments.memory:
        run = [sys.executable, __file__, "--only-memory", str(arguments.memory)]
        environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parent.parent)}
        print(f"  {arguments.memory} MB file:", subprocess.check_output(run, text=True, env=environment).strip())


if __name__ == "__main__":
    main()
