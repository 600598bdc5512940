"""Dialect plugins: how each wire format spells model, tokens and messages."""
