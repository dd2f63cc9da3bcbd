"""Counts, prices and the report."""
