-- Sums by hour that are ready, for dashboards over months.
--
-- They are made anew every hour for the last eight days, as records may wait seven days in a journal: a view that adds
-- while rows come in would count a record twice that was delivered twice.

CREATE TABLE IF NOT EXISTS otel.usage_by_hour
(
    hour DateTime('UTC'),
    service_name LowCardinality(String),
    provider LowCardinality(String),
    model LowCardinality(String),
    key_hash String,
    project_id String,
    tenant_id String,
    calls UInt64,
    errors UInt64,
    rate_limited UInt64,
    retries UInt64,
    input_tokens Int64,
    output_tokens Int64,
    cache_read_tokens Int64,
    reasoning_tokens Int64,
    cost Decimal(38, 18),
    latency AggregateFunction(quantilesTDigest(0.5, 0.95, 0.99), Int64),
    made_at DateTime64(3, 'UTC')
)
ENGINE = ReplacingMergeTree(made_at)
PARTITION BY toYYYYMM(hour)
ORDER BY (hour, service_name, provider, model, key_hash, project_id, tenant_id);

CREATE MATERIALIZED VIEW IF NOT EXISTS otel.usage_by_hour_made
REFRESH EVERY 1 HOUR APPEND TO otel.usage_by_hour AS
SELECT
    toStartOfHour(toDateTime(ended_at, 'UTC')) AS hour,
    service_name,
    ifNull(c.provider, '') AS provider,
    coalesce(request_model, response_model, '') AS model,
    ifNull(c.key_hash, '') AS key_hash,
    ifNull(c.project_id, '') AS project_id,
    labels['tenant_id'] AS tenant_id,
    count() AS calls,
    countIf(status IN ('error', 'timeout')) AS errors,
    countIf(status = 'rate_limited') AS rate_limited,
    sum(greatest(attempts, 1) - 1) AS retries,
    ifNull(sum(c.input_tokens), 0) AS input_tokens,
    ifNull(sum(c.output_tokens), 0) AS output_tokens,
    ifNull(sum(c.cache_read_tokens), 0) AS cache_read_tokens,
    ifNull(sum(c.reasoning_tokens), 0) AS reasoning_tokens,
    ifNull(sum(c.cost_usd), 0) AS cost,
    quantilesTDigestStateIf(0.5, 0.95, 0.99)(assumeNotNull(latency_ms), status = 'success' AND latency_ms IS NOT NULL) AS latency,
    now64(3, 'UTC') AS made_at
FROM otel.llm_calls_counted(
    since = toStartOfHour(now('UTC')) - INTERVAL 8 DAY, until = now('UTC') + INTERVAL 1 DAY) AS c
GROUP BY hour, service_name, provider, model, key_hash, project_id, tenant_id;
