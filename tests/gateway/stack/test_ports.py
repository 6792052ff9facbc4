"""Ports: kept while they are free, and never two gateways' at once, whoever listens first."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from gateway.core.errors import ConfigurationError
from gateway.core.settings import Settings
from gateway.infra.http import HttpSettings, listener
from gateway.roles.node import prepared
from gateway.stack import Addresses
from gateway.stack.ports import Ports, free

CLAIMER = """
import sys, time
from pathlib import Path
from gateway.stack.ports import Ports
ports = Ports(Path(sys.argv[1]))
print(ports.choose("http", favourite=int(sys.argv[2])), flush=True)
time.sleep(600)
"""


def taken(port: int) -> object:
    """Somebody listens there."""
    bound = listener(HttpSettings(address=f"127.0.0.1:{port}"))
    bound.listen()
    return bound


def test_ports_are_kept_while_they_are_free(tmp_path: Path) -> None:
    path = tmp_path / "ports.json"
    first = Ports(path).choose("kafka")
    assert Ports(path).choose("kafka") == first
    assert Ports(path).choose("postgres") != first
    stranger = taken(first)
    assert not free(first)
    other = Ports(path).choose("kafka")
    assert other != first
    with pytest.raises(ConfigurationError, match=f"port {first} for kafka is in use"):
        Ports(path).choose("kafka", first)
    del stranger
    assert Ports(path).choose("kafka") == other
    assert Ports(path).choose("kafka", first) == first


@pytest.mark.skipif(sys.platform != "linux", reason="claims are Linux's")
def test_a_chosen_port_is_nobody_elses_before_anyone_listens(tmp_path: Path) -> None:
    favourite = Ports(tmp_path / "free.json").choose("any")
    ours, theirs = Ports(tmp_path / "ours.json"), Ports(tmp_path / "theirs.json")
    assert ours.choose("mllp", favourite=favourite) == favourite
    assert theirs.choose("mllp", favourite=favourite) != favourite
    with pytest.raises(ConfigurationError, match=f"port {favourite} for mllp is in use"):
        theirs.choose("mllp", favourite)
    ours.release()
    assert theirs.choose("mllp", favourite) == favourite


@pytest.mark.skipif(sys.platform != "linux", reason="claims are Linux's")
def test_the_ports_of_a_killed_gateway_are_free(tmp_path: Path) -> None:
    favourite = Ports(tmp_path / "free.json").choose("any")
    command = [sys.executable, "-c", CLAIMER, str(tmp_path / "theirs.json"), str(favourite)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        assert int(other.stdout.readline()) == favourite
        assert Ports(tmp_path / "ours.json").choose("http", favourite=favourite) != favourite
        other.kill()
        other.wait()
    assert Ports(tmp_path / "ours.json").choose("http", favourite, host="127.0.0.1") == favourite


def addresses(state: Path, **given: str) -> tuple[Ports, str, str]:
    """What a gateway in this folder binds; its ports are held while the first of them is."""
    settings = Settings(profile="demo", state=state, **given)  # type: ignore[arg-type]
    servers = Addresses(kafka="k:1", temporal="t:1", postgres="p")
    ports = Ports(state / "ports.json")
    state.mkdir(exist_ok=True)
    environment = prepared(settings, servers, state, ports)
    return ports, environment["GATEWAY_HTTP"], environment["GATEWAY_MLLP"]


@pytest.mark.skipif(sys.platform != "linux", reason="claims are Linux's")
def test_gateways_started_at_once_have_their_own_ports(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP", "MLLP"):
        monkeypatch.delenv(f"GATEWAY_{name}", raising=False)
    first, second = addresses(tmp_path / "first"), addresses(tmp_path / "second")
    assert len({*first[1:], *second[1:]}) == 4
    chosen = addresses(tmp_path / "third", http="127.0.0.1:0", mllp="127.0.0.1:0")
    assert not {"127.0.0.1:0", *first[1:], *second[1:]} & set(chosen[1:])
    with pytest.raises(ConfigurationError, match="for mllp is in use"):
        addresses(tmp_path / "fourth", mllp=second[2])
    first[0].release()
    assert addresses(tmp_path / "fifth", mllp=first[2])[2] == first[2]
    with pytest.raises(ConfigurationError, match=r"cannot bind 192\.0\.2\.1"):
        addresses(tmp_path / "sixth", http="192.0.2.1:8080")
