"""Decisions on what an EHR posts to /fhir/r4 are written to it: to which one, what, and by which client."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from adapters.fhir.wire import FHIR_JSON, serialize
from gateway.app.asking_fhir import server_client
from gateway.app.core import App
from gateway.core.errors import EndpointRefused, Unmappable
from gateway.core.ports import Outbound, Sender
from gateway.partners import Partners
from gateway.stages.deliver import Letter
from gateway.store.cases import Case
from mappings.decision_to_ehr import render


def way_back(partners: Partners, case: Case) -> str:
    """The endpoint of decisions on a case that came over /fhir/r4; "" where its client has no EHR of ours."""
    if not str(case.context["type"]).startswith("authorization."):
        return ""  # nothing but authorizations is answered by a ClaimResponse
    return partners.written_to(str(case.context["reply"]["client"]))


@dataclass(frozen=True, slots=True)
class Write:
    """Renders a decision as the ClaimResponse that stands at the EHR under an id of ours."""

    partners: Partners
    pas_url: str

    async def __call__(self, letter: Letter) -> Outbound:
        """An update (PUT) that creates or replaces, so that a repetition changes nothing. Raises EndpointRefused."""
        server = next((one.ehr for one in self.partners.ehrs if f"ehr/{one.name}" == letter.endpoint), None)
        if server is None:
            raise EndpointRefused("the partner has no EHR any more")
        message = letter.context["resource"]
        try:
            response = render(message, letter.decision, base_url=server.base_url, pas_url=self.pas_url)
        except Unmappable as error:  # days of repetitions would not mend it
            raise EndpointRefused(f"not sent: {error.message}", location=error.location) from error
        return Outbound(
            endpoint=letter.endpoint,
            data=serialize(response),
            media_type=FHIR_JSON,
            idempotency_key="",
            attributes={"method": "PUT", "path": f"ClaimResponse/{response['id']}"},
        )


def senders(app: App) -> Mapping[str, Sender]:
    """A sender for the EHR of each partner that has one."""
    return {
        f"ehr/{partner.name}": server_client(partner.ehr, app.settings.profile)
        for partner in app.partners.ehrs
        if partner.ehr is not None
    }
