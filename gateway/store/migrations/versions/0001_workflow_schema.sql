-- The first schema. No extensions: the embedded PostgreSQL has none, and gen_random_uuid() is in core since 13.
-- Oldest supported server: PostgreSQL 15.

CREATE SCHEMA workflow;

-- What the mission calls WorkflowDefinition. A definition never changes: a change is a new version, pinned by its hash.
CREATE TABLE workflow.workflow_definitions (
    id           uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    tenant       text NOT NULL,
    name         varchar(255) NOT NULL,
    version      varchar(50) NOT NULL,
    type         varchar(50) NOT NULL,
    definition   jsonb NOT NULL,
    content_hash text NOT NULL,
    status       varchar(50) NOT NULL DEFAULT 'active',
    created_by   text NOT NULL DEFAULT 'gateway',
    created_at   timestamptz NOT NULL DEFAULT now(),
    updated_at   timestamptz NOT NULL DEFAULT now(),
    UNIQUE (tenant, name, version)
);

-- One row per case. `context` is sealed by the Cipher: facts, resource and the way back.
CREATE TABLE workflow.workflow_instances (
    id            uuid PRIMARY KEY,
    tenant        text NOT NULL,
    workflow_key  text NOT NULL,
    definition_id uuid REFERENCES workflow.workflow_definitions (id),
    entity_type   varchar(50) NOT NULL,
    entity_id     uuid NOT NULL,
    status        varchar(50) NOT NULL,
    current_step  varchar(100),
    action        varchar(2),
    version       integer NOT NULL DEFAULT 0,
    priority      varchar(20) NOT NULL DEFAULT 'standard',
    lane          varchar(10) NOT NULL DEFAULT 'batch',
    run           integer NOT NULL DEFAULT 0,
    context       bytea NOT NULL,
    received_at   timestamptz NOT NULL,
    due_at        timestamptz,
    started_at    timestamptz NOT NULL DEFAULT now(),
    completed_at  timestamptz,
    created_at    timestamptz NOT NULL DEFAULT now(),
    updated_at    timestamptz NOT NULL DEFAULT now(),
    UNIQUE (tenant, workflow_key)
);
CREATE INDEX workflow_instances_opened ON workflow.workflow_instances (updated_at) WHERE status = 'opened';
CREATE INDEX workflow_instances_status ON workflow.workflow_instances (tenant, status, due_at);

-- The event store and outbox. The primary key is the optimistic concurrency; (xid, position) is the order of reading.
CREATE TABLE workflow.workflow_events (
    workflow_id uuid NOT NULL,
    version     integer NOT NULL,
    position    bigint GENERATED ALWAYS AS IDENTITY,
    xid         xid8 NOT NULL DEFAULT pg_current_xact_id(),
    id          uuid NOT NULL DEFAULT gen_random_uuid(),
    tenant      text NOT NULL,
    event_type  varchar(100) NOT NULL,
    event_data  jsonb NOT NULL,
    sealed      bytea,
    step_id     varchar(100),
    command_id  text,
    user_id     text,
    timestamp   timestamptz NOT NULL DEFAULT now(),
    metadata    jsonb NOT NULL DEFAULT '{}',
    PRIMARY KEY (workflow_id, version)
);
CREATE UNIQUE INDEX workflow_events_command ON workflow.workflow_events (workflow_id, command_id) WHERE command_id IS NOT NULL;
CREATE INDEX workflow_events_tail ON workflow.workflow_events (xid, position);

CREATE FUNCTION workflow.refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'events are append-only' USING ERRCODE = 'insufficient_privilege';
END $$;
CREATE TRIGGER workflow_events_append_only BEFORE UPDATE OR DELETE ON workflow.workflow_events
    FOR EACH ROW EXECUTE FUNCTION workflow.refuse_change();

-- One row per version of a rule set. `content` is the canonical document, byte for byte the file in git, and never changes;
-- effective and expiration say which days it decides, activated_at, retired_at and earlier when it was known to.
CREATE TABLE workflow.rule_releases (
    tenant       text NOT NULL,
    ruleset      varchar(255) NOT NULL,
    version      integer NOT NULL,
    content      bytea NOT NULL,
    hash         text NOT NULL CHECK (hash = 'sha256:' || encode(sha256(content), 'hex')),
    release_hash text NOT NULL,
    state        varchar(50) NOT NULL CHECK (state IN ('draft', 'in_review', 'approved', 'active', 'retired')),
    author       text NOT NULL CHECK (author <> ''),
    approver     text NOT NULL DEFAULT '',
    effective    date,
    expiration   date,
    activated_at timestamptz,
    retired_at   timestamptz,
    earlier      tstzmultirange NOT NULL DEFAULT '{}',
    created_at   timestamptz NOT NULL DEFAULT now(),
    updated_at   timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant, ruleset, version),
    CONSTRAINT two_people CHECK (lower(approver) <> lower(author)),
    CONSTRAINT approved CHECK (state NOT IN ('approved', 'active') OR approver <> ''),
    CONSTRAINT activated CHECK (state <> 'active' OR activated_at IS NOT NULL)
);
CREATE INDEX rule_releases_active ON workflow.rule_releases (tenant, ruleset) WHERE state = 'active';

-- What the mission calls BusinessRule: the rules of each version, one row each, to be read; written with the version.
CREATE TABLE workflow.business_rules (
    id              uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    tenant          text NOT NULL,
    ruleset         varchar(255) NOT NULL,
    ruleset_version integer NOT NULL,
    rule_id         text NOT NULL,
    version         integer NOT NULL,
    name            text NOT NULL,
    category        varchar(50) NOT NULL,
    condition       jsonb NOT NULL,
    action          jsonb NOT NULL,
    priority        integer NOT NULL DEFAULT 0,
    effective_date  date,
    expiration_date date,
    created_at      timestamptz NOT NULL DEFAULT now(),
    UNIQUE (tenant, ruleset, ruleset_version, rule_id, version),
    FOREIGN KEY (tenant, ruleset, ruleset_version) REFERENCES workflow.rule_releases (tenant, ruleset, version)
);

CREATE TABLE workflow.integrations (
    id             uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    tenant         text NOT NULL,
    name           varchar(255) NOT NULL,
    type           varchar(50) NOT NULL,
    configuration  jsonb NOT NULL,
    credentials_id uuid,
    status         varchar(50) NOT NULL DEFAULT 'active',
    created_at     timestamptz NOT NULL DEFAULT now(),
    updated_at     timestamptz NOT NULL DEFAULT now(),
    UNIQUE (tenant, name)
);

CREATE TABLE workflow.workflow_metrics (
    id           uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    tenant       text NOT NULL,
    workflow_id  uuid REFERENCES workflow.workflow_instances (id),
    metric_name  varchar(100) NOT NULL,
    metric_value numeric(20, 4) NOT NULL,
    dimensions   jsonb NOT NULL DEFAULT '{}',
    timestamp    timestamptz NOT NULL DEFAULT now()
);

-- Idempotency beyond Temporal's retention (D5): same key and body → no second effect; same key, other body → conflict.
CREATE TABLE workflow.inbox (
    tenant      text NOT NULL,
    source      text NOT NULL,
    dedupe_key  text NOT NULL,
    body_sha256 text NOT NULL,
    event_id    uuid NOT NULL,
    case_id     uuid,
    received_at timestamptz NOT NULL,
    PRIMARY KEY (tenant, source, dedupe_key)
);

-- Deliver once (D10): the bytes are rendered and stored before the first attempt; a resend sends the same bytes.
CREATE TABLE workflow.deliveries (
    idempotency_key text PRIMARY KEY,
    tenant          text NOT NULL,
    case_id         uuid NOT NULL,
    endpoint        text NOT NULL,
    media_type      text NOT NULL,
    body            bytea NOT NULL,
    attributes      jsonb NOT NULL DEFAULT '{}',
    state           text NOT NULL DEFAULT 'intended',
    attempts        integer NOT NULL DEFAULT 0,
    receipt         jsonb,
    created_at      timestamptz NOT NULL DEFAULT now(),
    delivered_at    timestamptz
);
CREATE INDEX deliveries_case ON workflow.deliveries (case_id);

-- Every message received, by where it lies in Kafka. Filled by its own consumer group, never by the edge (D3).
CREATE TABLE workflow.message_journal (
    event_id       uuid PRIMARY KEY,
    tenant         text NOT NULL,
    topic          text NOT NULL,
    partition      integer NOT NULL,
    record_offset  bigint NOT NULL,
    type           text NOT NULL,
    source         text NOT NULL,
    format         text NOT NULL,
    subject        text NOT NULL,
    message_key    text NOT NULL,
    dedupe_key     text NOT NULL,
    body_sha256    text NOT NULL,
    size           bigint NOT NULL,
    correlation_id text NOT NULL,
    causation_id   text,
    parked         text NOT NULL DEFAULT '',
    ledger         jsonb NOT NULL DEFAULT '{}',
    body           bytea NOT NULL,
    received_at    timestamptz NOT NULL,
    journaled_at   timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX message_journal_subject ON workflow.message_journal (tenant, subject);
CREATE INDEX message_journal_correlation ON workflow.message_journal (correlation_id);
CREATE INDEX message_journal_received ON workflow.message_journal (tenant, received_at);

-- Tokens under which a case can be found from any rail: trace numbers, authorization numbers, member and provider.
CREATE TABLE workflow.case_keys (
    tenant  text NOT NULL,
    kind    text NOT NULL,
    token   text NOT NULL,
    case_id uuid NOT NULL,
    PRIMARY KEY (tenant, kind, token, case_id)
);

-- Claim-checked payloads, sealed; content-addressed within the tenant.
CREATE TABLE workflow.blobs (
    tenant     text NOT NULL,
    sha256     text NOT NULL,
    data       bytea NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant, sha256)
);

-- How far each reader of the event log has come; moved in the same transaction as what it wrote.
CREATE TABLE workflow.projections (
    name       text PRIMARY KEY,
    xid        xid8 NOT NULL DEFAULT '0',
    position   bigint NOT NULL DEFAULT 0,
    updated_at timestamptz NOT NULL DEFAULT now()
);

-- Read model of cases, rebuilt from events alone.
CREATE TABLE workflow.case_view (
    case_id      uuid PRIMARY KEY,
    tenant       text NOT NULL,
    type         text NOT NULL,
    status       text NOT NULL,
    action       text NOT NULL DEFAULT '',
    priority     text NOT NULL DEFAULT '',
    step         text NOT NULL DEFAULT '',
    version      integer NOT NULL,
    received_at  timestamptz,
    due_at       timestamptz,
    decided_at   timestamptz,
    completed_at timestamptz
);

-- Answers to people: open tasks of the human steps.
CREATE TABLE workflow.human_tasks (
    task_id    text PRIMARY KEY,
    tenant     text NOT NULL,
    case_id    uuid NOT NULL,
    role       text NOT NULL,
    step_id    text NOT NULL,
    state      text NOT NULL DEFAULT 'open',
    due_at     timestamptz,
    created_at timestamptz NOT NULL DEFAULT now(),
    closed_at  timestamptz
);
CREATE INDEX human_tasks_open ON workflow.human_tasks (tenant, role, due_at) WHERE state = 'open';

-- X12 interchange ledger (duplicates, stored answers) and the control-number allocator.
CREATE TABLE workflow.interchanges (
    tenant          text NOT NULL,
    sender          text NOT NULL,
    receiver        text NOT NULL,
    control_number  text NOT NULL,
    usage           text NOT NULL,
    sha256          text NOT NULL,
    finished        boolean NOT NULL DEFAULT false,
    acknowledgement bytea,
    received_at     timestamptz NOT NULL,
    PRIMARY KEY (tenant, sender, receiver, control_number, usage)
);
CREATE TABLE workflow.control_numbers (
    tenant  text NOT NULL,
    ours    text NOT NULL,
    partner text NOT NULL,
    level   text NOT NULL,
    last    bigint NOT NULL,
    PRIMARY KEY (tenant, ours, partner, level)
);

-- FHIR Subscriptions with their gap-free event numbers.
CREATE TABLE workflow.subscriptions (
    id            uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    tenant        text NOT NULL,
    client        text NOT NULL,
    pas_version   text NOT NULL,
    organizations text[] NOT NULL,
    resource      bytea NOT NULL,
    status        text NOT NULL DEFAULT 'requested',
    version       integer NOT NULL DEFAULT 1,
    events        integer NOT NULL DEFAULT 0,
    error         text NOT NULL DEFAULT '',
    updated       timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX subscriptions_organizations ON workflow.subscriptions USING gin (organizations);
CREATE TABLE workflow.subscription_events (
    subscription_id uuid NOT NULL REFERENCES workflow.subscriptions (id) ON DELETE CASCADE,
    tenant          text NOT NULL,
    key             text NOT NULL,
    number          integer NOT NULL,
    PRIMARY KEY (subscription_id, key)
);

-- Resources we issued to a client, to be read again by it alone.
CREATE TABLE workflow.issued (
    tenant        text NOT NULL,
    client        text NOT NULL,
    resource_type text NOT NULL,
    id            text NOT NULL,
    version       integer NOT NULL DEFAULT 1,
    sha256        text NOT NULL,
    resource      bytea NOT NULL,
    updated       timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant, client, resource_type, id)
);

-- What we answered to a request id (SOAP PayloadID), so that a resend gets the same answer from any process.
CREATE TABLE workflow.answers (
    tenant          text NOT NULL,
    token           text NOT NULL,
    digest          text NOT NULL,
    answer          bytea NOT NULL,
    acknowledgement bytea,
    created_at      timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant, token)
);

-- What an edge refused: sealed bytes, readable codes.
CREATE TABLE workflow.refusals (
    id          uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    tenant      text NOT NULL,
    source      text NOT NULL,
    codes       text[] NOT NULL,
    locations   text[] NOT NULL,
    size        bigint NOT NULL,
    body        bytea NOT NULL,
    received_at timestamptz NOT NULL
);

-- What may be used once (token ids, nonces), across all processes.
CREATE TABLE workflow.used_once (
    scope      text NOT NULL,
    token      text NOT NULL,
    expires_at timestamptz NOT NULL,
    PRIMARY KEY (scope, token)
);

-- Least privilege: the application reads and appends; it can neither change events nor the schema.
DO $$ BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'gateway_app') THEN
        CREATE ROLE gateway_app NOLOGIN;
    END IF;
END $$;
GRANT USAGE ON SCHEMA workflow TO gateway_app;
GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA workflow TO gateway_app;
REVOKE UPDATE, DELETE ON workflow.workflow_events FROM gateway_app;
REVOKE UPDATE, DELETE ON workflow.inbox, workflow.message_journal FROM gateway_app;
REVOKE DELETE ON workflow.workflow_instances, workflow.deliveries FROM gateway_app;
REVOKE UPDATE, DELETE ON workflow.rule_releases, workflow.business_rules FROM gateway_app;
GRANT UPDATE (state, approver, activated_at, retired_at, earlier, updated_at) ON workflow.rule_releases TO gateway_app;
GRANT gateway_app TO CURRENT_USER;

-- Row-level security: a transaction names its tenant ('*' for the gateway's own log readers) or sees nothing.
DO $$
DECLARE name text;
BEGIN
    FOR name IN SELECT c.table_name FROM information_schema.columns c
                 WHERE c.table_schema = 'workflow' AND c.column_name = 'tenant'
    LOOP
        EXECUTE format('ALTER TABLE workflow.%I ENABLE ROW LEVEL SECURITY', name);
        EXECUTE format(
            'CREATE POLICY tenant_only ON workflow.%I TO gateway_app USING (current_setting(''gateway.tenant'', true) IN (tenant, ''*'')) '
            'WITH CHECK (current_setting(''gateway.tenant'', true) IN (tenant, ''*''))', name);
    END LOOP;
END $$;
