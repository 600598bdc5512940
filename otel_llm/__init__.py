"""Every LLM call as one OpenTelemetry span, a few metrics and one priced log record, delivered without losing one."""
