-- The table llm_calls: one row per call, filled from what the Collector's clickhouse exporter writes into otel_logs.
-- The columns are those of the sqlite and postgres sinks; the whole record stays in otel_logs.

CREATE TABLE IF NOT EXISTS otel.llm_calls
(
    event_id String,
    recorded_at DateTime64(9, 'UTC'),
    started_at Nullable(DateTime64(9, 'UTC')),
    ended_at DateTime64(9, 'UTC'),
    service_name LowCardinality(String),
    operation LowCardinality(Nullable(String)),
    provider LowCardinality(Nullable(String)),
    request_model LowCardinality(Nullable(String)),
    response_model LowCardinality(Nullable(String)),
    event_type LowCardinality(String),
    status LowCardinality(String),
    http_status Nullable(UInt16),
    error_type LowCardinality(Nullable(String)),
    error_message Nullable(String),
    streaming Bool,
    latency_ms Nullable(Int64),
    ttft_ms Nullable(Int64),
    input_tokens Nullable(Int64),
    output_tokens Nullable(Int64),
    total_tokens Nullable(Int64),
    cache_read_tokens Nullable(Int64),
    cache_write_tokens Nullable(Int64),
    reasoning_tokens Nullable(Int64),
    usage_source LowCardinality(Nullable(String)),
    cost_usd Nullable(Decimal(38, 18)),
    cost_source LowCardinality(Nullable(String)),
    request_id Nullable(String),
    response_id Nullable(String),
    attempts UInt16,
    key_hash Nullable(String),
    user_id Nullable(String),
    session_id Nullable(String),
    project_id Nullable(String),
    org_id Nullable(String),
    labels Map(LowCardinality(String), String),
    trace_id String,
    span_id String
)
-- A record that was delivered twice has the same time and the same id: the rows become one.
ENGINE = ReplacingMergeTree
PARTITION BY toDate(ended_at)
ORDER BY (toStartOfHour(ended_at), event_id)
TTL toDateTime(ended_at) + INTERVAL 400 DAY
SETTINGS ttl_only_drop_parts = 1;

CREATE MATERIALIZED VIEW IF NOT EXISTS otel.llm_calls_from_logs TO otel.llm_calls AS
WITH
    LogAttributes AS a,
    toFloat64OrNull(a['otel_llm.duration']) AS seconds,
    toFloat64OrNull(a['gen_ai.response.time_to_first_chunk']) AS first_chunk,
    mapFilter((name, value) -> startsWith(name, 'otel_llm.label.'), a) AS labelled
SELECT
    a['otel_llm.event.id'] AS event_id,
    -- The exporter writes no observed time; ours is that of the completion.
    toDateTime64(Timestamp, 9, 'UTC') AS recorded_at,
    fromUnixTimestamp64Nano(toInt64OrNull(a['otel_llm.start_time_unix_nano']), 'UTC') AS started_at,
    toDateTime64(Timestamp, 9, 'UTC') AS ended_at,
    ServiceName AS service_name,
    nullIf(a['gen_ai.operation.name'], '') AS operation,
    nullIf(a['gen_ai.provider.name'], '') AS provider,
    nullIf(a['gen_ai.request.model'], '') AS request_model,
    nullIf(a['gen_ai.response.model'], '') AS response_model,
    coalesce(nullIf(a['otel_llm.event.type'], ''), 'api_call') AS event_type,
    coalesce(nullIf(a['otel_llm.status'], ''), if(a['error.type'] = '', 'success', 'error')) AS status,
    toUInt16OrNull(a['http.response.status_code']) AS http_status,
    nullIf(a['error.type'], '') AS error_type,
    coalesce(nullIf(a['otel_llm.error.message'], ''), nullIf(a['exception.message'], '')) AS error_message,
    a['gen_ai.request.stream'] = 'true' AS streaming,
    intDiv(toInt64(round(seconds * 1e9)) + 500000, 1000000) AS latency_ms,
    intDiv(toInt64(round(first_chunk * 1e9)) + 500000, 1000000) AS ttft_ms,
    toInt64OrNull(a['gen_ai.usage.input_tokens']) AS input_tokens,
    toInt64OrNull(a['gen_ai.usage.output_tokens']) AS output_tokens,
    if(input_tokens IS NULL AND output_tokens IS NULL, NULL, ifNull(input_tokens, 0) + ifNull(output_tokens, 0)) AS total_tokens,
    toInt64OrNull(a['gen_ai.usage.cache_read.input_tokens']) AS cache_read_tokens,
    coalesce(
        toInt64OrNull(a['gen_ai.usage.cache_write.input_tokens']),
        toInt64OrNull(a['gen_ai.usage.cache_creation.input_tokens'])
    ) AS cache_write_tokens,
    toInt64OrNull(a['gen_ai.usage.reasoning.output_tokens']) AS reasoning_tokens,
    nullIf(a['otel_llm.usage_source'], '') AS usage_source,
    toDecimal128OrNull(a['gen_ai.usage.cost'], 18) AS cost_usd,
    nullIf(a['otel_llm.cost.source'], '') AS cost_source,
    nullIf(a['otel_llm.request.id'], '') AS request_id,
    nullIf(a['gen_ai.response.id'], '') AS response_id,
    ifNull(toUInt16OrNull(a['otel_llm.attempts']), 1) AS attempts,
    nullIf(a['otel_llm.key.hash'], '') AS key_hash,
    nullIf(a['user.id'], '') AS user_id,
    nullIf(a['session.id'], '') AS session_id,
    nullIf(a['otel_llm.project.id'], '') AS project_id,
    nullIf(a['otel_llm.org.id'], '') AS org_id,
    mapFromArrays(arrayMap(name -> substring(name, 16), mapKeys(labelled)), mapValues(labelled)) AS labels,
    TraceId AS trace_id,
    SpanId AS span_id
FROM otel.otel_logs
WHERE a['otel_llm.event.id'] != '';
