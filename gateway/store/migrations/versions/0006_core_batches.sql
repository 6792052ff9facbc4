-- Batches sent to a payer's CORE server whose results are to be fetched; the PayloadID derives from the delivery's key.
CREATE TABLE workflow.core_batches (
    idempotency_key text PRIMARY KEY,
    tenant          text NOT NULL,
    endpoint        text NOT NULL,
    sent_at         timestamptz NOT NULL,
    next_at         timestamptz NOT NULL,
    polls           integer NOT NULL DEFAULT 0,
    acknowledged    boolean NOT NULL DEFAULT false,
    state           text NOT NULL DEFAULT 'open' CHECK (state IN ('open', 'done', 'refused', 'given-up'))
);
CREATE INDEX core_batches_due ON workflow.core_batches (next_at) WHERE state = 'open';
GRANT SELECT, INSERT, UPDATE ON workflow.core_batches TO gateway_app;
ALTER TABLE workflow.core_batches ENABLE ROW LEVEL SECURITY;
CREATE POLICY tenant_only ON workflow.core_batches TO gateway_app
    USING (current_setting('gateway.tenant', true) IN (tenant, '*'))
    WITH CHECK (current_setting('gateway.tenant', true) IN (tenant, '*'));
