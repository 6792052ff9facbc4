-- When an endpoint may be called next: its rate is kept by every process and for every tenant together, so it has no tenant.
CREATE TABLE workflow.endpoint_turns (
    endpoint text PRIMARY KEY,
    next_at  timestamptz NOT NULL
);
GRANT SELECT, INSERT, UPDATE ON workflow.endpoint_turns TO gateway_app;
