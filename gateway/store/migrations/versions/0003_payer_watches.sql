-- Our subscription at a payer that is asked over FHIR: one per partner, kept by whichever edge holds the lease.
CREATE TABLE workflow.payer_watches (
    tenant       text NOT NULL,
    partner      text NOT NULL,
    subscription text NOT NULL DEFAULT '',
    status       text NOT NULL DEFAULT 'none',
    events       bigint NOT NULL DEFAULT 0,
    announced    bigint NOT NULL DEFAULT 0,
    behind       boolean NOT NULL DEFAULT false,
    made_at      timestamptz,
    heard_at     timestamptz,
    looked_at    timestamptz,
    leased_until timestamptz NOT NULL DEFAULT '-infinity',
    PRIMARY KEY (tenant, partner)
);

-- What a notification only named (id-only): to be read at the payer.
CREATE TABLE workflow.payer_news (
    tenant      text NOT NULL,
    partner     text NOT NULL,
    digest      text NOT NULL,
    focus       bytea NOT NULL,
    received_at timestamptz NOT NULL,
    PRIMARY KEY (tenant, partner, digest)
);

GRANT SELECT, INSERT, UPDATE, DELETE ON workflow.payer_watches, workflow.payer_news TO gateway_app;
DO $$
DECLARE name text;
BEGIN
    FOREACH name IN ARRAY ARRAY['payer_watches', 'payer_news'] LOOP
        EXECUTE format('ALTER TABLE workflow.%I ENABLE ROW LEVEL SECURITY', name);
        EXECUTE format(
            'CREATE POLICY tenant_only ON workflow.%I TO gateway_app USING (current_setting(''gateway.tenant'', true) IN (tenant, ''*'')) '
            'WITH CHECK (current_setting(''gateway.tenant'', true) IN (tenant, ''*''))', name);
    END LOOP;
END $$;
