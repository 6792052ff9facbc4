"""Which partner is asked for which payer, and which profiles cannot be asked at all."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from gateway import samples
from gateway.core.errors import ConfigurationError
from gateway.partners import Partner, Partners, load, read

X12 = {"sender": "PLAN0009", "receiver": "GATEWAY"}
CORE = {"url": "https://plan.example/core", "sender_id": "GATEWAY", "receiver_id": "PLAN0009"}


def partner(name: str, **ask: Any) -> Partner:
    return Partner.model_validate(
        {"name": name, "x12": X12 | {"name": name}, "core": CORE | {"name": name}, "ask": {"payers": ["*"]} | ask}
    )


def test_who_names_the_payer_comes_before_who_takes_all() -> None:
    partners = Partners([partner("all"), partner("plan", payers=["P1"]), partner("own", payers=["P2"], tenants=["t2"])])
    found = {
        (tenant, payer): partners.asked_for(tenant, payer) for tenant in ("t1", "t2") for payer in ("P1", "P2", "")
    }
    names = {key: one.name for key, one in found.items() if one is not None}
    assert names == {
        ("t1", "P1"): "plan", ("t1", "P2"): "all", ("t1", ""): "all",
        ("t2", "P1"): "plan", ("t2", "P2"): "own", ("t2", ""): "all",
    }  # fmt: skip
    assert Partners([partner("plan", payers=["P1"])]).asked_for("t1", "P3") is None
    assert Partners([partner("plan", payers=["P1"])]).asked_for("t1", "") is None


@pytest.mark.parametrize(("missing", "by"), [("x12", "core"), ("core", "core"), ("core", "core-batch"), ("", "sftp")])
def test_a_profile_that_cannot_be_asked_is_refused(tmp_path: Path, missing: str, by: str) -> None:
    profile = partner("plan").model_dump(mode="json", exclude_none=True, exclude_defaults=True)
    profile["ask"]["by"] = by
    profile.pop(missing, None)
    (tmp_path / "plan.yaml").write_text(yaml.safe_dump(profile), encoding="utf-8")
    with pytest.raises(ConfigurationError):
        read(tmp_path / "plan.yaml")


def test_the_sample_profile_is_one() -> None:
    (found,) = load(Path(samples.__file__).parent / "partners").all
    assert found.asked_at == "core/sample-health-plan"
