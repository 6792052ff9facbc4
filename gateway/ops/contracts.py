"""The generated contract files: the AsyncAPI document and the JSON Schemas, committed and compared in `make check`."""

from __future__ import annotations

from pathlib import Path

from gateway.core import asyncapi, schemas, topics
from gateway.core.errors import ConfigurationError

TOPICS = "topics.yaml"
DOCUMENT = "docs/asyncapi.yaml"


def catalogue(path: Path) -> topics.Catalogue:
    """Read a topic catalogue. Raises ConfigurationError."""
    try:
        content = path.read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigurationError(f"the topic catalogue {path} cannot be read") from error
    return topics.parse(content)


def generated(root: Path) -> dict[str, str]:
    """Every generated file by its path below `root`, as it should be."""
    files = {path: schemas.text(schema) for path, schema in schemas.schemas().items()}
    return files | {DOCUMENT: asyncapi.text(catalogue(root / TOPICS))}


def stale(root: Path) -> list[str]:
    """Generated files that are missing, differ from what would be generated, or are left over."""
    files = generated(root)
    wrong = [path for path, text in files.items() if not _same(root / path, text)]
    left_over = [f"schemas/{path.name}" for path in (root / "schemas").glob("*.json")]
    return sorted(wrong + [path for path in left_over if path not in files])


def fresh(root: Path) -> bool:
    """Whether the committed files are what would be generated."""
    return not stale(root)


def write(root: Path) -> list[str]:
    """Write the generated files; return those that changed."""
    changed = stale(root)
    for path, text in generated(root).items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text, encoding="utf-8")
    return changed


def _same(path: Path, text: str) -> bool:
    return path.exists() and path.read_text(encoding="utf-8") == text


def main(arguments: list[str]) -> int:
    """`python -m gateway.ops.contracts --check | --write`: exit code 1 when a committed file is stale."""
    root = Path.cwd()
    if arguments == ["--write"]:
        print("\n".join(write(root)) or "everything was fresh")  # noqa: T201 - a command
        return 0
    wrong = stale(root)
    if wrong:
        print("stale, run `make docs`: " + ", ".join(wrong))  # noqa: T201 - a command
    return 1 if wrong else 0


if __name__ == "__main__":
    import sys

    sys.exit(main(sys.argv[1:]))
