"""Judges any HEAR module: task registry, raw data to task folders, runs, linear probe, reports."""
