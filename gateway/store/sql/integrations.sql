-- name: register
-- An endpoint as it is configured now.
INSERT INTO workflow.integrations (tenant, name, type, configuration) VALUES ($1, $2, $3, $4)
ON CONFLICT (tenant, name) DO UPDATE
   SET type = excluded.type, configuration = excluded.configuration, status = 'active', updated_at = now()
 WHERE (integrations.type, integrations.configuration, integrations.status)
       IS DISTINCT FROM (excluded.type, excluded.configuration, 'active');

-- name: retire
-- Endpoints that are configured no more; their deliveries still name them.
UPDATE workflow.integrations SET status = 'retired', updated_at = now()
 WHERE tenant = $1 AND status = 'active' AND name <> ALL($2::text[]);
