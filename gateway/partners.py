"""Partner profiles: one YAML file per trading partner or hospital, read from the folder the settings name.

A profile is refused as a whole when anything in it is wrong; nothing of it is used then. Secrets are references.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from adapters.fhir.settings import EhrServer, PayerServer
from adapters.hl7.settings import PartnerSettings, SenderSettings
from adapters.sftp.settings import SftpEndpoint
from adapters.soap.settings import CoreEndpoint
from adapters.x12.settings import PartnerProfile
from gateway.core.errors import ConfigurationError, Issue


class CoreLogin(BaseModel):
    """How a partner signs in at our CAQH CORE edge."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    sender_id: str = Field(min_length=1, description="SenderID of its envelopes.")
    username: str = Field(min_length=1, description="User name of its UsernameToken.")
    password: str = Field(min_length=1, description="Secret reference of its password.")
    senders: tuple[str, ...] = Field(
        (), description="ISA06 it may send under; empty: that of its `x12`, without one its sender_id."
    )
    later: Literal["pickup", "core", "sftp"] = Field(
        "pickup",
        description="Where later decisions on what was answered go. pickup: fetched by BatchResultsRetrieval under the "
        "request's PayloadID; core: submitted to its CORE server; sftp: a file in its drop.",
    )


class Fetching(BaseModel):
    """When the results of a CORE batch are asked for."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    first_seconds: float = Field(60.0, gt=0, description="Pause before the first time; doubled after each.")
    longest_seconds: float = Field(3600.0, gt=0, description="Longest pause between two times.")
    days: float = Field(30.0, gt=0, description="Days after the submission at which nobody asks any more.")

    def pause(self, polls: int) -> float:
        """Seconds before the next time, after so many."""
        return float(min(self.first_seconds * 2 ** min(polls, 30), self.longest_seconds))


class Asking(BaseModel):
    """For which payers we ask this partner for authorizations, and how (278, 005010X217, or Da Vinci PAS)."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    payers: tuple[str, ...] = Field(
        min_length=1, description="Payers asked here, as the fact coverage.payer names them; `*`: every payer."
    )
    tenants: tuple[str, ...] = Field((), description="Tenants whose cases are asked here; empty: every tenant.")
    by: Literal["core", "core-batch", "sftp", "fhir"] = Field(
        "core",
        description="core: CAQH CORE real time; core-batch: CORE batch; sftp: a file in its drop; fhir: PAS $submit.",
    )
    trace_assigner: str = Field(
        "", pattern=r"^([A-Za-z0-9]{10})?$", description="TRN03 of requests whose trace number names no assigner."
    )
    documents: Literal["asked", "all"] = Field(
        "asked",
        description="What is forwarded of the documents that come while it decides (275, $submit-attachment): those it "
        "asked for, or all that are sent for the case.",
    )
    documents_payload_type: str = Field(
        "X12_275_Request_005010X210", min_length=1, description="CORE PayloadType of 275s: named after GS08."
    )

    results: Fetching = Field(Fetching(), description="When the results of a CORE batch are asked for.")

    @property
    def transport(self) -> Literal["core", "sftp", "fhir"]:
        """The kind of endpoint."""
        return "core" if self.by == "core-batch" else self.by


class Partner(BaseModel):
    """Everything agreed with one partner."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9-]{0,62}$", description="Name of the partner; part of endpoint names.")
    per_second: float = Field(5.0, gt=0, description="Messages we send to it per second at most.")
    hl7: PartnerSettings | None = Field(None, description="How it sends HL7 v2 to us over MLLP.")
    hl7_mapping: Path | None = Field(
        None, description="File of its own codes, systems and segments, laid over the tables; beside this profile."
    )
    mllp: SenderSettings | None = Field(None, description="Where we send HL7 v2 to it.")
    sftp: SftpEndpoint | None = Field(None, description="Its SFTP drop.")
    x12: PartnerProfile | None = Field(None, description="Its X12 identities, separators and acknowledgement policy.")
    core: CoreEndpoint | None = Field(None, description="Its CAQH CORE server.")
    fhir: PayerServer | None = Field(None, description="Its PAS server, where it decides and is asked over FHIR.")
    ehr: EhrServer | None = Field(
        None, description="Its EHR's FHIR server, where decisions on the Claims it posts to /fhir/r4 are written."
    )
    core_login: CoreLogin | None = Field(None, description="How it signs in at our CAQH CORE edge.")
    ask: Asking | None = Field(None, description="For which payers we ask it for authorizations.")

    @model_validator(mode="after")
    def _can_be_asked(self) -> Partner:
        if self.ask is not None and self.ask.by == "fhir":
            if self.fhir is None:
                raise ValueError("to be asked by fhir it needs `fhir`")
        elif self.ask is not None and (self.x12 is None or getattr(self, self.ask.transport) is None):
            raise ValueError(f"to be asked by {self.ask.by} it needs `x12` and `{self.ask.transport}`")
        return self

    @model_validator(mode="after")
    def _can_be_told_later(self) -> Partner:
        later = self.core_login.later if self.core_login is not None else "pickup"
        if later != "pickup" and getattr(self, later) is None:
            raise ValueError(f"to be told of later decisions by {later} it needs `{later}`")
        return self

    @property
    def core_senders(self) -> frozenset[str]:
        """The ISA06 it may send under at our CORE edge."""
        if self.core_login is None:
            return frozenset()
        own = self.x12.sender if self.x12 is not None else self.core_login.sender_id
        return frozenset(self.core_login.senders or (own,))

    @property
    def asked_at(self) -> str:
        """The endpoint we ask at, `core/<name>`, `sftp/<name>` or `fhir/<name>`; empty: it is not asked."""
        return f"{self.ask.transport}/{self.name}" if self.ask is not None else ""


@dataclass(frozen=True, slots=True)
class Partners:
    """All partners."""

    all: Sequence[Partner] = ()

    @property
    def hl7(self) -> tuple[PartnerSettings, ...]:
        """Who may send HL7 v2."""
        return tuple(partner.hl7 for partner in self.all if partner.hl7 is not None)

    @property
    def sftp(self) -> tuple[Partner, ...]:
        """Partners with an SFTP drop."""
        return tuple(partner for partner in self.all if partner.sftp is not None)

    @property
    def mllp(self) -> tuple[Partner, ...]:
        """Partners we send HL7 v2 to."""
        return tuple(partner for partner in self.all if partner.mllp is not None)

    @property
    def core(self) -> tuple[Partner, ...]:
        """Partners with a CAQH CORE server."""
        return tuple(partner for partner in self.all if partner.core is not None)

    @property
    def fhir(self) -> tuple[Partner, ...]:
        """Partners with a PAS server."""
        return tuple(partner for partner in self.all if partner.fhir is not None)

    @property
    def ehrs(self) -> tuple[Partner, ...]:
        """Partners with an EHR that we write to."""
        return tuple(partner for partner in self.all if partner.ehr is not None)

    def written_to(self, client: str) -> str:
        """The endpoint where decisions on a client's Claims are written, `ehr/<name>`; "" when nowhere."""
        return next((f"ehr/{one.name}" for one in self.ehrs if one.ehr is not None and client in one.ehr.clients), "")

    def forwards_all(self, name: str) -> bool:
        """Whether this partner gets all documents that are sent for a case it decides."""
        return any(one.name == name and one.ask is not None and one.ask.documents == "all" for one in self.all)

    def asked_for(self, tenant: str, payer: str) -> Partner | None:
        """The partner that decides this payer's authorizations; who names the payer comes before who takes all."""
        found = [one for one in self.all if one.ask is not None and (not one.ask.tenants or tenant in one.ask.tenants)]
        for wanted in (payer, "*"):
            for one in found:
                if wanted and one.ask is not None and wanted in one.ask.payers:
                    return one
        return None

    @property
    def x12(self) -> tuple[PartnerProfile, ...]:
        """X12 partner profiles."""
        return tuple(partner.x12 for partner in self.all if partner.x12 is not None)


def read(path: Path) -> Partner:
    """One profile. Raises ConfigurationError that names each fault."""
    try:
        found = Partner.model_validate(yaml.safe_load(path.read_text(encoding="utf-8")))
    except (OSError, yaml.YAMLError) as error:
        raise ConfigurationError("a partner profile cannot be read", location=path.name) from error
    except ValidationError as error:
        issues = tuple(
            Issue("partner", ".".join(str(part) for part in fault["loc"]), fault["msg"]) for fault in error.errors()
        )
        raise ConfigurationError("a partner profile is not valid", location=path.name, issues=issues) from error
    if found.hl7_mapping is None:
        return found
    if found.hl7 is None:
        raise ConfigurationError("hl7_mapping without hl7: nothing it is for", location=path.name)
    return found.model_copy(update={"hl7_mapping": path.parent / found.hl7_mapping})


def load(folder: Path | None) -> Partners:
    """All profiles of a folder. Raises ConfigurationError, also for two partners of one name."""
    if folder is None:
        return Partners()
    found = [read(path) for path in sorted(folder.glob("*.yaml"))]
    if len({partner.name for partner in found}) != len(found):
        raise ConfigurationError("two partner profiles have the same name", location=str(folder))
    clients = [client for partner in found if partner.ehr is not None for client in partner.ehr.clients]
    if len(set(clients)) != len(clients):
        raise ConfigurationError("one client's Claims are answered at two EHRs", location=str(folder))
    return Partners(found)
