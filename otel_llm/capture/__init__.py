"""Bytes on the wire to `Call`: which requests are LLM calls, how their formats are read, what one operation is."""
