"""Thin HEAR modules around other people's models, for comparison. Their packages are not required."""
