-- name: receive
-- Enter a message into the inbox; no row comes back when its key is known.
INSERT INTO workflow.inbox (tenant, source, dedupe_key, body_sha256, event_id, case_id, received_at)
VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT DO NOTHING RETURNING event_id;

-- name: received
-- What the inbox knows of a key.
SELECT body_sha256, event_id, case_id FROM workflow.inbox WHERE tenant = $1 AND source = $2 AND dedupe_key = $3;

-- name: open
-- Enter a message into the inbox, and if its key is new there, open its case with the first event and the case's keys,
-- unless the business key has a case already: one round trip for what nearly every message needs. A person's other
-- numbers, known by merges, become keys, too.
WITH received AS (
    INSERT INTO workflow.inbox (tenant, source, dedupe_key, body_sha256, event_id, case_id, received_at)
    VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT DO NOTHING RETURNING event_id
), opened AS (
    INSERT INTO workflow.workflow_instances
        (id, tenant, workflow_key, definition_id, entity_type, entity_id, status, version, priority, lane, context, received_at, due_at)
    SELECT $6, $1, $8::text, $9::uuid, $10::text, $6, 'opened', 1, $11::text, $12::text, $13::bytea, $7, $14::timestamptz FROM received
    ON CONFLICT (tenant, workflow_key) DO NOTHING RETURNING id
), event AS (
    INSERT INTO workflow.workflow_events
        (workflow_id, version, id, tenant, event_type, event_data, sealed, command_id, timestamp, metadata)
    SELECT id, 1, $15::uuid, $1, 'CaseOpened', $16::jsonb, $17::bytea, $5::text, $18::timestamptz, $19::jsonb FROM opened
), key AS (
    INSERT INTO workflow.case_keys (tenant, kind, token, case_id)
    SELECT $1, k.kind, k.token, o.id FROM opened o, unnest($20::text[], $21::text[]) AS k (kind, token)
    UNION
    SELECT $1, 'person', same.token, o.id
      FROM opened o, unnest($20::text[], $21::text[]) AS k (kind, token)
      JOIN workflow.person_links one ON one.tenant = $1 AND k.kind = 'person' AND one.token = k.token
      JOIN workflow.person_links same ON same.tenant = $1 AND same.person = one.person
    ON CONFLICT DO NOTHING
)
SELECT EXISTS (SELECT FROM received) AS received, EXISTS (SELECT FROM opened) AS opened;

-- name: settled
-- Which of these messages have opened a case: whoever finds them again has nothing left to do.
SELECT m.event_id FROM unnest($1::text[], $2::text[], $3::text[], $4::uuid[]) AS m (tenant, source, dedupe_key, event_id)
  JOIN workflow.inbox i USING (tenant, source, dedupe_key, event_id)
  JOIN workflow.workflow_events e ON e.workflow_id = i.case_id AND e.command_id = i.event_id::text
 WHERE e.event_type = 'CaseOpened';

-- name: by_key
-- The case of a business key.
SELECT id, version, status FROM workflow.workflow_instances WHERE tenant = $1 AND workflow_key = $2;

-- name: by_id
-- One case.
SELECT i.*, d.definition, d.content_hash, d.name AS definition_name
  FROM workflow.workflow_instances i LEFT JOIN workflow.workflow_definitions d ON d.id = i.definition_id WHERE i.id = $1;

-- name: lock
-- One case, for a change of its stream.
SELECT id, tenant, workflow_key, run, version, status, action, context, priority, received_at, due_at
  FROM workflow.workflow_instances WHERE id = $1 FOR UPDATE;

-- name: lock_for
-- One case, for a change of its stream by a command, and the event that the command led to when it was carried out before.
SELECT i.id, i.tenant, i.workflow_key, i.run, i.version, i.status, i.action, i.context, i.priority, i.received_at, i.due_at,
       e.version AS known_version
  FROM workflow.workflow_instances i
  LEFT JOIN workflow.workflow_events e ON e.workflow_id = i.id AND e.command_id = $2
 WHERE i.id = $1 FOR UPDATE OF i;

-- name: lock_named
-- One case, for a message that joins it, with the name of its definition.
SELECT i.id, i.workflow_key, i.run, i.version, i.status, i.action, i.context, d.name AS definition_name
  FROM workflow.workflow_instances i JOIN workflow.workflow_definitions d ON d.id = i.definition_id
 WHERE i.id = $1 FOR UPDATE OF i;

-- name: join
-- A further message of the case: the request as it stands now, and another run, with a clock of its own ($7), when the last
-- one has ended.
UPDATE workflow.workflow_instances
   SET status = $2, version = $3, run = $4, context = $5, lane = $6, due_at = coalesce($7, due_at), updated_at = now(),
       completed_at = NULL
 WHERE id = $1;

-- name: extend
-- The clock of a case ends later.
UPDATE workflow.workflow_instances SET due_at = $2, version = $3, updated_at = now() WHERE id = $1;

-- name: stranded
-- Cases opened but not started: their opener died, or waits no longer (design D6).
SELECT i.id, i.tenant, i.workflow_key, i.definition_id, d.definition, d.content_hash, i.received_at, i.due_at, i.priority, i.run
  FROM workflow.workflow_instances i JOIN workflow.workflow_definitions d ON d.id = i.definition_id
 WHERE i.status = 'opened' AND i.updated_at < now() - make_interval(secs => $1) ORDER BY i.updated_at LIMIT $2;

-- name: add_keys
-- Tokens under which a case can be found from any rail.
INSERT INTO workflow.case_keys (tenant, kind, token, case_id)
SELECT $1, k.kind, k.token, $2 FROM unnest($3::text[], $4::text[]) AS k (kind, token) ON CONFLICT DO NOTHING;

-- name: find
-- Cases that carry a token, newest first.
SELECT k.case_id, i.status, i.action, i.created_at FROM workflow.case_keys k JOIN workflow.workflow_instances i ON i.id = k.case_id
 WHERE k.tenant = $1 AND k.kind = $2 AND k.token = $3 ORDER BY i.created_at DESC LIMIT $4;

-- name: open_under
-- Open cases that carry one of these tokens of a person, or of what they asked for, locked in one order for all who lock several.
SELECT id, workflow_key, run, version, context FROM workflow.workflow_instances
 WHERE id IN (SELECT case_id FROM workflow.case_keys WHERE tenant = $1 AND kind IN ('person', 'attachment-control') AND token = ANY($2::text[]))
   AND status NOT IN ('completed', 'cancelled', 'failed') ORDER BY id LIMIT $3 FOR UPDATE;

-- name: merging
-- One merge of a tenant at a time: two that meet in one person could part it again.
SELECT pg_advisory_xact_lock(hashtext('person_links'), hashtext($1));

-- name: merged
-- These tokens, and all that are linked with one of them already, are one person's from now on.
WITH known AS (
    SELECT DISTINCT person FROM workflow.person_links WHERE tenant = $1 AND token = ANY($2::text[])
), told AS (
    SELECT unnest($2::text[]) AS token
    UNION
    SELECT token FROM workflow.person_links WHERE tenant = $1 AND person IN (SELECT person FROM known)
)
INSERT INTO workflow.person_links (tenant, token, person)
SELECT $1, token, coalesce((SELECT min(person::text)::uuid FROM known), $3) FROM told
ON CONFLICT (tenant, token) DO UPDATE SET person = EXCLUDED.person WHERE workflow.person_links.person <> EXCLUDED.person;

-- name: told
-- A clinical message of the case's patient: the facts as they stand now.
UPDATE workflow.workflow_instances SET version = $2, context = $3, updated_at = now() WHERE id = $1;

-- name: save_definition
-- Register a definition version; the same content again changes nothing.
INSERT INTO workflow.workflow_definitions (tenant, name, version, type, definition, content_hash)
VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (tenant, name, version) DO NOTHING;

-- name: definition
-- A registered definition.
SELECT id, definition, content_hash FROM workflow.workflow_definitions WHERE tenant = $1 AND name = $2 AND version = $3;

-- name: counts
-- How many cases stand in which state.
SELECT status, count(*) AS cases FROM workflow.workflow_instances GROUP BY status;
