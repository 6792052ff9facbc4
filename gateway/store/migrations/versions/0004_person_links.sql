-- Person tokens (case_keys, kind person) that a merge said to be one person's: cases that open later get all of them.
CREATE TABLE workflow.person_links (
    tenant    text NOT NULL,
    token     text NOT NULL,
    person    uuid NOT NULL,
    linked_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant, token)
);
CREATE INDEX person_links_person ON workflow.person_links (tenant, person);

GRANT SELECT, INSERT, UPDATE ON workflow.person_links TO gateway_app;
ALTER TABLE workflow.person_links ENABLE ROW LEVEL SECURITY;
CREATE POLICY tenant_only ON workflow.person_links TO gateway_app
    USING (current_setting('gateway.tenant', true) IN (tenant, '*'))
    WITH CHECK (current_setting('gateway.tenant', true) IN (tenant, '*'));
