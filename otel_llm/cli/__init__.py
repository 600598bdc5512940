"""The command `otel-llm`."""
