-- name: append
-- Append events; the primary key refuses a version that another writer took.
INSERT INTO workflow.workflow_events
    (workflow_id, version, id, tenant, event_type, event_data, sealed, step_id, command_id, user_id, timestamp, metadata)
SELECT $1::uuid, e.version, e.id, $2::text, e.type, e.data, e.sealed, e.step_id, e.command_id, e.user_id, $3::timestamptz, $4::jsonb
  FROM unnest($5::integer[], $6::uuid[], $7::text[], $8::jsonb[], $9::bytea[], $10::text[], $11::text[], $12::text[])
    AS e (version, id, type, data, sealed, step_id, command_id, user_id) ORDER BY e.version;

-- name: record
-- Append events for a command, move their case with them, and make it findable under tokens: one round trip.
WITH event AS (
    INSERT INTO workflow.workflow_events
        (workflow_id, version, id, tenant, event_type, event_data, sealed, step_id, command_id, user_id, timestamp, metadata)
    SELECT $1::uuid, e.version, e.id, $2::text, e.type, e.data, e.sealed, e.step_id, e.command_id, e.user_id, $3::timestamptz, $4::jsonb
      FROM unnest($5::integer[], $6::uuid[], $7::text[], $8::jsonb[], $9::bytea[], $10::text[], $11::text[], $12::text[])
        AS e (version, id, type, data, sealed, step_id, command_id, user_id) ORDER BY e.version
), key AS (
    INSERT INTO workflow.case_keys (tenant, kind, token, case_id)
    SELECT $2, k.kind, k.token, $1 FROM unnest($13::text[], $14::text[]) AS k (kind, token) ON CONFLICT DO NOTHING
)
UPDATE workflow.workflow_instances
   SET status = $15::text, current_step = $16, action = coalesce($17, action), version = $18, updated_at = now(),
       completed_at = CASE WHEN $15::text IN ('completed', 'cancelled', 'failed') THEN now() ELSE completed_at END
 WHERE id = $1;

-- name: by_command
-- The event a command already led to: a repeated command changes nothing.
SELECT * FROM workflow.workflow_events WHERE workflow_id = $1 AND command_id = $2;

-- name: messages_after
-- Which messages joined a case after a version.
SELECT version FROM workflow.workflow_events
 WHERE workflow_id = $1 AND version > $2 AND event_type = 'MessageReceived';

-- name: decided_since
-- Whether a decision stands later than a version.
SELECT EXISTS (SELECT FROM workflow.workflow_events
                WHERE workflow_id = $1 AND version > $2 AND event_type = 'DecisionMade');

-- name: stream
-- All events of one case, oldest first.
SELECT * FROM workflow.workflow_events WHERE workflow_id = $1 ORDER BY version;

-- name: tail
-- The next events in commit-safe order: only transactions older than every running one (design D9). The order names the
-- columns with their table: a bare `xid` would be the text above, and as text 1000 comes before 999.
SELECT workflow_id, version, position, xid::text AS xid, id, tenant, event_type, event_data,
       CASE WHEN event_type = ANY($4::text[]) THEN sealed END AS sealed, step_id, command_id, user_id, timestamp, metadata
  FROM workflow.workflow_events AS e
 WHERE (xid, position) > ($1::text::xid8, $2::bigint) AND xid < pg_snapshot_xmin(pg_current_snapshot())
 ORDER BY e.xid, e.position
 LIMIT $3;

-- name: cursor
-- Where a reader stands; locks the row so that one runner reads at a time.
SELECT xid::text AS xid, position FROM workflow.projections WHERE name = $1 FOR UPDATE SKIP LOCKED;

-- name: create_cursor
-- A new reader starts before the first event.
INSERT INTO workflow.projections (name) VALUES ($1) ON CONFLICT DO NOTHING;

-- name: move_cursor
-- Move a reader, in the transaction of what it wrote.
UPDATE workflow.projections SET xid = $2::text::xid8, position = $3, updated_at = now() WHERE name = $1;

-- name: reset_cursor
-- Read everything again.
UPDATE workflow.projections SET xid = '0', position = 0, updated_at = now() WHERE name = $1;

-- name: waiting
-- How many events a reader has not seen, and since when the oldest waits.
SELECT count(*) AS events, min(e.timestamp) AS oldest
  FROM workflow.workflow_events e, workflow.projections p
 WHERE p.name = $1 AND (e.xid, e.position) > (p.xid, p.position);
