"""Sink plugins, one file each."""
