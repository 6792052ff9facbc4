"""Settings of the CORE SOAP edge and of CORE endpoints we call. Closed: an unknown name is an error."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class SoapSettings(BaseModel):
    """The edge: who we are, what we accept, how much of it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    tenant: str = Field("default", description="Tenant whose messages arrive here.")
    endpoint: str = Field("core", description="Name of this edge in `source` (`soap/<endpoint>`).")
    own_id: str = Field("GATEWAY", description="SenderID of answers to requests whose ReceiverID is unusable.")
    receivers: tuple[str, ...] = Field((), description="ReceiverIDs that mean us; empty: any.")
    payload_types: tuple[str, ...] = Field((), description="Patterns of PayloadType served here; empty: any.")
    versions: tuple[str, ...] = Field(("2.2.0", "v2.2.0"), description="CORERuleVersions served here.")
    strict: bool = Field(False, description="Refuse qualified or reordered fields, which some senders are known for.")
    maximum_bytes: int = Field(16 << 20, gt=0, description="Largest HTTP body in bytes.")
    certificate_header: str = Field(
        "", description="Header in which a trusted proxy passes the client certificate's subject; empty: none."
    )
    batch_answer: Literal["confirmation", "inline"] = Field(
        "confirmation",
        description="Answer to a batch: a receipt, the acknowledgement being fetched later, or the acknowledgement.",
    )
    public_url: str = Field("", description="Address put into the served WSDL; empty: as requested.")


class CoreEndpoint(BaseModel):
    """A CORE server of a payer that we call."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(description="Endpoint name used in `Outbound.endpoint`.")
    url: str = Field(description="Address of the service, https outside of tests.")
    sender_id: str = Field(description="Our SenderID there.")
    receiver_id: str = Field(description="Their ReceiverID.")
    version: str = Field("2.2.0", description="CORERuleVersion sent.")
    username: str = Field("", description="UsernameToken user; empty: no token.")
    password: str = Field("", description="Reference of the password in the secret store.", repr=False)
    certificate: str = Field("", description="Path of our client certificate (PEM); empty: none.")
    certificate_key: str = Field("", description="Path of its private key (PEM).")
    authority: str = Field("", description="Path of the certificate authority to trust (PEM); empty: the system's.")
    timeout: float = Field(20.0, gt=0, le=60, description="Seconds for one whole call.")
    repeat_seconds: float = Field(
        90.0, ge=0, description="Pause before the same is sent again where no answer came (CAQH CORE: at least 90)."
    )
    maximum_bytes: int = Field(16 << 20, gt=0, description="Largest answer in bytes.")
