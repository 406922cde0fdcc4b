"""The verbs of ``python -m hear_msss``."""
