-- name: intend
-- Store the rendered bytes before the first attempt; the first rendering wins.
INSERT INTO workflow.deliveries (idempotency_key, tenant, case_id, endpoint, media_type, body, attributes)
VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT DO NOTHING;

-- name: find
-- A delivery by its idempotency key.
SELECT * FROM workflow.deliveries WHERE idempotency_key = $1;

-- name: attempt
-- Count an attempt.
UPDATE workflow.deliveries SET attempts = attempts + 1 WHERE idempotency_key = $1;

-- name: turn
-- Take an endpoint's next turn; the seconds until then. The row is everybody's, so the rate is kept by all together.
INSERT INTO workflow.endpoint_turns AS t (endpoint, next_at)
VALUES ($1, clock_timestamp() + make_interval(secs => $2))
ON CONFLICT (endpoint) DO UPDATE SET next_at = greatest(t.next_at, clock_timestamp()) + make_interval(secs => $2)
RETURNING greatest(extract(epoch FROM next_at - clock_timestamp()) - $2, 0)::float8;

-- name: settle
-- Store the receipt.
UPDATE workflow.deliveries SET state = $2, receipt = $3, delivered_at = now() WHERE idempotency_key = $1;

-- name: of_case
-- The deliveries of a case.
SELECT idempotency_key, endpoint, media_type, state, attempts, created_at, delivered_at
  FROM workflow.deliveries WHERE case_id = $1 ORDER BY created_at;

-- name: left_at
-- What was left at a place for its client to pick up, the oldest first; the pattern is the index's.
SELECT body FROM workflow.deliveries
 WHERE tenant = $1 AND endpoint = $2 AND endpoint LIKE 'core-pickup.%' ORDER BY created_at, idempotency_key;
