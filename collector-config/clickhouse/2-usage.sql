-- The usage queries, exact: what `otel-llm report` says of the same calls.

-- The calls that were completed from `since` until before `until`, each once. A fetched answer shares its response id
-- with the call that created it: tokens and cost of a response id count in the first row that has them. Answers are
-- looked for up to 30 days back, which is as long as they can be fetched. Only answers that are there more than once are
-- put in order; a hash that two answers share does no harm.
CREATE VIEW IF NOT EXISTS otel.llm_calls_counted AS
WITH
    repeated AS
    (
        SELECT sipHash64(response_id) AS answer
        FROM otel.llm_calls FINAL
        WHERE response_id IS NOT NULL
            AND ended_at >= {since:DateTime64(3, 'UTC')} - INTERVAL 30 DAY AND ended_at < {until:DateTime64(3, 'UTC')}
        GROUP BY answer
        HAVING count() > 1
    )
SELECT
    * EXCEPT (input_tokens, output_tokens, total_tokens, cache_read_tokens, cache_write_tokens, reasoning_tokens, cost_usd),
    if(tokens_elsewhere, NULL, called.input_tokens) AS input_tokens,
    if(tokens_elsewhere, NULL, called.output_tokens) AS output_tokens,
    if(tokens_elsewhere, NULL, called.cache_read_tokens) AS cache_read_tokens,
    if(tokens_elsewhere, NULL, called.cache_write_tokens) AS cache_write_tokens,
    if(tokens_elsewhere, NULL, called.reasoning_tokens) AS reasoning_tokens,
    if(cost_elsewhere, NULL, called.cost_usd) AS cost_usd
FROM
(
    SELECT *, false AS tokens_elsewhere, false AS cost_elsewhere
    FROM otel.llm_calls FINAL
    WHERE ended_at >= {since:DateTime64(3, 'UTC')} AND ended_at < {until:DateTime64(3, 'UTC')}
        AND (response_id IS NULL OR sipHash64(response_id) NOT IN repeated)
    UNION ALL
    SELECT
        *,
        countIf(total_tokens IS NOT NULL) OVER answer > 0
            AND (recorded_at, event_id) != minIf((recorded_at, event_id), total_tokens IS NOT NULL) OVER answer AS tokens_elsewhere,
        countIf(cost_usd IS NOT NULL) OVER answer > 0
            AND (recorded_at, event_id) != minIf((recorded_at, event_id), cost_usd IS NOT NULL) OVER answer AS cost_elsewhere
    FROM otel.llm_calls FINAL
    WHERE ended_at >= {since:DateTime64(3, 'UTC')} - INTERVAL 30 DAY AND ended_at < {until:DateTime64(3, 'UTC')}
        AND sipHash64(response_id) IN repeated
    WINDOW answer AS (PARTITION BY response_id)
) AS called
WHERE ended_at >= {since:DateTime64(3, 'UTC')};

-- Sums by day, hour, model, provider, key, user, session, project, none or label.<key>:
--
--     SELECT * FROM otel.usage(by = 'model', since = '2026-11-01', until = '2026-12-01') ORDER BY cost DESC
--
-- Percentiles are nearest-rank, over calls that succeeded.
CREATE VIEW IF NOT EXISTS otel.usage AS
SELECT
    multiIf(
        {by:String} = 'day', formatDateTime(ended_at, '%Y-%m-%d'),
        {by:String} = 'hour', formatDateTime(ended_at, '%Y-%m-%d %H:00'),
        {by:String} = 'model', coalesce(request_model, response_model),
        {by:String} = 'provider', provider,
        {by:String} = 'key', left(key_hash, 12),
        {by:String} = 'user', user_id,
        {by:String} = 'session', session_id,
        {by:String} = 'project', project_id,
        mapContains(labels, substring({by:String}, 7)), labels[substring({by:String}, 7)],
        NULL
    ) AS group,
    count() AS calls,
    countIf(status IN ('error', 'timeout')) AS errors,
    countIf(status = 'rate_limited') AS rate_limited,
    countIf(status = 'cancelled') AS cancelled,
    sum(greatest(attempts, 1) - 1) AS retries,
    countIf(event_type = 'cache_hit') AS response_cache_hits,
    sum(c.input_tokens) AS input_tokens,
    sum(c.output_tokens) AS output_tokens,
    sum(c.cache_read_tokens) AS cache_read_tokens,
    sum(c.cache_write_tokens) AS cache_write_tokens,
    sum(c.reasoning_tokens) AS reasoning_tokens,
    sum(c.cost_usd) AS cost,
    countIf(
        c.cost_usd IS NULL AND NOT cost_elsewhere AND ifNull(operation, '') != 'fetch_response'
        AND (c.input_tokens IS NOT NULL OR c.output_tokens IS NOT NULL OR status NOT IN ('error', 'rate_limited'))
    ) AS unpriced,
    arraySort(groupArrayIf(assumeNotNull(latency_ms), status = 'success' AND latency_ms IS NOT NULL)) AS latencies,
    if(empty(latencies), NULL, latencies[intDiv(length(latencies) + 1, 2)]) AS p50_ms,
    if(empty(latencies), NULL, latencies[intDiv(length(latencies) * 95 + 99, 100)]) AS p95_ms,
    avg(c.ttft_ms) AS ttft_ms
FROM otel.llm_calls_counted(since = {since:DateTime64(3, 'UTC')}, until = {until:DateTime64(3, 'UTC')}) AS c
GROUP BY group;
