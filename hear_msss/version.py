"""The version of the package, and its only source: pyproject.toml reads it from here."""

__version__ = "0.2.0"
