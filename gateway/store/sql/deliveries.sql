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

-- name: settle
-- Store the receipt.
UPDATE workflow.deliveries SET state = $2, receipt = $3, delivered_at = now() WHERE idempotency_key = $1;

-- name: of_case
-- The deliveries of a case.
SELECT idempotency_key, endpoint, media_type, state, attempts, created_at, delivered_at
  FROM workflow.deliveries WHERE case_id = $1 ORDER BY created_at;
