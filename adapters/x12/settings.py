"""Partner profiles: who the other side is, and how we talk with it. Validated YAML, closed: unknown keys are errors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from adapters.x12.wire import AckPolicy, Effect, InterchangeHeader, Limits, Options, Separators
from adapters.x12.wire.program import CodeSets
from adapters.x12.wire.reports import addressable
from adapters.x12.wire.walker import DEFAULT_EFFECTS


def _addressable(value: str) -> str:
    if not addressable(value) or value != value.strip():
        raise ValueError("must have 1 to 15 printable characters without * : ^ ~ and without blanks around")
    return value


PartnerId = Annotated[str, AfterValidator(_addressable)]
"""An interchange identifier (ISA06, ISA08)."""

SnipType = Literal["1", "2", "3", "4", "5", "7"]


class _Closed(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class SeparatorSettings(_Closed):
    """Delimiters of what we send to this partner."""

    element: str = Field("*", min_length=1, max_length=1, description="between elements (ISA byte 4)")
    component: str = Field(":", min_length=1, max_length=1, description="inside composites (ISA16)")
    repetition: str = Field("^", min_length=1, max_length=1, description="between repetitions (ISA11)")
    segment: str = Field("~", min_length=1, max_length=1, description="after segments (ISA byte 106)")

    @model_validator(mode="after")
    def _usable(self) -> SeparatorSettings:
        if self.wire().fault():
            raise ValueError("separators must differ and be neither letters, digits nor blanks")
        return self

    def wire(self) -> Separators:
        """As the wire package wants them."""
        return Separators(self.element, self.component, self.repetition, self.segment)


class AcknowledgementSettings(_Closed):
    """Which acknowledgements this partner gets."""

    ta1: Literal["requested", "always", "refused"] = Field(
        "requested", description="requested: when ISA14 is 1 and for refusals; refused: only for refusals"
    )
    implementation: bool = Field(True, description="send a 999 for each functional group")
    claim: bool = Field(True, description="send a 277CA for each accepted 837, and do not take the claims it refuses")
    copy_values: bool = Field(False, description="IK404 repeats bad values, which may identify people")
    business_units: bool = Field(True, description="CTX names the claim or trace number of a fault")


class PartnerProfile(_Closed):
    """One trading partner."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9-]{0,62}$", description="our name for it, e.g. clearinghouse-a")
    sender: PartnerId = Field(description="its ISA06")
    sender_qualifier: str = Field("ZZ", pattern=r"^[A-Z0-9]{2}$", description="its ISA05")
    receiver: PartnerId = Field(description="our ISA08 towards it")
    receiver_qualifier: str = Field("ZZ", pattern=r"^[A-Z0-9]{2}$", description="our ISA07")
    group_sender: str = Field("", max_length=15, description="its GS02, where it differs from ISA06")
    group_receiver: str = Field("", max_length=15, description="our GS03, where it differs from ISA08")
    usage: Literal["P", "T"] = Field("P", description="P: production endpoint; T: test. The other one is refused")
    separators: SeparatorSettings = Field(default_factory=SeparatorSettings, description="delimiters of what we send")
    line_ends: bool = Field(False, description="a line feed after each segment we send")
    character_set: Literal["extended", "utf8"] = Field("extended", description="utf8 also accepts accented letters")
    acknowledgements: AcknowledgementSettings = Field(
        default_factory=AcknowledgementSettings, description="which acknowledgements it gets"
    )
    request_acknowledgement: bool = Field(False, description="ISA14 of what we send")
    edits: dict[SnipType, Effect] = Field(
        default_factory=dict, description="SNIP type → reject, error or report, where the default does not suit"
    )
    duplicate_window_days: int = Field(
        400, ge=1, le=3660, description="how long a control number stays taken (days); at least a year, for rollover"
    )
    max_segment_bytes: int = Field(1 << 20, ge=1024, le=1 << 26, description="a longer segment ends the reading")
    max_binary_bytes: int = Field(1 << 26, ge=1024, le=1 << 28, description="a longer BIN or BDS ends the reading")
    groups: list[str] = Field(default_factory=list, description="GS01 served for this partner; empty: all known")

    @property
    def policy(self) -> AckPolicy:
        """How interchanges from it are acknowledged."""
        own = self.acknowledgements
        return AckPolicy(
            own.ta1,
            own.implementation,
            own.claim,
            own.copy_values,
            own.business_units,
            self.separators.wire(),
            self.line_ends,
        )

    def reading(self, code_sets: CodeSets) -> Options:
        """How interchanges from it are read and judged."""
        effects = {**DEFAULT_EFFECTS, **{int(snip): effect for snip, effect in self.edits.items()}}
        return Options("judge", effects, self.character_set, code_sets, self.limits)

    @property
    def limits(self) -> Limits:
        """How much one segment may hold."""
        return Limits(self.max_segment_bytes, self.max_binary_bytes)


class X12Settings(_Closed):
    """Everything of this adapter."""

    partners: list[PartnerProfile] = Field(default_factory=list, description="the trading partners")

    @model_validator(mode="after")
    def _distinct(self) -> X12Settings:
        keys = [(partner.sender, partner.receiver, partner.usage) for partner in self.partners]
        names = [partner.name for partner in self.partners]
        if len(set(keys)) < len(keys) or len(set(names)) < len(names):
            raise ValueError("partners must differ in name and in (sender, receiver, usage)")
        return self


def find_partner(partners: Sequence[PartnerProfile], header: InterchangeHeader) -> PartnerProfile | None:
    """The profile of a sender: best with our identifier and the right usage, else any of its profiles."""
    own = [partner for partner in partners if partner.sender == header.sender]
    named = [partner for partner in own if partner.receiver == header.receiver]
    exact = [partner for partner in named if partner.usage == header.usage]
    return next(iter([*exact, *named, *own]), None)


def widest_limits(partners: Sequence[PartnerProfile]) -> Limits:
    """Limits hold for a whole file, before it is known whose interchanges are in it."""
    limits = [partner.limits for partner in partners]
    if not limits:
        return Limits()
    return Limits(max(one.max_segment for one in limits), max(one.max_binary for one in limits))
