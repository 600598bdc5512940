"""Client and dialect plugins, and the operations that provider SDKs run."""
