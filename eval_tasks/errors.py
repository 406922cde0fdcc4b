"""What the command line reports as one message instead of a traceback."""

from __future__ import annotations


class UserError(ValueError):
    """Bad input: the message says what was given, what was expected and what to do."""
