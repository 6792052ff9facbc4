-- name: put
-- Store sealed bytes under their plain SHA-256.
INSERT INTO workflow.blobs (tenant, sha256, data) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING;

-- name: get
-- Fetch sealed bytes.
SELECT data FROM workflow.blobs WHERE tenant = $1 AND sha256 = $2;
