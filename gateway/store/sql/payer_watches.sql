-- name: enlist
-- A partner that is to be watched; one that is known stays as it is.
INSERT INTO workflow.payer_watches (tenant, partner) VALUES ($1, $2) ON CONFLICT DO NOTHING;

-- name: lease
-- Take a partner for a while; no row comes back while somebody else has it.
UPDATE workflow.payer_watches SET leased_until = $3::timestamptz + make_interval(secs => $4)
 WHERE tenant = $1 AND partner = $2 AND leased_until <= $3 RETURNING *;

-- name: find
-- What is known of a partner.
SELECT * FROM workflow.payer_watches WHERE tenant = $1 AND partner = $2;

-- name: made
-- A new subscription: its events are counted from one, and what came to pass since the last one ended may be missed.
UPDATE workflow.payer_watches
   SET subscription = $3, status = $4, events = 0, announced = 0, behind = behind OR $5, made_at = $6, heard_at = NULL, looked_at = $6
 WHERE tenant = $1 AND partner = $2;

-- name: looked
-- What the payer says of our subscription. Events it had sent at the last look and that have not come since are missing.
UPDATE workflow.payer_watches
   SET status = $3, looked_at = $5, behind = behind OR events < announced, announced = $4
 WHERE tenant = $1 AND partner = $2;

-- name: lost
-- The payer has our subscription no more.
UPDATE workflow.payer_watches SET subscription = '', status = $3, looked_at = $4 WHERE tenant = $1 AND partner = $2;

-- name: heard
-- A notification came: its first and last event number, 0 where it has none, and how many the payer has sent in all.
UPDATE workflow.payer_watches
   SET heard_at = $6,
       status = CASE WHEN status = 'requested' THEN 'active' ELSE status END,
       behind = behind OR ($3::bigint > 0 AND $3 > events + 1) OR $5 > greatest(events, $4::bigint),
       events = greatest(events, $4, $5::bigint)
 WHERE tenant = $1 AND partner = $2;

-- name: behind
-- Events are missing: open cases are to be inquired about.
UPDATE workflow.payer_watches SET behind = true WHERE tenant = $1 AND partner = $2;

-- name: caught_up
-- Every open case is being inquired about.
UPDATE workflow.payer_watches SET behind = false, events = greatest(events, announced) WHERE tenant = $1 AND partner = $2;

-- name: keep_news
-- Something to be read at the payer; the same again is one.
INSERT INTO workflow.payer_news (tenant, partner, digest, focus, received_at) VALUES ($1, $2, $3, $4, $5) ON CONFLICT DO NOTHING;

-- name: news
-- What is to be read, oldest first.
SELECT digest, focus, received_at FROM workflow.payer_news WHERE tenant = $1 AND partner = $2 ORDER BY received_at LIMIT $3;

-- name: drop_news
-- It was read.
DELETE FROM workflow.payer_news WHERE tenant = $1 AND partner = $2 AND digest = $3;

-- name: open_cases
-- Cases this partner was asked about that have no end yet: business token and run of their workflows.
SELECT i.workflow_key, i.run FROM workflow.workflow_instances i
 WHERE i.tenant = $1 AND i.status NOT IN ('completed', 'cancelled', 'failed')
   AND EXISTS (SELECT FROM workflow.workflow_events e
                WHERE e.workflow_id = i.id AND e.event_type = 'PayerAsked' AND e.event_data->>'partner' = $2);
