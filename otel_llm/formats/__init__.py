"""`Event` to bytes: the projections that sinks send."""
