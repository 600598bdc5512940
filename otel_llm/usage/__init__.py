"""The read side: what the stores hold, asked in the words of spend, tokens and latency."""
