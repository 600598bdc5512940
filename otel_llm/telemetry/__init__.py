"""`Call` and `Cost` to span, metrics and `Event`."""
