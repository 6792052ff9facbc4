"""Which program is chosen, in which order, and what is said when none can be had."""

from __future__ import annotations

import io
import shutil
from pathlib import Path

import pytest
from rich.console import Console
from typer.testing import CliRunner

from gateway.cli import stack as stack_commands
from gateway.core.errors import ConfigurationError, GatewayError, Unavailable
from gateway.stack import Addresses, Stack, StackSettings, java, kafka, postgres, temporal
from gateway.stack.progress import Display, Lines, Silent


def quiet(_text: str) -> None:
    """Nobody listens."""


def script(folder: Path, name: str, text: str) -> Path:
    """An executable that prints a text."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / name
    path.write_text(f"#!/bin/sh\necho '{text}'\n")
    path.chmod(0o755)
    return path


@pytest.fixture
def bin_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A PATH with nothing on it but what a test puts there, and the tools scripts need."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for tool in ("sh", "nice", "env"):
        (folder / tool).symlink_to(shutil.which(tool) or "")
    monkeypatch.setenv("PATH", str(folder))
    return folder


@pytest.mark.parametrize(
    ("version", "chosen"),
    [
        ("temporal version 1.5.1 (Server 1.29.1, UI 2.42.1)", True),
        ("temporal version 0.0.0-DEV (Server 1.31.0, UI 2.42.1)", True),
        ("temporal version 1.3.0 (Server 1.28.0, UI 2.36.0)", False),
        ("temporal version 2.0.0 (Server 2.0.0, UI 3.0.0)", False),
        ("something else", False),
    ],
)
def test_an_installed_temporal_of_the_right_range_is_used(bin_folder: Path, version: str, chosen: bool) -> None:
    path = script(bin_folder, "temporal", version)
    assert temporal.installed() == (path if chosen else None)


def test_temporal_comes_from_the_cache_before_anything_is_fetched(bin_folder: Path, tmp_path: Path) -> None:
    def build(name: str) -> Path:
        folder = tmp_path / "cache" / name
        folder.mkdir(parents=True)
        return script(folder, "temporal", "x")

    expected = build(f"temporal-1.5.1-{temporal.sys.platform}-{temporal.platform.machine()}")
    assert temporal.program(tmp_path / "cache", quiet, use_installed=True) == expected
    installed = script(bin_folder, "temporal", "temporal version 1.5.1 (Server 1.29.1, UI 2.42.1)")
    assert temporal.program(tmp_path / "cache", quiet, use_installed=True) == installed
    assert temporal.program(tmp_path / "cache", quiet, use_installed=False) == expected


def test_the_sdks_download_comes_before_building(
    bin_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def download(folder: Path, _work: Path) -> Path:
        return script(folder, "temporal-sdk", "downloaded")

    monkeypatch.setattr(temporal, "_download", download)
    monkeypatch.setattr(temporal, "_build", lambda *_: pytest.fail("it was built although it was downloaded"))
    path = temporal.program(tmp_path / "cache", quiet, use_installed=True)
    assert "downloaded" in path.read_text()
    assert [file.name for file in path.parent.iterdir()] == ["temporal"]


def test_a_go_that_cannot_fetch_names_the_registry_and_the_way_out(
    bin_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(temporal, "_download", lambda *_: None)
    go = bin_folder / "go"
    reason = 'Get "https://registry.invalid/a": dial tcp: lookup registry.invalid on 10.0.0.1:53: connection refused'
    go.write_text(
        '#!/bin/sh\n[ "$1" = env ] && echo go1.27.3 && exit 0\n'
        f"echo 'go: downloading a.example/b v1' >&2\necho '{reason}' >&2\nexit 1\n"
    )
    go.chmod(0o755)
    said: list[str] = []
    with pytest.raises(Unavailable, match="the Go module proxy") as caught:
        temporal.program(tmp_path / "cache", said.append, use_installed=True)
    assert "put the program `temporal`" in str(caught.value)
    assert "connection refused" in str(caught.value)
    assert "registry.invalid" not in str(caught.value)
    assert "downloading Go modules 1" in said


def test_an_old_go_is_passed_over(bin_folder: Path, tmp_path: Path) -> None:
    environment = temporal.go_environment(tmp_path)
    script(bin_folder, "go", "go1.19.8")
    assert temporal.go(environment) != bin_folder / "go"
    script(bin_folder, "go", "go1.26.8")
    assert temporal.go(environment) == bin_folder / "go"


def test_an_installed_kafka_gives_its_jars(bin_folder: Path, tmp_path: Path) -> None:
    home = tmp_path / "kafka"
    start = script(home / "bin", "kafka-server-start.sh", "x")
    (home / "libs").mkdir()
    (bin_folder / "kafka-server-start.sh").symlink_to(start)
    assert kafka.installed() is None
    (home / "libs" / "kafka_2.13-3.9.0.jar").touch()
    assert kafka.installed() is None
    (home / "libs" / "kafka_2.13-4.1.0.jar").touch()
    assert kafka.installed() == home / "libs"


def test_jars_that_cannot_be_fetched_name_maven_central(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_coordinate: str, work: Path) -> list[Path]:
        (work / "half.jar").touch()
        raise OSError("connection refused")

    monkeypatch.setattr(java, "_resolve", fail)
    with pytest.raises(Unavailable, match="Maven Central") as caught:
        kafka.program(tmp_path, quiet, use_installed=False)
    assert kafka.INSTEAD in str(caught.value)
    assert (tmp_path / "work" / "kafka_2.13-4.1.1" / "half.jar").exists()


def test_a_jar_with_another_checksum_is_refused_and_fetched_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fetch(_coordinate: str, work: Path) -> list[Path]:
        (work / "kafka-clients-4.1.1.jar").write_bytes(b"not what was pinned")
        return [work / "kafka-clients-4.1.1.jar"]

    monkeypatch.setattr(java, "_resolve", fetch)
    with pytest.raises(Unavailable, match="damaged"):
        kafka.program(tmp_path, quiet, use_installed=False)
    assert not (tmp_path / "kafka_2.13-4.1.1").exists()
    assert not (tmp_path / "work" / "kafka_2.13-4.1.1").exists()


def installation(folder: Path, version: str) -> Path:
    """Something that says it is PostgreSQL."""
    for name in ("initdb", "createdb"):
        script(folder, name, name)
    return script(folder, "postgres", f"postgres (PostgreSQL) {version}").parent


@pytest.fixture
def only_path(bin_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """No PostgreSQL but those on PATH and in the wheel."""
    monkeypatch.setattr(postgres, "DEBIAN", bin_folder / "nowhere")
    return bin_folder


@pytest.mark.parametrize(("version", "chosen"), [("15.4", True), ("18.1", True), ("14.9", False), ("19beta1", False)])
def test_an_installed_postgresql_of_the_right_range_is_used(only_path: Path, version: str, chosen: bool) -> None:
    installation(only_path, version)
    found = postgres.programs(only_path, use_installed=True)
    assert (found.folder == only_path) is chosen
    assert postgres.programs(only_path, use_installed=False).folder != only_path


def test_the_data_folder_decides_the_version(only_path: Path, tmp_path: Path) -> None:
    installation(only_path, "17.2")
    data = tmp_path / "state" / "data" / "postgres"
    data.mkdir(parents=True)
    (data / "PG_VERSION").write_text("18\n")
    assert postgres.programs(tmp_path / "state", use_installed=True).major == 18
    (data / "PG_VERSION").write_text("17\n")
    assert postgres.programs(tmp_path / "state", use_installed=False).folder == only_path
    (data / "PG_VERSION").write_text("15\n")
    with pytest.raises(ConfigurationError, match="made by PostgreSQL 15"):
        postgres.programs(tmp_path / "state", use_installed=True)


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({"kafka": "127.0.0.1:1"}, "Kafka address in the settings"),
        ({"kafka": "nonsense"}, "Kafka address in the settings"),
        ({"postgres": "postgresql://me:secret@127.0.0.1:1/x"}, "PostgreSQL address in the settings"),
        ({"temporal": "127.0.0.1:1"}, "Temporal address in the settings"),
    ],
)
def test_an_address_in_the_settings_comes_first_and_must_answer(
    tmp_path: Path, settings: dict[str, str], text: str
) -> None:
    stack = Stack(StackSettings(state=tmp_path, **settings), {next(iter(settings))}, Silent())  # type: ignore[arg-type]
    with pytest.raises(GatewayError, match=text) as caught:
        stack.up()
    assert "secret" not in str(caught.value)


def test_reset_deletes_only_a_state_folder(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "thesis.txt").touch()
    result = CliRunner().invoke(stack_commands.app, ["reset", "--yes", "--state", str(tmp_path)])
    assert result.exit_code == 0
    assert (tmp_path / "data" / "thesis.txt").exists()


def test_a_folder_that_was_there_keeps_its_mode(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir(mode=0o755)
    with pytest.raises(ConfigurationError):
        Stack(StackSettings(state=tmp_path / "mine", kafka="127.0.0.1:1"), {"kafka"}, Silent()).up()
    assert (tmp_path / "mine").stat().st_mode & 0o777 == 0o755
    assert (tmp_path / "mine" / "secrets").stat().st_mode & 0o777 == 0o700


def test_no_error_names_a_host() -> None:
    for text in (temporal.HELP, java.MAVEN_HELP, kafka.INSTEAD, postgres.INSTEAD):
        assert "." not in text.replace(". ", " ").replace(".sh", "").replace(".xml", "").replace("1.5", "")


def test_every_setting_is_described() -> None:
    assert all(field.description for field in StackSettings.model_fields.values())


def test_a_password_is_not_shown() -> None:
    shown = Addresses(postgres="postgresql://me:secret@h:1/d", kafka="h:2").without_password
    assert shown["postgres"] == "postgresql://me:…@h:1/d"
    assert shown["kafka"] == "h:2"


def test_a_part_that_fails_does_not_let_the_others_go_on_for_minutes(
    bin_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(temporal, "_download", lambda *_: None)
    go = bin_folder / "go"
    go.write_text('#!/bin/sh\n[ "$1" = env ] && echo go1.27.3 && exit 0\nexec sleep 600\n')
    go.chmod(0o755)
    (bin_folder / "sleep").symlink_to("/bin/sleep")
    settings = StackSettings(state=tmp_path / "state", cache=tmp_path / "cache", kafka="127.0.0.1:1")
    with pytest.raises(ConfigurationError, match="Kafka address"):
        Stack(settings, {"kafka", "temporal"}, Silent()).up()
    records = list((tmp_path / "cache" / "work").rglob("build.json"))
    assert records == []


def test_what_is_said_on_a_terminal_and_elsewhere() -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    plain, live = io.StringIO(), Terminal()
    lines = Lines(Console(file=plain))
    display = Display(Console(file=live, force_terminal=True))
    for progress in (lines, display):
        for number in range(5):
            progress.doing("temporal", f"downloading {number}")
        progress.doing("temporal", "starting")
        progress.done("temporal", "at 127.0.0.1:1")
        progress.close()
    assert [line.rpartition(" (")[0] or line for line in plain.getvalue().splitlines()] == [
        "temporal: downloading 0",
        "temporal: starting",
        "temporal: at 127.0.0.1:1",
    ]
    assert "at 127.0.0.1:1" in live.getvalue()
