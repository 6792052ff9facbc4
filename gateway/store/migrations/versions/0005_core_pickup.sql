-- Answers left for CORE clients to pick up (BatchResultsRetrieval), by the place they were left at.
CREATE INDEX deliveries_pickup ON workflow.deliveries (endpoint, created_at) WHERE endpoint LIKE 'core-pickup.%';
