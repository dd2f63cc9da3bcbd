"""Counts, prices and the report."""

import sim  # noqa: F401  sets how OpenMP threads wait, before any numeric library loads
