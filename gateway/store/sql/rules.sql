-- name: alone
-- Let no other step of this rule set run until the transaction ends.
SELECT pg_advisory_xact_lock(hashtextextended($1 || chr(31) || $2, 0));

-- name: versions
-- All versions of a rule set, by number.
SELECT * FROM workflow.rule_releases WHERE tenant = $1 AND ruleset = $2 ORDER BY version;

-- name: add
-- Keep a new version.
INSERT INTO workflow.rule_releases
    (tenant, ruleset, version, content, hash, release_hash, state, author, approver, effective, expiration, activated_at, retired_at,
     earlier)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14);

-- name: move
-- Move a version to another state; its content stays.
UPDATE workflow.rule_releases
   SET state = $4, approver = $5, activated_at = $6, retired_at = $7, earlier = $8, updated_at = now()
 WHERE tenant = $1 AND ruleset = $2 AND version = $3;

-- name: add_rule
-- One rule of a version, to be read.
INSERT INTO workflow.business_rules
    (tenant, ruleset, ruleset_version, rule_id, version, name, category, condition, action, priority, effective_date, expiration_date)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12);

-- name: active
-- The active versions of every tenant, without the content of those whose hash is known already.
SELECT tenant, ruleset, version, CASE WHEN hash = ANY ($1::text[]) THEN '' ELSE content END AS content, hash, release_hash, state,
       author, approver, effective, expiration, activated_at, retired_at, earlier
  FROM workflow.rule_releases WHERE state = 'active' ORDER BY tenant, ruleset, version;

-- name: by_release
-- The version whose release has a hash, whatever its state.
SELECT * FROM workflow.rule_releases WHERE tenant = $1 AND release_hash = $2 ORDER BY ruleset, version LIMIT 1;
