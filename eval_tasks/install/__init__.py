"""The unmodified harness in this environment: what it needs, how it gets here, whether it works."""
