"""`Call` to `Cost`."""
