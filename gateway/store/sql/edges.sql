-- name: create_subscription
-- A new subscription.
INSERT INTO workflow.subscriptions (id, tenant, client, pas_version, organizations, resource)
VALUES ($1, $2, $3, $4, $5, $6) RETURNING *;

-- name: update_subscription
-- Replace the resource; it must be accepted anew by a handshake.
UPDATE workflow.subscriptions SET organizations = $4, resource = $5, status = 'requested', version = version + 1, error = '',
       updated = now() WHERE id = $1 AND tenant = $2 AND client = $3 RETURNING *;

-- name: read_subscription
-- A client's subscription.
SELECT * FROM workflow.subscriptions WHERE id = $1 AND tenant = $2 AND client = $3;

-- name: find_subscription
-- Any subscription, for delivery.
SELECT * FROM workflow.subscriptions WHERE id = $1;

-- name: owned_subscriptions
-- A client's subscriptions at one PAS endpoint; of those named, where any are named.
SELECT * FROM workflow.subscriptions
 WHERE tenant = $1 AND client = $2 AND pas_version = $3 AND (cardinality($4::uuid[]) = 0 OR id = ANY($4)) ORDER BY id LIMIT $5;

-- name: told
-- Notifications of a client's subscription as they were rendered for delivery.
SELECT d.body FROM workflow.subscriptions s
  JOIN workflow.subscription_events e ON e.subscription_id = s.id
  JOIN workflow.deliveries d ON d.idempotency_key = e.key || ':fhir-notify.' || s.id
 WHERE s.id = $1 AND s.tenant = $2 AND s.client = $3 AND e.number BETWEEN $4 AND $5 ORDER BY e.number LIMIT $6;

-- name: delete_subscription
-- A client's subscription ends.
DELETE FROM workflow.subscriptions WHERE id = $1 AND tenant = $2 AND client = $3 RETURNING id;

-- name: mark_subscription
-- The outcome of a handshake or of a failed delivery.
UPDATE workflow.subscriptions SET status = $3, error = $4, updated = now() WHERE id = $1 AND tenant = $2;

-- name: watching
-- Active subscriptions for a sending system.
SELECT * FROM workflow.subscriptions WHERE tenant = $1 AND organizations && ARRAY[$2, '*'] AND status = 'active' ORDER BY id;

-- name: watching_client
-- Active subscriptions that must hear of a decision: the submitter's own, and those for its sending system.
SELECT id FROM workflow.subscriptions
 WHERE tenant = $1 AND status = 'active' AND (client = $2 OR organizations && $3::text[]) ORDER BY id;

-- name: event_number
-- The number an event already has.
SELECT number FROM workflow.subscription_events WHERE subscription_id = $1 AND key = $2;

-- name: lock_subscription
-- One at a time numbers a subscription's events, so numbers have no gaps.
SELECT id FROM workflow.subscriptions WHERE id = $1 FOR UPDATE;

-- name: count_event
-- The next number of a subscription.
UPDATE workflow.subscriptions SET events = events + 1 WHERE id = $1 AND tenant = $2 RETURNING events;

-- name: keep_event
-- Remember an event's number.
INSERT INTO workflow.subscription_events (subscription_id, tenant, key, number) VALUES ($1, $2, $3, $4);

-- name: issue
-- Keep resources; the same content again changes nothing.
INSERT INTO workflow.issued AS i (tenant, client, resource_type, id, sha256, resource)
SELECT $1, $2, r.type, r.id, r.sha256, r.resource
  FROM unnest($3::text[], $4::text[], $5::text[], $6::bytea[]) AS r (type, id, sha256, resource)
ON CONFLICT (tenant, client, resource_type, id) DO UPDATE
   SET version = i.version + 1, sha256 = excluded.sha256, resource = excluded.resource, updated = now()
 WHERE i.sha256 <> excluded.sha256;

-- name: read_issued
-- A resource issued to this client.
SELECT resource, version, updated FROM workflow.issued WHERE tenant = $1 AND client = $2 AND resource_type = $3 AND id = $4;

-- name: get_answer
-- What was answered before.
SELECT digest, answer, acknowledgement FROM workflow.answers WHERE tenant = $1 AND token = $2;

-- name: put_answer
-- Remember an answer; the first one stands.
INSERT INTO workflow.answers (tenant, token, digest, answer, acknowledgement) VALUES ($1, $2, $3, $4, $5) ON CONFLICT DO NOTHING;

-- name: refuse
-- Keep what was refused.
INSERT INTO workflow.refusals (tenant, source, codes, locations, size, body, received_at) VALUES ($1, $2, $3, $4, $5, $6, $7);

-- name: use_once
-- Take a single-use token; no row comes back when it was used before.
INSERT INTO workflow.used_once AS u (scope, token, expires_at) VALUES ($1, $2, $3)
ON CONFLICT (scope, token) DO UPDATE SET expires_at = excluded.expires_at WHERE u.expires_at < now() RETURNING token;

-- name: forget_used
-- Expired single-use tokens can come no more.
DELETE FROM workflow.used_once WHERE expires_at < now() - interval '1 day';
